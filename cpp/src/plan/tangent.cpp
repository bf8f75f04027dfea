// The derivative of a plan: what each kind of step adds for its tangent, and the walk that asks all of them.

#include "tangent.hpp"

#include <stdexcept>
#include <string>

namespace stoop {

namespace tangent {

// ---- tangents of several kinds ----

// The step computes nothing that depends on the parameters.
void constant(Tangents&, const Operation&) {}

// The tangent of the normalisation that reads these sums computes them again, with their derivatives.
void in_another(Tangents&, const Operation&) {}

void missing(Tangents&, const Operation& operation) {
  throw std::logic_error(std::string("the step '") + rule_of(operation.kind).name + "' has no tangent");
}

// For a step that is linear in one operand and depends on nothing else: the same step on the tangents.
template <int Operands::* operand>
void linear(Tangents& t, const Operation& operation) {
  if (t.of(operation.*operand) == kNone) return;
  Operation tangent = operation;
  tangent.x = t.of(operation.x);
  tangent.out = t.make(operation.out);
  t.add(tangent);
}

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
  t.add(total);
}

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

// ---- tangents of one kind ----

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

// The tangent of the loss's gradient: its Hessian with respect to the outputs, times their tangent.
void loss(Tangents& t, const Operation& operation) {
  if (t.of(operation.x) == kNone || operation.out == kNone) return;
  Operation tangent = operation;
  tangent.kind = StepKind::loss_tangent;
  tangent.x_tangent = t.of(operation.x);
  tangent.out = t.make(operation.out);
  t.add(tangent);
}

void batch_norm_gradient(Tangents& t, const Operation& operation) {
  Operation tangent = start_normalization(t, operation, StepKind::batch_norm_gradient_tangent);
  tangent.grad = operation.out;
  tangent.sums = t.make(operation.sums);
  t.add(tangent);
}

void layer_norm_gradient(Tangents& t, const Operation& operation) {
  Operation tangent = start_normalization(t, operation, StepKind::layer_norm_gradient_tangent);
  tangent.grad_tangent = t.of(operation.grad);
  t.add(tangent);
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

void gamma_gradient(Tangents& t, const Operation& operation) {
  Operation tangent = operation;
  tangent.kind = StepKind::gamma_gradient_tangent;
  tangent.x_tangent = t.of(operation.x);
  tangent.grad_tangent = t.of(operation.grad);
  tangent.statistics_tangent = t.of(operation.statistics);
  t.add(tangent);
}

// For the gradient of a parameter that is linear in one operand.
template <int Operands::* operand>
void linear_gradient(Tangents& t, const Operation& operation) {
  Operation tangent = operation;
  tangent.*operand = t.of(operation.*operand);
  t.add(tangent);
}

template void linear<&Operands::x>(Tangents&, const Operation&);
template void linear<&Operands::out>(Tangents&, const Operation&);
template void product<&Operands::x>(Tangents&, const Operation&);
template void product<&Operands::grad>(Tangents&, const Operation&);
template void normalization<StepKind::batch_norm_tangent>(Tangents&, const Operation&);
template void normalization<StepKind::layer_norm_tangent>(Tangents&, const Operation&);
template void linear_gradient<&Operands::grad>(Tangents&, const Operation&);
template void linear_gradient<&Operands::sums>(Tangents&, const Operation&);

}  // namespace tangent

void add_tangents(Lowered& lowered, std::vector<Operation>& parameter_operations, const Graph& graph) {
  Tangents tangents(lowered.buffers, graph);
  for (const Operation& operation : std::exchange(lowered.operations, {})) {
    const StepRule& rule = rule_of(operation.kind);
    const bool overwrites = rule.works_in_place();  // what the tangent reads
    if (overwrites) rule.tangent(tangents, operation);
    tangents.add(operation);
    if (!overwrites) rule.tangent(tangents, operation);
  }
  lowered.operations = tangents.take();
  // Only the tangents of the parameters' gradients are computed, not the gradients.
  for (const Operation& operation : parameter_operations) rule_of(operation.kind).tangent(tangents, operation);
  parameter_operations = tangents.take();
}

}  // namespace stoop
