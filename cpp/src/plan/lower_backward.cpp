// Backward pass: adds the operations that compute the gradient of each node's output, from the last node to the first.

#include "lower.hpp"

namespace stoop {

void Lowering::backward() {
  for (int i = node_count() - 1; i > 0; --i) {
    if (state(i).needs_grad) backward(i);
  }
}

void Lowering::backward(int i) {
  switch (node(i).kind) {
    case NodeKind::dense:
      return backward_dense(i);
    case NodeKind::activation:
      if (!state(i).skipped) activation_gradient(i, node(i).activation);
      return pass(state(i).grad, node(i).input);
    case NodeKind::dropout:
      return backward_dropout(i);
    case NodeKind::batch_norm:
      return backward_batch_norm(i);
    case NodeKind::layer_norm:
      return backward_layer_norm(i);
    case NodeKind::add:
      return backward_add(i);
    case NodeKind::input:
      return;
  }
}

// Adds an operation whose result is a part of the gradient of node i.
void Lowering::push_gradient(Operation operation, int i) {
  operation.for_input = !state(i).trains;
  push(operation);
}

// grad(i) *= f'(.).
void Lowering::activation_gradient(int i, const Activation& activation) {
  if (kind_of(activation) == kind_of<Identity>()) return;
  Operation operation = start(StepKind::activation_gradient, i);
  set_activation(operation, activation);
  operation.saved = state(i).saved;
  operation.out = state(i).grad;
  push_gradient(operation, i);
}

// Gives the gradient in `buffer` to node `to`, which adds the gradients of all its consumers.
void Lowering::pass(int buffer, int to) {
  NodeState& target = state(to);
  if (!target.needs_grad) return;
  if (node(to).consumers == 1) {
    target.grad = buffer;
  } else if (target.grad == kNone) {
    const int own = add_buffer(numbered("d", to), node(to).out_features);
    target.grad = copy_gradient(buffer, to, StepKind::copy_gradient, own);
  } else {
    copy_gradient(buffer, to, StepKind::add_gradient, target.grad);
  }
}

int Lowering::copy_gradient(int from, int to, StepKind kind, int out) {
  Operation operation = start(kind, kNone);
  operation.x = from;
  operation.out = out;
  operation.columns = operation.out_features = node(to).out_features;
  push_gradient(operation, to);
  return out;
}

void Lowering::backward_add(int i) {
  // The branch may work on its gradient in place, so the other side gets a copy, unless that side needs no gradient.
  const int skipped = node(i).input;
  if (state(skipped).needs_grad && node(skipped).consumers == 1) {
    const int buffer = add_buffer(numbered("d", skipped), node(skipped).out_features);
    pass(copy_gradient(state(i).grad, skipped, StepKind::copy_gradient, buffer), skipped);
  } else {
    pass(state(i).grad, skipped);
  }
  pass(state(i).grad, node(i).other);
}

void Lowering::backward_dense(int i) {
  activation_gradient(i, state(i).fused);
  add_weight_gradient(i);
  const int before = node(i).input;
  if (!state(before).needs_grad) return;
  Operation product = start(StepKind::input_gradient, i);
  product.grad = state(i).grad;
  product.columns = node(i).in_features;
  product.out = add_buffer(numbered("d", before), product.columns);
  push_gradient(product, before);
  pass(product.out, before);
}

void Lowering::backward_dropout(int i) {
  if (!state(i).skipped) {
    Operation operation = start(StepKind::dropout_gradient, i);
    operation.mask = state(i).mask;
    operation.out = state(i).grad;
    push_gradient(operation, i);
  }
  pass(state(i).grad, node(i).input);
}

void Lowering::backward_batch_norm(int i) {
  Operation sums = start_batch_norm(StepKind::batch_sums, i);
  sums.grad = state(i).grad;
  sums.partials = add_partials("gradients", i, kGradientSums);
  push_gradient(sums, i);
  Operation norm = start_batch_norm(StepKind::batch_norm_gradient, i);
  norm.out = state(i).grad;
  norm.partials = sums.partials;
  norm.sums = add_buffer(numbered("sums", i), node(i).out_features, 2);
  push_gradient(norm, i);
  for (const int row : {0, 1}) {
    Operation stored = start(StepKind::stored_gradient, i);
    stored.sums = norm.sums;
    stored.work.row = row;
    add_vector_gradient(stored, row == 0 ? node(i).weight : node(i).bias);
  }
  pass(norm.out, node(i).input);
}

void Lowering::backward_layer_norm(int i) {
  Operation gamma = start(StepKind::gamma_gradient, i);
  gamma.x = input_value(i);
  gamma.grad = state(i).grad;
  gamma.statistics = state(i).statistics;
  add_vector_gradient(gamma, node(i).weight);
  Operation beta = start(StepKind::bias_gradient, i);
  beta.grad = state(i).grad;
  add_vector_gradient(beta, node(i).bias);
  const int before = node(i).input;
  if (!state(before).needs_grad) return;
  Operation norm = start(StepKind::layer_norm_gradient, i);
  norm.x = input_value(i);
  norm.grad = state(i).grad;
  norm.statistics = state(i).statistics;
  norm.out = add_buffer(numbered("d", before), node(before).out_features);
  push_gradient(norm, before);
  pass(norm.out, before);
}

}  // namespace stoop
