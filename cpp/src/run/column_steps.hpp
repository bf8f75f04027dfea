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
PeriodicParameters<T> periodic_parameters(const StepContext<T>& context) {
  const PlannedColumns& columns = *context.columns;
  if (columns.periodic == 0) return {};
  return {columns.periodic, columns.frequencies, context.parameters + columns.frequency,
          context.parameters + columns.weight, context.parameters + columns.bias};
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
  args.periodic = periodic_parameters(context);
  if (step.saved != kNone) {
    args.waves = context.at(step.saved, slice.row);
    args.ld_waves = context.stride(step.saved);
  }
  args.output = context.at(step.out, slice.row);
  args.ld_output = context.stride(step.out);
  context.ops->encode(args);
}

template <class T>
void run(Kind<StepKind::periodic_gradient>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  context.ops->periodic_gradient({places_of(context, step.x, slice.row, slice.rows()), context.columns->embedding_dim,
                                  periodic_parameters(context), context.at(step.saved, slice.row),
                                  context.stride(step.saved), context.at(step.other, slice.row),
                                  context.stride(step.other), context.at(step.grad, slice.row),
                                  context.stride(step.grad), context.at(step.out, slice.row), context.stride(step.out),
                                  context.at(step.statistics, slice.row), context.stride(step.statistics)});
}

template <class T>
void run(Kind<StepKind::periodic_weight_gradient>, const StepContext<T>& context, const Step& step,
         const GradientBlock<T>& block) {
  context.ops->periodic_weight_gradient({block.rows, context.columns->embedding_dim, 2 * context.columns->frequencies,
                                         context.at(step.saved, block.first_row), context.stride(step.saved),
                                         context.at(step.grad, block.first_row), context.stride(step.grad), block.begin,
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
