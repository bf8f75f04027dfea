// The pass forward: the steps that compute the value of each node, and the loss. Decides which activations are computed
// with the step before them, which values are computed in place, and which nodes need a gradient.

#include "builder.hpp"

namespace stoop {
namespace {

// Activations whose derivative follows from the sign of the output: a batch normalisation computes them with its own and
// finds that sign again, and a dropout may overwrite their output. What it keeps has the same sign; what it drops has a
// gradient of zero, whatever the derivative.
bool has_sign_of_input(const Activation& activation) { return sign_gives_derivative(kind_of(activation)); }

}  // namespace

void PlanBuilder::forward() {
  for (int i = 0; i < node_count(); ++i) {
    NodePlan& p = planned(i);
    p.needs_grad = node(i).weight != kNone && node(i).trainable;
    for (const int from : {node(i).input, node(i).other}) {
      if (from != kNone) p.needs_grad = p.needs_grad || planned(from).needs_grad;
    }
    forward(i);
  }
  plan_.input_buffer = planned(0).value;
  plan_.output_buffer = planned(node_count() - 1).value;
  if (!trains_) plan_.buffers[index(plan_.input_buffer)].external = true;
  if (request_.kind == PlanKind::inference) plan_.buffers[index(plan_.output_buffer)].external = true;
}

void PlanBuilder::forward(int i) {
  switch (node(i).kind) {
    case NodeKind::input:
      return forward_input(i);
    case NodeKind::dense:
      return forward_dense(i);
    case NodeKind::activation:
      return forward_activation(i);
    case NodeKind::batch_norm:
      return forward_batch_norm(i);
    case NodeKind::layer_norm:
      return forward_layer_norm(i);
    case NodeKind::dropout:
      return forward_dropout(i);
    case NodeKind::add:
      return forward_add(i);
  }
}

void PlanBuilder::forward_input(int i) {
  planned(i).value = add_buffer("x", node(i).out_features);
  if (!trains_) return;
  Step step = start_step(StepKind::gather, Cut::rows, kNone);
  step.output = planned(i).value;
  push(step);
}

void PlanBuilder::forward_dense(int i) {
  Step step = start_step(StepKind::dense, product_cut(node(i)), i);
  if (const int next = fusable_activation(i); next != kNone) {
    planned(i).fused = node(next).activation;
    planned(next).skipped = true;
    set_activation(step, node(next).activation);
  }
  step.input = planned(node(i).input).value;
  step.output = planned(i).value = planned(i).saved = add_buffer(numbered("h", i), node(i).out_features);
  plan_.flops += product_flops(node(i));
  push(step);
}

// The activation that follows node i, which nothing else reads.
int PlanBuilder::following_activation(int i) const {
  const int next = i + 1;
  if (next >= node_count() || node(next).kind != NodeKind::activation || node(next).input != i) return kNone;
  return node(i).consumers != 1 || request_.kind == PlanKind::curvature ? kNone : next;
}

// The same for a dense: the derivative must not need the product itself.
int PlanBuilder::fusable_activation(int i) const {
  const int next = following_activation(i);
  if (next == kNone || (trains_ && !derivative_from_output(kind_of(node(next).activation)))) return kNone;
  return next;
}

void PlanBuilder::skip(int i) {
  planned(i).skipped = true;
  planned(i).value = planned(node(i).input).value;
}

// An elementwise step from the input's value to a buffer of its own, or in place.
Step PlanBuilder::start_elementwise(StepKind kind, int i, bool own_buffer) {
  Step step = start_step(kind, cut_of(planned(node(i).input).value), i);
  step.input = planned(node(i).input).value;
  planned(i).value = own_buffer ? add_buffer(numbered("h", i), node(i).out_features) : step.input;
  step.output = planned(i).value;
  return step;
}

// Whether anything but the next node needs the value of node i: another node, a derivative, or a tangent.
bool PlanBuilder::is_kept(int i) const {
  if (node(i).consumers != 1 || request_.kind == PlanKind::curvature) return true;
  if (node(i).kind != NodeKind::activation) return false;
  const NodePlan& p = nodes_[index(i)];
  if (has_sign_of_input(node(i).activation)) return false;
  if (p.skipped) return node(node(i).input).kind == NodeKind::dense;  // whose derivative is taken from it
  return p.saved == p.value;
}

void PlanBuilder::forward_activation(int i) {
  if (planned(i).skipped) return skip(i);
  Step step = start_elementwise(StepKind::activation, i);
  set_activation(step, node(i).activation);
  planned(i).saved = derivative_from_output(step.activation) ? step.output : step.input;
  push(step);
}

void PlanBuilder::forward_dropout(int i) {
  if (!trains_ || !request_.dropout) return skip(i);
  Step step = start_elementwise(StepKind::dropout, i, is_kept(node(i).input));
  step.mask = planned(i).mask = add_mask(i);
  push_behind_dense(step);
}

void PlanBuilder::forward_batch_norm(int i) {
  int partials = kNone;
  if (uses_batch_statistics()) {
    plan_.batch_statistics = true;
    partials = forward_moments(i);
    planned(i).statistics = add_buffer(numbered("stats", i), node(i).out_features, 2);
  }
  if (const int next = following_activation(i); next != kNone && has_sign_of_input(node(next).activation)) {
    planned(i).fused = node(next).activation;
    planned(next).skipped = true;
  }
  Step step = start_batch_norm(StepKind::batch_norm, i);
  step.partials = partials;
  step.output = planned(i).value = add_buffer(numbered("h", i), node(i).out_features);
  push(step);
}

// Returns the buffer of the sums.
int PlanBuilder::forward_moments(int i) {
  Step step = start_batch_norm(StepKind::batch_moments, i);
  step.partials = add_partials("moments", i, kMomentSums);
  push_behind_dense(step);
  return step.partials;
}

void PlanBuilder::forward_layer_norm(int i) {
  Step step = start_step(StepKind::layer_norm, Cut::rows, i);
  step.input = planned(node(i).input).value;
  step.output = planned(i).value = add_buffer(numbered("h", i), node(i).out_features);
  step.statistics = planned(i).statistics = add_buffer(numbered("stats", i), kRowStatistics);
  push(step);
}

void PlanBuilder::forward_add(int i) {
  Step step = start_step(StepKind::add, Cut::rows, i);
  step.input = planned(node(i).input).value;
  step.gate = planned(node(i).other).value;
  step.output = planned(i).value = add_buffer(numbered("h", i), node(i).out_features);
  push(step);
}

void PlanBuilder::loss() {
  Step step = start_step(StepKind::loss, Cut::rows, kNone);
  step.input = plan_.output_buffer;
  step.out_features = plan_.output_dim;
  if (trains_ && !request_.class_targets) {
    Step gather = start_step(StepKind::gather_targets, Cut::rows, kNone);
    gather.output = plan_.target_buffer = add_buffer("y", target_columns(plan_.loss, plan_.output_dim));
    push(gather);
  }
  if (trains_ && request_.backward)
    step.output = planned(node_count() - 1).grad = add_buffer("d_out", plan_.output_dim);
  push(step);
}

}  // namespace stoop
