// The steps of a Columns layer: see steps.hpp.
#pragma once

#include "steps_context.hpp"

namespace stoop::inline v0_1 {

template <class T>
Places<T> places_of(const StepContext<T>& context, int buffer, Index row, Index rows) {
  const PlannedColumns& columns = *context.columns;
  return {rows, static_cast<Index>(columns.columns.size()), columns.columns.data(), context.at(buffer, row),
          context.stride(buffer)};
}

template <class T>
NumberLayers<T> number_layers(const StepContext<T>& context, const T* parameters) {
  const PlannedColumns& columns = *context.columns;
  if (columns.number_layers == 0) return {};
  const auto at = [&](Index offset) { return offset == kNone ? nullptr : parameters + offset; };
  return {columns.number_layers, columns.frequencies, columns.layer_rows, at(columns.frequency),
          at(columns.linear),    at(columns.weight),  at(columns.bias)};
}

template <class T>
void run(Kind<StepKind::columns>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  const PlannedColumns& columns = *context.columns;
  const T* const parameters = step.along ? context.direction : context.parameters;
  EncodeArgs<T> args{};
  args.places = places_of(context, step.x, slice.row, slice.rows());
  args.table = columns.table == kNone ? nullptr : parameters + columns.table;
  args.dim = columns.embedding_dim;
  args.is_tangent = step.along;
  args.layers = number_layers(context, parameters);
  if (step.saved != kNone) {
    args.waves = context.at(step.saved, slice.row);
    args.ld_waves = context.stride(step.saved);
  }
  args.output = context.at(step.out, slice.row);
  args.ld_output = context.stride(step.out);
  context.ops->encode(args);
}

template <class T>
void run(Kind<StepKind::number_gradient>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  NumberGradientArgs<T> args{};
  args.places = places_of(context, step.x, slice.row, slice.rows());
  args.dim = context.columns->embedding_dim;
  args.layers = number_layers(context, context.parameters);
  args.grad = context.at(step.grad, slice.row);
  args.ld_grad = context.stride(step.grad);
  args.before = context.at(step.out, slice.row);
  args.ld_before = context.stride(step.out);
  if (step.statistics != kNone) {
    args.waves = context.at(step.saved, slice.row);
    args.ld_waves = context.stride(step.saved);
    args.output = context.at(step.other, slice.row);
    args.ld_output = context.stride(step.other);
    args.angles = context.at(step.statistics, slice.row);
    args.ld_angles = context.stride(step.statistics);
  }
  context.ops->number_gradient(args);
}

template <class T>
void run(Kind<StepKind::number_weight_gradient>, const StepContext<T>& context, const Step& step,
         const GradientBlock<T>& block) {
  const PlannedColumns& columns = *context.columns;
  context.ops->number_weight_gradient(
      {places_of(context, step.x, block.first_row, block.rows), columns.embedding_dim, columns.frequencies,
       step.of_numbers, context.at(step.saved, block.first_row, step.of_numbers ? columns.layer_rows : 0),
       context.stride(step.saved), context.at(step.grad, block.first_row), context.stride(step.grad), block.begin,
       block.end, block.grad});
}

template <class T>
TableGradientArgs<T> table_args(const StepContext<T>& context, const Step& step, const GradientBlock<T>& block) {
  return {places_of(context, step.x, block.first_row, block.rows),
          context.at(step.grad, block.first_row),
          context.stride(step.grad),
          context.columns->embedding_dim,
          block.begin,
          block.end,
          block.grad};
}

template <class T>
void run(Kind<StepKind::table_gradient>, const StepContext<T>& context, const Step& step,
         const GradientBlock<T>& block) {
  context.ops->table_gradient(table_args(context, step, block));
}

// Writes the rows of the gradient that the batch names, and their numbers to `named`. Returns how many there are.
template <class T>
Index table_rows(const StepContext<T>& context, const Step& step, const GradientBlock<T>& block, std::int32_t* named) {
  const auto slots = reinterpret_cast<std::int32_t*>(context.at(context.columns->slots, 0));
  return context.ops->table_rows({table_args(context, step, block), slots, named});
}

}  // namespace stoop
