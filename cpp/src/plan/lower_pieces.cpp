// An update in pieces, for loops of the caller's own: the operations of a forward and a backward pass that other operations
// of the caller's stand between, and those of the update.

#include <algorithm>
#include <utility>

#include "lower.hpp"

namespace stoop::inline v0_1 {

// The running statistics follow the batch in the forward pass, which has seen it; an update may have several passes.
void Lowering::pieces() {
  give_outputs();
  if (lowered_.batch_statistics) {
    follow_statistics();
    push(start(StepKind::check_statistics, kNone));
    for (const Operation& operation : std::exchange(parameter_operations_, {})) push(operation);
  }
  gather_gradient();
  backward();
  give_input_gradient();
  for (const Operation& operation : parameter_operations_) push(operation);
}

void Lowering::give_outputs() {
  Operation outputs = start(StepKind::give_outputs, kNone);
  outputs.x = lowered_.output_buffer;
  outputs.columns = outputs.out_features = graph_.output_dim();
  if (!combines()) outputs.members = graph_.members();
  push(outputs);
}

void Lowering::gather_gradient() {
  Operation gather = start(StepKind::gather_gradient, kNone);
  gather.columns = gather.out_features = graph_.output_dim();
  if (!combines()) gather.members = graph_.members();
  gather.out = state(node_count() - 1).grad = add_value("d_out", node_count() - 1, gather.members);
  push(gather);
  combine_gradient();
}

void Lowering::give_input_gradient() {
  Operation gradient = start(StepKind::give_input_gradient, kNone);
  gradient.x = state(0).grad;
  if (keeps_input()) gradient.saved = state(0).value;
  gradient.columns = gradient.out_features = node(0).out_features;
  gradient.for_input = true;
  push(gradient);
}

// The gradients are there, so nothing is left of the passes but what they say of the parameters.
void Lowering::apply() {
  backward();
  lowered_ = {};
  if (request_.slice > 0) cut_parameters();
  for (Operation regularize : parameter_operations_) {
    static_cast<Operands&>(regularize) = {};
    regularize.kind = StepKind::regularize_parameter;
    push(regularize);
  }
  push(start(StepKind::check_gradient, kNone));
  update_parameters(StepKind::update_parameter);
  if (request_.apply_updates) update_parameters(StepKind::apply_update);
  if (request_.limit_norm) limit_norms();
}

// Cuts the operations of parameters that go from one slice to the next, since these may be updated in different processes.
// They work on one element at a time.
void Lowering::cut_parameters() {
  const Index slice = request_.slice;
  for (const Operation& whole : std::exchange(parameter_operations_, {})) {
    const Index end = whole.parameter + whole.work.extent * whole.work.row_elements;
    for (Index begin = whole.parameter, next = begin; begin < end; begin = next) {
      next = std::min(end, (begin / slice + 1) * slice);
      Operation part = whole;
      part.parameter = begin;
      part.in_features = part.work.extent = next - begin;
      part.out_features = part.work.row_elements = 1;
      parameter_operations_.push_back(part);
    }
  }
}

}  // namespace stoop
