// Walks the operations of a gradient. The rule of each kind adds its tangent.

#include "tangent.hpp"

#include "rules.hpp"

namespace stoop {

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
