// Forward pass: adds the operations that compute the value of each node, and the loss. Decides which activations are computed
// with the operation before them, which values are computed in place, and which nodes need a gradient.

#include "lower.hpp"

namespace stoop {
namespace {

// Returns whether the derivative of an activation follows from the sign of its output. A batch normalisation computes such
// an activation with its own output and finds that sign again. A dropout may overwrite the output: a value that it keeps has
// the same sign, and a value that it drops has a gradient of zero, whatever the derivative.
bool has_sign_of_input(const Activation& activation) { return sign_gives_derivative(kind_of(activation)); }

}  // namespace

void Lowering::forward() {
  for (int i = 0; i < node_count(); ++i) {
    NodeState& s = state(i);
    s.trains = node(i).weight != kNone && node(i).trainable && request_.parameter_gradients;
    for (const int from : {node(i).input, node(i).other}) {
      if (from != kNone) s.trains = s.trains || state(from).trains;
    }
    s.needs_grad = s.trains || wants_input_gradient();
    forward(i);
  }
  lowered_.input_buffer = state(0).value;
  lowered_.output_buffer = state(node_count() - 1).value;
}

void Lowering::forward(int i) {
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

void Lowering::forward_input(int i) {
  state(i).value = add_buffer("x", node(i).out_features);
  if (!trains()) return;
  Operation gather = start(StepKind::gather, kNone);
  gather.out = state(i).value;
  push(gather);
}

void Lowering::forward_dense(int i) {
  Operation dense = start(StepKind::dense, i);
  if (const int next = fusable_activation(i); next != kNone) {
    state(i).fused = node(next).activation;
    state(next).skipped = true;
    set_activation(dense, node(next).activation);
  }
  dense.x = input_value(i);
  dense.out = state(i).value = state(i).saved = add_buffer(numbered("h", i), node(i).out_features);
  push(dense);
}

// Returns the activation that follows node i, if nothing else reads that node.
int Lowering::following_activation(int i) const {
  const int next = i + 1;
  if (next >= node_count() || node(next).kind != NodeKind::activation || node(next).input != i) return kNone;
  return node(i).consumers != 1 || request_.kind == PlanKind::curvature ? kNone : next;
}

// Returns the activation that follows a dense, if its derivative does not need the product itself.
int Lowering::fusable_activation(int i) const {
  const int next = following_activation(i);
  if (next == kNone || (trains() && !derivative_from_output(kind_of(node(next).activation)))) return kNone;
  return next;
}

void Lowering::skip(int i) {
  state(i).skipped = true;
  state(i).value = input_value(i);
}

// Adds an elementwise operation from the input's value to a buffer of its own, or in place.
Operation Lowering::start_elementwise(StepKind kind, int i, bool own_buffer) {
  Operation operation = start(kind, i);
  operation.x = input_value(i);
  state(i).value = own_buffer ? add_buffer(numbered("h", i), node(i).out_features) : operation.x;
  operation.out = state(i).value;
  return operation;
}

// Returns whether anything other than the next node needs the value of node i: another node, a derivative, or a tangent.
bool Lowering::is_kept(int i) const {
  if (node(i).consumers != 1 || request_.kind == PlanKind::curvature) return true;
  if (node(i).kind != NodeKind::activation || has_sign_of_input(node(i).activation)) return false;
  if (state(i).skipped) return node(node(i).input).kind == NodeKind::dense;  // whose derivative is taken from it
  return state(i).saved == state(i).value;
}

void Lowering::forward_activation(int i) {
  if (state(i).skipped) return skip(i);
  Operation activation = start_elementwise(StepKind::activation, i);
  set_activation(activation, node(i).activation);
  state(i).saved = derivative_from_output(activation.activation) ? activation.out : activation.x;
  push(activation);
}

void Lowering::forward_dropout(int i) {
  if (!trains() || !request_.dropout) return skip(i);
  Operation dropout = start_elementwise(StepKind::dropout, i, is_kept(node(i).input));
  dropout.mask = state(i).mask = add_mask(i);
  push(dropout);
}

void Lowering::forward_batch_norm(int i) {
  int partials = kNone;
  if (uses_batch_statistics()) {
    lowered_.batch_statistics = true;
    partials = forward_moments(i);
    state(i).statistics = add_buffer(numbered("stats", i), node(i).out_features, 2);
  }
  if (const int next = following_activation(i); next != kNone && has_sign_of_input(node(next).activation)) {
    state(i).fused = node(next).activation;
    state(next).skipped = true;
  }
  Operation norm = start_batch_norm(StepKind::batch_norm, i);
  norm.partials = partials;
  norm.out = state(i).value = add_buffer(numbered("h", i), node(i).out_features);
  push(norm);
}

// Returns the buffer of the sums.
int Lowering::forward_moments(int i) {
  Operation moments = start_batch_norm(StepKind::batch_moments, i);
  moments.partials = add_partials("moments", i, kMomentSums);
  push(moments);
  return moments.partials;
}

void Lowering::forward_layer_norm(int i) {
  Operation norm = start_elementwise(StepKind::layer_norm, i);
  norm.statistics = state(i).statistics = add_buffer(numbered("stats", i), kRowStatistics);
  push(norm);
}

void Lowering::forward_add(int i) {
  Operation sum = start_elementwise(StepKind::add, i);
  sum.other = state(node(i).other).value;
  push(sum);
}

void Lowering::loss() {
  Operation loss = start(StepKind::loss, kNone);
  const Index width = graph_.output_dim();
  loss.x = lowered_.output_buffer;
  loss.columns = loss.out_features = width;
  if (trains() && !request_.class_targets) {
    Operation gather = start(StepKind::gather_targets, kNone);
    gather.out = lowered_.target_buffer = add_buffer("y", target_columns(request_.loss, width));
    push(gather);
  }
  if (trains() && request_.backward) loss.out = state(node_count() - 1).grad = add_buffer("d_out", width);
  push(loss);
}

}  // namespace stoop
