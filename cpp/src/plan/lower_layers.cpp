// What each layer adds to a plan: the operations of its value and of the gradient of its input, and the tangents of both.
// lower.cpp has what several layers use.

#include "lower.hpp"
#include "tangent.hpp"

namespace stoop::inline v0_1 {

// ---- input ----

template <>
void Lowering::forward<NodeKind::input>(int i) {
  const Index cols = node(i).out_features;
  state(i).value = add_buffer("x", graph_.columns ? place_width(cols, graph_.columns->has_linear_ladders()) : cols);
  if (!trains()) return;
  Operation gather = start(StepKind::gather, kNone);
  gather.out = state(i).value;
  push(gather);
}

template <>
void Lowering::backward<NodeKind::input>(int) {}

// ---- dense ----

template <>
void Lowering::forward<NodeKind::dense>(int i) {
  Operation dense = i == encoded_product_ ? start_encoded(StepKind::encoded_dense, i) : start(StepKind::dense, i);
  if (const int next = fusable_activation(i); next != kNone) {
    state(i).fused = node(next).activation;
    state(next).skipped = true;
    set_activation(dense, node(next).activation);
  }
  if (i != encoded_product_) dense.x = input_value(i);
  dense.out = state(i).value = state(i).saved = add_value("h", i);
  push(dense);
}

template <>
void Lowering::backward<NodeKind::dense>(int i) {
  activation_gradient(i, state(i).fused);
  if (i == encoded_product_) return add_encoded_gradient(i);
  add_weight_gradient(i);
  const int before = node(i).input;
  if (!state(before).needs_grad) return;
  Operation product = start(StepKind::input_gradient, i);
  product.grad = state(i).grad;
  product.columns = node(i).in_features;
  product.out = add_value("d", before);
  push_gradient(product, before);
  pass(product.out, before);
}

namespace tangent {

// d(x @ W + b) = dx @ W + x @ dW + db, and the same for a gradient times W^T.
template <int Operands::* factor>
void product(Tangents& t, const Operation& operation) {
  const int moved = t.of(operation.*factor);
  const bool trained = t.is_trained(operation);
  if (moved == kNone && !trained) return;
  Operation of_factor = operation, of_weight = operation;
  of_factor.bias = kNone;
  of_factor.*factor = moved;
  of_weight.along = true;
  of_weight.out = of_factor.out = t.make(operation.out);
  if (moved != kNone) t.add(of_factor);
  if (!trained) return;
  if (moved == kNone) return t.add(of_weight);
  of_weight.out = t.make_term(operation.out);
  t.add(of_weight);
  Operation total;
  total.kind = StepKind::add_gradient;
  total.x = of_weight.out;
  total.out = of_factor.out;
  total.columns = total.out_features = operation.columns;
  total.members = t.members_of(operation.out);
  t.add(total);
}

// d(x^T g) = x^T dg + dx^T g.
void weight_gradient(Tangents& t, const Operation& operation) {
  Operation of_grad = operation, of_x = operation;
  of_grad.grad = t.of(operation.grad);
  of_x.x = t.of(operation.x);
  of_x.work.adds = true;
  if (of_x.x != kNone) of_grad.work.after = After::nothing;
  t.add(of_grad);
  if (of_x.x != kNone) t.add(of_x);
}

// For the gradient of a parameter that is linear in one operand.
template <int Operands::* operand>
void linear_gradient(Tangents& t, const Operation& operation) {
  Operation tangent = operation;
  tangent.*operand = t.of(operation.*operand);
  t.add(tangent);
}

template void product<&Operands::x>(Tangents&, const Operation&);
template void product<&Operands::grad>(Tangents&, const Operation&);
template void linear_gradient<&Operands::grad>(Tangents&, const Operation&);
template void linear_gradient<&Operands::sums>(Tangents&, const Operation&);

}  // namespace tangent

// ---- activation ----

template <>
void Lowering::forward<NodeKind::activation>(int i) {
  if (state(i).skipped) return skip(i);
  Operation activation = start_elementwise(StepKind::activation, i);
  set_activation(activation, node(i).activation);
  state(i).saved = derivative_from_output(activation.activation) ? activation.out : activation.x;
  push(activation);
}

template <>
void Lowering::backward<NodeKind::activation>(int i) {
  if (!state(i).skipped) activation_gradient(i, node(i).activation);
  pass(state(i).grad, node(i).input);
}

namespace tangent {

// df(z) = f'(z) dz.
void activation(Tangents& t, const Operation& operation) {
  t.activation_input(operation.node) = operation.x;
  if (t.of(operation.x) == kNone) return;
  Operation tangent = operation;
  tangent.kind = StepKind::activation_tangent;
  tangent.x_tangent = t.of(operation.x);
  tangent.out = t.make(operation.out);
  t.add(tangent);
}

// d(f'(z) g) = f'(z) dg + f''(z) dz g, in place of dg.
void activation_gradient(Tangents& t, const Operation& operation) {
  Operation tangent = operation;
  tangent.kind = StepKind::activation_gradient_tangent;
  tangent.saved = kNone;
  tangent.x = t.activation_input(operation.node);
  tangent.x_tangent = t.of(tangent.x);
  tangent.grad = operation.out;
  tangent.out = t.of(operation.out);
  t.add(tangent);
}

}  // namespace tangent

// ---- dropout ----

template <>
void Lowering::forward<NodeKind::dropout>(int i) {
  if (!trains() || !request_.dropout) return skip(i);
  Operation dropout = start_elementwise(StepKind::dropout, i, is_kept(node(i).input));
  dropout.mask = state(i).mask = add_mask(i);
  push(dropout);
}

template <>
void Lowering::backward<NodeKind::dropout>(int i) {
  if (!state(i).skipped) {
    Operation operation = start(StepKind::dropout_gradient, i);
    operation.mask = state(i).mask;
    operation.out = state(i).grad;
    push_gradient(operation, i);
  }
  pass(state(i).grad, node(i).input);
}

// ---- add ----

template <>
void Lowering::forward<NodeKind::add>(int i) {
  Operation sum = start_elementwise(StepKind::add, i);
  sum.other = state(node(i).other).value;
  push(sum);
}

template <>
void Lowering::backward<NodeKind::add>(int i) {
  // The branch may work on its gradient in place, so the other side gets a copy, unless that side needs no gradient.
  const int skipped = node(i).input;
  if (state(skipped).needs_grad && node(skipped).consumers == 1) {
    const int buffer = add_value("d", skipped);
    pass(copy_gradient(state(i).grad, skipped, StepKind::copy_gradient, buffer), skipped);
  } else {
    pass(state(i).grad, skipped);
  }
  pass(state(i).grad, node(i).other);
}

namespace tangent {

void sum(Tangents& t, const Operation& operation) {
  const int left = t.of(operation.x), right = t.of(operation.other);
  if (left == kNone && right == kNone) return;
  Operation tangent = operation;
  tangent.out = t.make(operation.out);
  tangent.x = left == kNone ? right : left;
  tangent.other = left == kNone ? kNone : right;
  if (tangent.other == kNone) tangent.kind = StepKind::copy_gradient;
  t.add(tangent);
}

}  // namespace tangent

// ---- normalisations ----

namespace tangent {

// The tangent of a normalisation is a kind of its own. This is the part that all of them share.
Operation start_normalization(Tangents& t, Operation operation, StepKind kind) {
  operation.kind = kind;
  operation.along = t.is_trained(operation);
  operation.x_tangent = t.of(operation.x);
  operation.statistics_tangent = t.make(operation.statistics);
  operation.out = t.make(operation.out);
  operation.partials = kNone;  // of a batch normalisation: one thread adds up all rows of a column
  return operation;
}

template <StepKind kind>
void normalization(Tangents& t, const Operation& operation) {
  if (t.of(operation.x) != kNone || t.is_trained(operation)) t.add(start_normalization(t, operation, kind));
}

template void normalization<StepKind::batch_norm_tangent>(Tangents&, const Operation&);
template void normalization<StepKind::layer_norm_tangent>(Tangents&, const Operation&);

}  // namespace tangent

template <>
void Lowering::forward<NodeKind::batch_norm>(int i) {
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
  norm.out = state(i).value = add_value("h", i);
  push(norm);
}

// Returns the buffer of the sums.
int Lowering::forward_moments(int i) {
  Operation moments = start_batch_norm(StepKind::batch_moments, i);
  moments.partials = add_partials("moments", i, kMomentSums);
  push(moments);
  return moments.partials;
}

template <>
void Lowering::backward<NodeKind::batch_norm>(int i) {
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

namespace tangent {

void batch_norm_gradient(Tangents& t, const Operation& operation) {
  Operation tangent = start_normalization(t, operation, StepKind::batch_norm_gradient_tangent);
  tangent.grad = operation.out;
  tangent.sums = t.make(operation.sums);
  t.add(tangent);
}

}  // namespace tangent

template <>
void Lowering::forward<NodeKind::layer_norm>(int i) {
  Operation norm = start_elementwise(StepKind::layer_norm, i);
  norm.statistics = state(i).statistics = add_value("stats", i);
  lowered_.buffers.back().width = kRowStatistics;
  push(norm);
}

template <>
void Lowering::backward<NodeKind::layer_norm>(int i) {
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
  norm.out = add_value("d", before);
  push_gradient(norm, before);
  pass(norm.out, before);
}

namespace tangent {

void layer_norm_gradient(Tangents& t, const Operation& operation) {
  Operation tangent = start_normalization(t, operation, StepKind::layer_norm_gradient_tangent);
  tangent.grad_tangent = t.of(operation.grad);
  t.add(tangent);
}

void gamma_gradient(Tangents& t, const Operation& operation) {
  Operation tangent = operation;
  tangent.kind = StepKind::gamma_gradient_tangent;
  tangent.x_tangent = t.of(operation.x);
  tangent.grad_tangent = t.of(operation.grad);
  tangent.statistics_tangent = t.of(operation.statistics);
  t.add(tangent);
}

}  // namespace tangent

// ---- all layers ----

void Lowering::forward() {
  encoded_product_ = find_encoded_product();
  for (int i = 0; i < node_count(); ++i) {
    NodeState& s = state(i);
    s.trains = node(i).has_parameters() && node(i).trainable && request_.parameter_gradients;
    for (const int from : {node(i).input, node(i).other}) {
      if (from != kNone) s.trains = s.trains || state(from).trains;
    }
    s.needs_grad = s.trains || wants_input_gradient();
    if (i > 0 && i < encoded_product_) continue;
    visit_node(node(i).kind, [&]<NodeKind kind>(NodeOf<kind>) { forward<kind>(i); });
  }
  lowered_.input_buffer = state(0).value;
  lowered_.output_buffer = state(node_count() - 1).value;
  combine();
}

void Lowering::backward() {
  for (int i = node_count() - 1; i > 0; --i) {
    if (!state(i).needs_grad) continue;
    visit_node(node(i).kind, [&]<NodeKind kind>(NodeOf<kind>) { backward<kind>(i); });
  }
}

}  // namespace stoop
