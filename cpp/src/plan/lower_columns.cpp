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
  const bool has_ladders = layer.has_linear_ladders();
  if (layer.number_layers > 0 && (trains() || !has_ladders)) {  // a linear ladder needs no memory for its value
    columns.saved = state(i).saved = add_buffer("waves", layer.layer_rows + (has_ladders ? layer.number_layers : 0));
  }
  push(columns);
}

template <>
void Lowering::backward<NodeKind::columns>(int i) {
  const int angles = graph_.columns->number_layers > 0 ? add_number_gradient(i) : kNone;
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

// Returns, of periodic columns, the buffer of the derivatives by each angle times its number, which are those by the frequencies,
// and after them of the derivatives by the number of each column.
int Lowering::add_number_gradient(int i) {
  const GraphColumns& layer = *graph_.columns;
  const Index count = layer.number_layers, angles = count * layer.layer.frequencies;
  const bool is_periodic = !layer.has_linear_ladders();
  Operation layers = start(StepKind::number_gradient, i);
  layers.x = input_value(i);
  layers.grad = state(i).grad;
  layers.saved = state(i).saved;
  layers.columns = count * layer.layer.embedding_dim;
  layers.out = add_buffer("d_layers", layers.columns);
  if (is_periodic) {
    layers.other = state(i).value;
    layers.statistics = add_buffer("d_angles", angles + count);
  }
  push_gradient(layers, i);
  const auto [first, weight, bias] = node(i).others;
  if (weight != kNone) add_number_weight_gradient(layers, weight, false);
  const auto add_sums = [&](int grad, Index columns, int parameter) {
    Operation sums = start(StepKind::bias_gradient, i);
    sums.grad = grad;
    sums.columns = sums.out_features = columns;
    add_vector_gradient(sums, parameter);
  };
  add_sums(layers.out, layers.columns, bias);
  if (is_periodic) {
    add_sums(layers.statistics, angles, first);
  } else {
    add_number_weight_gradient(layers, first, true);
  }
  return layers.statistics;
}

// `layers` is the operation that gives the gradient before the ReLU. The weights of the scaled numbers themselves are `of_numbers`.
void Lowering::add_number_weight_gradient(const Operation& layers, int parameter, bool of_numbers) {
  Operation of_weight = start(StepKind::number_weight_gradient, layers.node);
  of_weight.x = layers.x;
  of_weight.grad = layers.out;
  of_weight.saved = layers.saved;
  of_weight.of_numbers = of_numbers;
  of_weight.work.extent = of_weight.in_features =
      of_numbers ? graph_.columns->number_layers : graph_.columns->layer_rows;
  of_weight.work.row_elements = of_weight.out_features = graph_.columns->layer.embedding_dim;
  of_weight.work.is_weight = true;
  of_weight.work.is_limited = false;
  add_parameter_gradient(of_weight, parameter);
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

// The encoded columns are linear in the table and in the layers of linear ladders, and nothing else of them moves.
void columns(Tangents& t, const Operation& operation) {
  if (!t.is_trained(operation)) return;
  Operation tangent = operation;
  tangent.along = true;
  tangent.saved = kNone;
  tangent.out = t.make(operation.out);
  t.add(tangent);
}

void number_gradient(Tangents& t, const Operation& operation) {
  if (operation.statistics != kNone) return missing(t, operation);  // frequencies
  Operation tangent = operation;
  tangent.grad = t.of(operation.grad);
  tangent.out = t.make(operation.out);
  t.add(tangent);
}

}  // namespace tangent
}  // namespace stoop
