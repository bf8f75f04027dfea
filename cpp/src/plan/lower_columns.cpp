// What a Columns layer adds to a plan: see lower_layers.cpp for the other layers.

#include <cstdint>

#include "lower.hpp"
#include "tangent.hpp"

namespace stoop::inline v0_1 {

template <>
void Lowering::forward<NodeKind::columns>(int i) {
  Operation columns = start(StepKind::columns, i);
  columns.x = input_value(i);
  columns.out = state(i).value = add_buffer(numbered("h", i), node(i).out_features);
  const GraphColumns& layer = *graph_.columns;
  if (layer.periodic > 0) {
    columns.saved = state(i).saved = add_buffer("waves", layer.periodic * 2 * layer.layer.frequencies);
  }
  push(columns);
}

template <>
void Lowering::backward<NodeKind::columns>(int i) {
  const int angles = graph_.columns->periodic > 0 ? add_periodic_gradient(i) : kNone;
  if (node(i).weight != kNone) add_table_gradient(i);
  const int before = node(i).input;
  if (!state(before).needs_grad) return;
  Operation gradient = start(StepKind::columns_input_gradient, i);
  gradient.x = input_value(i);
  gradient.grad = state(i).grad;
  gradient.statistics = angles;
  gradient.columns = node(i).in_features;
  gradient.out = add_buffer(numbered("d", before), gradient.columns);
  push_gradient(gradient, before);
  pass(gradient.out, before);
}

// Returns the buffer of the derivatives by each angle times its number, which are those by the frequencies, and after them of
// the derivatives by the number of each column.
int Lowering::add_periodic_gradient(int i) {
  const GraphColumns& layer = *graph_.columns;
  const Index dim = layer.layer.embedding_dim, angles = layer.periodic * layer.layer.frequencies;
  Operation periodic = start(StepKind::periodic_gradient, i);
  periodic.x = input_value(i);
  periodic.grad = state(i).grad;
  periodic.other = state(i).value;
  periodic.saved = state(i).saved;
  periodic.out = add_buffer("d_periodic", layer.periodic * dim);
  periodic.statistics = add_buffer("d_angles", angles + layer.periodic);
  periodic.columns = layer.periodic * dim;
  push_gradient(periodic, i);
  const auto [frequencies, weight, bias] = node(i).others;
  Operation of_weight = start(StepKind::periodic_weight_gradient, i);
  of_weight.grad = periodic.out;
  of_weight.saved = periodic.saved;
  of_weight.work.extent = of_weight.in_features = 2 * angles;
  of_weight.work.row_elements = of_weight.out_features = dim;
  of_weight.work.is_weight = true;
  of_weight.work.is_limited = false;
  add_parameter_gradient(of_weight, weight);
  const auto add_sums = [&](int grad, Index columns, int parameter) {
    Operation sums = start(StepKind::bias_gradient, i);
    sums.grad = grad;
    sums.columns = sums.out_features = columns;
    add_vector_gradient(sums, parameter);
  };
  add_sums(periodic.out, layer.periodic * dim, bias);
  add_sums(periodic.statistics, angles, frequencies);
  return periodic.statistics;
}

void Lowering::add_table_gradient(int i) {
  Operation table = start(StepKind::table_gradient, i);
  table.x = input_value(i);
  table.grad = state(i).grad;
  table.work.extent = table.in_features = graph_.columns->table_rows;
  table.work.row_elements = table.out_features = graph_.columns->layer.embedding_dim;
  table.work.is_weight = table.work.is_table = true;
  table.work.is_limited = false;
  table.work.is_lazy = request_.lazy_tables && updates();
  add_parameter_gradient(table, node(i).weight);
  if (table.work.is_lazy && request_.kind == PlanKind::training) {
    lowered_.slots_buffer = add_buffer("slots", table.work.extent, 1);
    lowered_.buffers.back().element_size = sizeof(std::int32_t);
  }
}

namespace tangent {

// The encoded columns are linear in the table, and nothing else of them moves.
void columns(Tangents& t, const Operation& operation) {
  if (!t.is_trained(operation)) return;
  if (operation.saved != kNone) return missing(t, operation);  // frequencies
  Operation tangent = operation;
  tangent.along = true;
  tangent.out = t.make(operation.out);
  t.add(tangent);
}

}  // namespace tangent
}  // namespace stoop
