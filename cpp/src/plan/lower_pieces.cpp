// An update in pieces, for loops of the caller's own: the operations of a forward and a backward pass that other operations
// of the caller's stand between, and those of the update.

#include <utility>

#include "lower.hpp"

namespace stoop {

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
  push(outputs);
}

void Lowering::gather_gradient() {
  Operation gather = start(StepKind::gather_gradient, kNone);
  gather.columns = gather.out_features = graph_.output_dim();
  gather.out = state(node_count() - 1).grad = add_buffer("d_out", gather.columns);
  push(gather);
}

void Lowering::give_input_gradient() {
  Operation gradient = start(StepKind::give_input_gradient, kNone);
  gradient.x = state(0).grad;
  gradient.columns = gradient.out_features = node(0).out_features;
  gradient.for_input = true;
  push(gradient);
}

// The gradients are there, so nothing is left of the passes but what they say of the parameters.
void Lowering::apply() {
  backward();
  lowered_ = {};
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

}  // namespace stoop
