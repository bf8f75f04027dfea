// What the layers of members add to a plan, and what their outputs become together.

#include "lower.hpp"

namespace stoop::inline v0_1 {

// ---- member_scale ----

template <>
void Lowering::forward<NodeKind::member_scale>(int i) {
  push(start_elementwise(StepKind::member_scale, i));
}

template <>
void Lowering::backward<NodeKind::member_scale>(int i) {
  Operation scale = start(StepKind::scale_gradient, i);
  scale.x = input_value(i);
  scale.grad = state(i).grad;
  scale.work.extent = scale.members * scale.out_features;
  add_parameter_gradient(scale, node(i).weight);
  add_bias_gradient(i);
  const int before = node(i).input;
  if (!state(before).needs_grad) return;
  Operation gradient = start(StepKind::member_scale_gradient, i);
  gradient.bias = kNone;
  gradient.grad = state(i).grad;
  gradient.out = add_value("d", before);
  push_gradient(gradient, before);
  pass(gradient.out, before);
}

// ---- member_dense ----

template <>
void Lowering::forward<NodeKind::member_dense>(int i) {
  Operation dense = start(StepKind::member_dense, i);
  if (const int next = fusable_activation(i); next != kNone) {
    state(i).fused = node(next).activation;
    state(next).skipped = true;
    set_activation(dense, node(next).activation);
  }
  dense.x = input_value(i);
  dense.out = state(i).value = state(i).saved = add_value("h", i);
  push(dense);
}

template <>
void Lowering::backward<NodeKind::member_dense>(int i) {
  activation_gradient(i, state(i).fused);
  add_weight_gradient(i);
  const int before = node(i).input;
  if (!state(before).needs_grad) return;
  Operation product = start(StepKind::member_input_gradient, i);
  product.grad = state(i).grad;
  product.columns = node(i).in_features;
  product.out = add_value("d", before, node(i).members);
  push_gradient(product, before);
  if (node(i).members == node(before).members) return pass(product.out, before);
  Operation sum = start(StepKind::member_sum, i);
  sum.x = product.out;
  sum.columns = sum.out_features = node(before).out_features;
  sum.out = add_value("s", before);
  push_gradient(sum, before);
  pass(sum.out, before);
}

// ---- what the members say together ----

void Lowering::combine() {
  if (!combines()) return;
  Operation together = start(StepKind::combine, kNone);
  together.x = lowered_.output_buffer;
  together.members = graph_.members();
  together.output = request_.output;
  together.columns = together.out_features = graph_.output_dim();
  together.out = lowered_.output_buffer = add_buffer("combined", graph_.output_dim());
  push(together);
}

// From the gradient of what they say together to that of what each of them says.
void Lowering::combine_gradient() {
  if (!combines()) return;
  const int last = node_count() - 1;
  Operation each = start(StepKind::combine_gradient, kNone);
  each.x = state(last).value;
  each.members = graph_.members();
  each.output = request_.output;
  each.columns = each.out_features = graph_.output_dim();
  each.grad = state(last).grad;
  each.out = state(last).grad = add_value("d_each", last);
  push(each);
}

}  // namespace stoop
