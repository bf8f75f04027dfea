// (graph, loss, batch size) -> ordered steps: the passes in their order. build_forward.cpp adds the steps that compute
// the values and the loss, build_backward.cpp those of the gradients, build_parameters.cpp those of the parameters;
// builder.hpp is what they share. Together they decide three things:
//
// Fusion: an activation whose derivative follows from its output is computed in the epilogue of the product before it,
// and the derivative in the epilogue of the product that makes the gradient it multiplies.
//
// The cut: steps are divided by rows of the batch, so that a thread carries its rows from layer to layer, and products
// with a large weight by columns. What works element by element takes the cut of what it reads; so does a batch
// normalisation, which finds the sums of all rows in groups.
//
// Barriers: one stands where a step reads or overwrites what another thread's share of an earlier step has written or
// read since the last barrier. With products by rows and no batch normalisation that leaves two a step of training.
//
// Who computes a product, where that is left to its shape, is decided last: by the whole batch, not by what is a
// thread's share, so that a plan is the same for any number of threads.

#include <utility>

#include "builder.hpp"
#include "tangent.hpp"

namespace stoop {
namespace {

GemmProvider provider_of(const PlanRequest& request, const Step& step) {
  const bool covered = request.table != nullptr && request.element_size == sizeof(float) && request.batch >= kLeastRows;
  const auto of_form = [&](GemmForm form) {
    const std::size_t place = product_class(form, request.batch, step.in_features, step.out_features);
    return covered ? (*request.table)[place].provider : GemmProvider::native;
  };
  switch (step.kind) {
    case StepKind::dense:
      return of_form(GemmForm::nn);
    case StepKind::input_gradient:
      return of_form(GemmForm::nt);
    case StepKind::weight_gradient:
      return of_form(GemmForm::tn);
    default:
      return GemmProvider::native;
  }
}

}  // namespace

Plan PlanBuilder::build() {
  forward();
  if (request_.kind != PlanKind::inference) loss();
  if (trains_) {
    if (request_.backward) backward();
    if (updates() || request_.update_statistics) follow_statistics();
    if (request_.kind == PlanKind::curvature) {
      add_tangents(plan_, parameter_steps_, graph_);
      time_ = static_cast<int>(plan_.steps.size());
    }
    append_parameter_steps();
    if (request_.kind == PlanKind::checked) finish_gradients();
    if (request_.limit_norm && updates()) limit_norms();
    for (Buffer& buffer : plan_.buffers) buffer.first = 0, buffer.last = time_;  // all is read again at the end
  }
  if (request_.provider == GemmProvider::automatic) {
    for (Step& step : plan_.steps) step.provider = provider_of(request_, step);
  }
  plan_.arena_bytes = layout_arena(plan_.buffers, request_.batch);
  return std::move(plan_);
}

Plan build_plan(const PlanRequest& request) { return PlanBuilder(request).build(); }

}  // namespace stoop
