// Operations of the parameters: gradient, update, running statistics, limits. The backward pass collects them, and they come
// after all others.

#include <algorithm>
#include <iterator>
#include <utility>

#include "lower.hpp"

namespace stoop::inline v0_1 {

void Lowering::add_weight_gradient(int i) {
  const bool each = node(i).kind == NodeKind::member_dense;
  Operation weight = start(each ? StepKind::member_weight_gradient : StepKind::weight_gradient, i);
  weight.x = input_value(i);
  weight.grad = state(i).grad;
  weight.work.extent = graph_.parameters[index(node(i).weight)].info.rows;
  weight.work.row_elements = node(i).out_features;
  weight.work.is_weight = true;
  add_parameter_gradient(weight, node(i).weight);
  add_bias_gradient(i);
}

// The bias of a layer of members has a row for each of them.
void Lowering::add_bias_gradient(int i) {
  if (node(i).bias == kNone) return;
  const bool shared = node(i).kind == NodeKind::dense;
  Operation bias = start(shared ? StepKind::bias_gradient : StepKind::member_bias_gradient, i);
  bias.grad = state(i).grad;
  bias.work.extent = shared ? bias.out_features : bias.members * bias.out_features;
  add_parameter_gradient(bias, node(i).bias);
}

// Adds the gradient of a parameter with one element per column.
void Lowering::add_vector_gradient(Operation operation, int parameter) {
  operation.work.extent = operation.out_features;
  add_parameter_gradient(operation, parameter);
}

void Lowering::add_parameter_gradient(Operation operation, int parameter) {
  const Node& owner = node(operation.node);
  if (!owner.trainable || !request_.parameter_gradients) return;
  operation.parameter = offset(parameter);
  ParameterWork& work = operation.work;
  work.after = request_.kind == PlanKind::training                 ? After::update
               : request_.kind == PlanKind::pieces || request_.raw ? After::nothing
                                                                   : After::regularize;
  work.regularized = graph_.parameters[index(parameter)].info.regularized;
  work.l1 = owner.l1;
  work.l2 = owner.l2;
  work.factors = owner.factors;
  parameter_operations_.push_back(operation);
}

// Covers every batch normalisation, including those before the first trainable layer, where the backward pass ends.
void Lowering::follow_statistics() {
  for (int i = 0; i < node_count(); ++i) {
    if (node(i).kind != NodeKind::batch_norm || state(i).statistics == kNone) continue;
    Operation operation = start(StepKind::update_statistics, i);
    operation.statistics = state(i).statistics;
    if (request_.update_statistics) operation.norm.momentum = 0.0;  // the statistics of the whole batch are exact
    operation.work.extent = node(i).out_features;
    parameter_operations_.push_back(operation);
  }
}

// These come after the check of the loss, when all values and gradients are there.
void Lowering::append_parameter_operations() {
  push(start(StepKind::check_loss, kNone));
  lowered_.operations.insert(lowered_.operations.end(), parameter_operations_.begin(), parameter_operations_.end());
}

// For checked training, in which the norm of all gradients is known before the first update.
void Lowering::finish_gradients() {
  const auto is_statistics = [](const Operation& operation) { return operation.kind == StepKind::update_statistics; };
  std::erase_if(lowered_.operations, is_statistics);
  push(start(StepKind::check_gradient, kNone));
  std::copy_if(parameter_operations_.begin(), parameter_operations_.end(), std::back_inserter(lowered_.operations),
               is_statistics);
  update_parameters(StepKind::update_parameter);
}

// Appends a pass of the optimizer over every parameter.
void Lowering::update_parameters(StepKind kind) {
  for (Operation update : parameter_operations_) {
    if (update.kind == StepKind::update_statistics) continue;
    static_cast<Operands&>(update) = {};
    update.kind = kind;
    update.work.after = After::update;
    push(update);
  }
}

void Lowering::limit_norms() {
  for (const Operation& operation : parameter_operations_) {
    if (!operation.work.is_weight || !operation.work.is_limited) continue;
    Operation limit = start(StepKind::limit_norm, operation.node);
    limit.work.extent = operation.work.extent;
    push(limit);
  }
}

}  // namespace stoop
