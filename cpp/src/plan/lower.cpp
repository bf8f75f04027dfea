// Calls the passes of lowering in their order, and makes buffers and operations for them.

#include "lower.hpp"

#include "tangent.hpp"

namespace stoop {

Lowered Lowering::run() {
  forward();
  if (request_.kind == PlanKind::pieces) pieces();
  if (request_.kind == PlanKind::apply) apply();
  if (request_.kind == PlanKind::pieces || request_.kind == PlanKind::apply) return std::move(lowered_);
  if (request_.kind != PlanKind::inference) loss();
  if (!trains()) return std::move(lowered_);
  if (request_.backward) backward();
  if (updates() || request_.update_statistics) follow_statistics();
  if (request_.kind == PlanKind::curvature) add_tangents(lowered_, parameter_operations_, graph_);
  append_parameter_operations();
  if (request_.kind == PlanKind::checked) finish_gradients();
  if (request_.apply_updates && updates()) update_parameters(StepKind::apply_update);
  if (request_.limit_norm && updates()) limit_norms();
  return std::move(lowered_);
}

Lowered lower(const PlanRequest& request) { return Lowering(request).run(); }

int Lowering::add_buffer(std::string name, Index width, Index rows) {
  lowered_.buffers.push_back(
      {.name = std::move(name), .width = width, .element_size = request_.element_size, .rows = rows});
  return static_cast<int>(lowered_.buffers.size()) - 1;
}

int Lowering::add_mask(int i) {
  lowered_.buffers.push_back({.name = numbered("mask", i), .width = (node(i).out_features + 7) / 8, .element_size = 1});
  return static_cast<int>(lowered_.buffers.size()) - 1;
}

int Lowering::add_partials(const char* name, int i, Index sums) {
  return add_buffer(numbered(name, i), node(i).out_features, sums * most_statistics_groups(request_.batch));
}

Operation Lowering::start(StepKind kind, int i) const {
  Operation operation;
  operation.kind = kind;
  operation.node = i;
  if (i == kNone) return operation;
  const Node& n = node(i);
  operation.in_features = n.in_features;
  operation.columns = operation.out_features = n.out_features;
  operation.parameter = offset(n.weight);
  operation.bias = offset(n.bias);
  operation.rate = n.rate;
  operation.norm.eps = n.eps;
  operation.norm.momentum = n.momentum;
  if (n.running_mean == kNone) return operation;
  operation.norm.running_mean = graph_.buffers[index(n.running_mean)].info.offset;
  operation.norm.running_var = graph_.buffers[index(n.running_var)].info.offset;
  return operation;
}

Operation Lowering::start_batch_norm(StepKind kind, int i) const {
  Operation operation = start(kind, i);
  operation.x = input_value(i);
  operation.statistics = state(i).statistics;
  set_activation(operation, state(i).fused);
  return operation;
}

void Lowering::set_activation(Operation& operation, const Activation& activation) {
  operation.activation = kind_of(activation);
  operation.activation_numbers = numbers_of(activation);
}

}  // namespace stoop
