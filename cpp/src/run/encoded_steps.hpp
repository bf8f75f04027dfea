// The steps of products of encoded rows: see steps.hpp.
#pragma once

#include "column_steps.hpp"
#include "dropout_steps.hpp"

namespace stoop::inline v0_1 {

template <class T>
EncodedRows<T> encoded_rows(const StepContext<T>& context, const Step& step, Index row, Index rows) {
  const std::vector<EncodedColumn>& columns = context.columns->columns;
  EncodedRows<T> of{};
  of.rows = rows;
  of.cols = static_cast<Index>(columns.size());
  of.columns = columns.data();
  of.places = context.at(step.x, row);
  of.ld_places = context.stride(step.x);
  of.members = step.members;
  of.scale = step.scale == kNone ? nullptr : context.parameters + step.scale;
  of.width = step.in_features;
  of.weight = context.parameters + step.parameter;
  of.ld_weight = of.units = step.out_features;
  of.layers = number_layers(context, context.parameters);
  of.dim = context.columns->embedding_dim;
  return of;
}

template <class T>
void run(Kind<StepKind::encoded_dense>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  EncodedDenseArgs<T> args{};
  args.of = encoded_rows(context, step, slice.row, slice.rows());
  args.of.weight += slice.column;
  args.of.units = slice.columns();
  args.bias = step.bias == kNone ? nullptr : context.parameters + step.bias + slice.column;
  args.output = context.at(step.out, slice.row * step.members, slice.column);
  args.ld_output = context.stride(step.out);
  args.activation = step.activation;
  args.activation_numbers = step.activation_numbers;
  DropoutArgs<T> dropout;
  args.dropout = taken_dropout(context, step, slice.with_members(step.members), dropout);
  args.table = context.scratch;
  context.ops->encoded_dense(args);
}

// A block of its columns is a column of X.
template <class T>
void run(Kind<StepKind::encoded_gradient>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  EncodedGradientArgs<T> args{};
  args.of = encoded_rows(context, step, slice.row, slice.rows());
  args.grad = context.at(step.grad, slice.row * step.members);
  args.ld_grad = context.stride(step.grad);
  args.begin = slice.column / kColumnBlock;
  args.end = slice.column_end / kColumnBlock;
  args.grad_weight = context.at(step.sums, 0);
  args.grad_scale = step.statistics == kNone ? nullptr : context.at(step.statistics, 0);
  args.suffix = context.scratch;
  if (step.partials != kNone) {
    args.grad_bins = context.at(step.partials, 0);
    args.grad_linear = context.at(step.partials, 1);
    args.grad_bias = context.at(step.partials, 2);
  }
  context.ops->encoded_gradient(args);
}

}  // namespace stoop
