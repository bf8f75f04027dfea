// The steps of dropouts, alone and in the epilogue of a product: see steps.hpp.
#pragma once

#include <cstdint>

#include "../base/philox.hpp"
#include "steps_context.hpp"

namespace stoop::inline v0_1 {

template <class T>
DropoutArgs<T> dropout_args(const StepContext<T>& context, const Step& step, const Slice& slice) {
  DropoutArgs<T> args{};
  args.rows = slice.rows();
  args.cols = slice.columns();
  if (step.x != kNone) {
    args.input = context.at(step.x, slice.row, slice.column);
    args.ld_input = context.stride(step.x);
  }
  args.output = context.at(step.out, slice.row, slice.column);
  args.ld_output = context.stride(step.out);
  args.mask = context.mask(step.mask, slice.row);
  args.ld_mask = context.stride(step.mask);
  args.row = context.first_row * step.members + slice.row;
  args.column = slice.column;
  args.seed = context.seed;
  args.stream = static_cast<std::uint32_t>(Stream::dropout);
  args.layer = static_cast<std::uint32_t>(step.node);
  args.step = context.update;
  args.rate = step.rate;
  return args;
}

template <class T>
void run(Kind<StepKind::dropout>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  context.ops->dropout_forward(dropout_args(context, step, slice));
}

template <class T>
void run(Kind<StepKind::dropout_gradient>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  context.ops->dropout_backward(dropout_args(context, step, slice));
}

// Describes in `args` the dropout that a product does in its epilogue, for rows of its output. Returns null where there is none. The
// forward pass makes the mask, and the backward pass finds it.
template <class T>
const DropoutArgs<T>* taken_dropout(const StepContext<T>& context, const Step& step, const Slice& slice,
                                    DropoutArgs<T>& args) {
  if (step.dropout_step == kNone) return nullptr;
  const Step& taken = context.steps[step.dropout_step];
  args = dropout_args(context, taken, slice);
  if (taken.kind == StepKind::dropout) context.ops->dropout_mask(args);
  return &args;
}

}  // namespace stoop
