// The derivative of a plan: asks each operation for its tangent. The tangents of layers are in lower_layers.cpp.

#include "tangent.hpp"

#include <stdexcept>
#include <string>

namespace stoop::inline v0_1 {
namespace tangent {

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

// The tangent of the loss's gradient: its Hessian with respect to the outputs, times their tangent.
void loss(Tangents& t, const Operation& operation) {
  if (t.of(operation.x) == kNone || operation.out == kNone) return;
  Operation tangent = operation;
  tangent.kind = StepKind::loss_tangent;
  tangent.x_tangent = t.of(operation.x);
  tangent.out = t.make(operation.out);
  t.add(tangent);
}

template void linear<&Operands::x>(Tangents&, const Operation&);
template void linear<&Operands::out>(Tangents&, const Operation&);

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
