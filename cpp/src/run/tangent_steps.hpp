// The steps of a tangent on one slice, as steps.hpp does for those of training.
#pragma once

#include "steps_context.hpp"

namespace stoop {

template <class T>
void run_activation_tangent(const StepContext<T>& context, const Step& step, const Slice& slice) {
  ActivationTangentArgs<T> args{};
  args.rows = slice.rows();
  args.cols = slice.columns();
  args.x = context.at(step.gate, slice.row, slice.column);
  args.ld_x = context.stride(step.gate);
  args.input = context.at(step.input, slice.row, slice.column);
  args.ld_input = context.stride(step.input);
  args.output = context.at(step.output, slice.row, slice.column);
  args.ld_output = context.stride(step.output);
  if (step.tangent != kNone && step.primal != kNone) {
    args.tangent = context.at(step.tangent, slice.row, slice.column);
    args.ld_tangent = context.stride(step.tangent);
    args.grad = context.at(step.primal, slice.row, slice.column);
    args.ld_grad = context.stride(step.primal);
  }
  args.numbers = step.activation_numbers;
  context.ops->activation_tangent[static_cast<int>(step.activation)](args);
}

// What batch and layer normalisation have in common; `x` is the buffer of the layer's input.
template <class T>
NormTangentArgs<T> norm_tangent_args(const StepContext<T>& context, const Step& step, int x, const Slice& slice) {
  NormTangentArgs<T> args{};
  args.rows = slice.rows();
  args.cols = slice.columns();
  args.x = context.at(x, slice.row, slice.column);
  args.ld_x = context.stride(x);
  if (step.tangent != kNone) {
    args.tangent = context.at(step.tangent, slice.row, slice.column);
    args.ld_tangent = context.stride(step.tangent);
  }
  args.gamma = context.parameters + step.parameter + slice.column;
  if (step.along) {
    args.gamma_tangent = context.direction + step.parameter + slice.column;
    args.beta_tangent = context.direction + step.bias + slice.column;
  }
  if (step.primal != kNone) {
    args.grad = context.at(step.primal, slice.row, slice.column);
    args.ld_grad = context.stride(step.primal);
  }
  if (step.output != kNone) {
    args.output = context.at(step.output, slice.row, slice.column);
    args.ld_output = context.stride(step.output);
  }
  args.eps = static_cast<T>(step.eps);
  return args;
}

template <class T>
void run_batch_norm_tangent(const StepContext<T>& context, const Step& step, const Slice& slice) {
  NormTangentArgs<T> args = norm_tangent_args(context, step, step.input, slice);
  if (step.statistics == kNone) {
    args.mean = context.running + step.running_mean + slice.column;
    args.variance = context.running + step.running_var + slice.column;
  } else {
    args.mean = context.at(step.statistics, 0, slice.column);
    args.variance = context.at(step.statistics, 1, slice.column);
    args.mean_tangent = context.at(step.tangent_statistics, 0, slice.column);
    args.inverse_tangent = context.at(step.tangent_statistics, 1, slice.column);
  }
  if (step.kind == StepKind::batch_norm_tangent) return context.ops->batch_norm_tangent(args);
  args.grad_gamma = context.at(step.sums, 0, slice.column);
  args.grad_beta = context.at(step.sums, 1, slice.column);
  context.ops->batch_norm_gradient_tangent(args);
}

// Of the columns of a slice only for the gradient of gamma; else whole rows.
template <class T>
NormTangentArgs<T> layer_norm_tangent_args(const StepContext<T>& context, const Step& step, const Slice& slice) {
  const bool of_gamma = step.kind == StepKind::gamma_gradient_tangent;
  NormTangentArgs<T> args = norm_tangent_args(context, step, of_gamma ? step.gate : step.input, slice);
  args.mean = context.at(step.statistics, slice.row);
  args.mean_tangent = context.at(step.tangent_statistics, slice.row);
  args.ld_statistics = context.stride(step.statistics);
  if (step.kind == StepKind::layer_norm_tangent) return args;
  const int grad_tangent = of_gamma ? step.input : step.gate;
  args.grad_tangent = context.at(grad_tangent, slice.row, slice.column);
  args.ld_grad_tangent = context.stride(grad_tangent);
  return args;
}

template <class T>
void run_tangent(const StepContext<T>& context, const Step& step, const Slice& slice) {
  switch (step.kind) {
    case StepKind::activation_tangent:
      return run_activation_tangent(context, step, slice);
    case StepKind::batch_norm_tangent:
    case StepKind::batch_norm_gradient_tangent:
      return run_batch_norm_tangent(context, step, slice);
    case StepKind::layer_norm_tangent:
      return context.ops->layer_norm_tangent(layer_norm_tangent_args(context, step, slice));
    case StepKind::layer_norm_gradient_tangent:
      return context.ops->layer_norm_gradient_tangent(layer_norm_tangent_args(context, step, slice));
    default:
      return;
  }
}

}  // namespace stoop
