// Runs one step of a tangent on one slice, as steps.hpp does for those of training.
#pragma once

#include "steps_context.hpp"

namespace stoop {

// output = f'(x) * input, the tangent of the value or of the gradient.
template <class T>
ActivationTangentArgs<T> activation_tangent_args(const StepContext<T>& context, const Step& step, const Slice& slice,
                                                 int input) {
  ActivationTangentArgs<T> args{};
  args.rows = slice.rows();
  args.cols = slice.columns();
  args.x = context.at(step.x, slice.row, slice.column);
  args.ld_x = context.stride(step.x);
  args.input = context.at(input, slice.row, slice.column);
  args.ld_input = context.stride(input);
  args.output = context.at(step.out, slice.row, slice.column);
  args.ld_output = context.stride(step.out);
  args.numbers = step.activation_numbers;
  return args;
}

template <class T>
void run(Kind<StepKind::activation_tangent>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  context.ops->activation_tangent[static_cast<int>(step.activation)](
      activation_tangent_args(context, step, slice, step.x_tangent));
}

template <class T>
void run(Kind<StepKind::activation_gradient_tangent>, const StepContext<T>& context, const Step& step,
         const Slice& slice) {
  ActivationTangentArgs<T> args = activation_tangent_args(context, step, slice, step.out);
  if (step.x_tangent != kNone) {
    args.tangent = context.at(step.x_tangent, slice.row, slice.column);
    args.ld_tangent = context.stride(step.x_tangent);
    args.grad = context.at(step.grad, slice.row, slice.column);
    args.ld_grad = context.stride(step.grad);
  }
  context.ops->activation_tangent[static_cast<int>(step.activation)](args);
}

// Returns the arguments that batch and layer normalisation share.
template <class T>
NormTangentArgs<T> norm_tangent_args(const StepContext<T>& context, const Step& step, const Slice& slice) {
  NormTangentArgs<T> args{};
  args.rows = slice.rows();
  args.cols = slice.columns();
  args.x = context.at(step.x, slice.row, slice.column);
  args.ld_x = context.stride(step.x);
  if (step.x_tangent != kNone) {
    args.tangent = context.at(step.x_tangent, slice.row, slice.column);
    args.ld_tangent = context.stride(step.x_tangent);
  }
  args.gamma = context.parameters + step.parameter + slice.column;
  if (step.along) {
    args.gamma_tangent = context.direction + step.parameter + slice.column;
    args.beta_tangent = context.direction + step.bias + slice.column;
  }
  if (step.grad != kNone) {
    args.grad = context.at(step.grad, slice.row, slice.column);
    args.ld_grad = context.stride(step.grad);
  }
  if (step.out != kNone) {
    args.output = context.at(step.out, slice.row, slice.column);
    args.ld_output = context.stride(step.out);
  }
  args.eps = static_cast<T>(step.norm.eps);
  return args;
}

template <class T>
NormTangentArgs<T> batch_norm_tangent_args(const StepContext<T>& context, const Step& step, const Slice& slice) {
  NormTangentArgs<T> args = norm_tangent_args(context, step, slice);
  if (step.statistics == kNone) {
    args.mean = context.running + step.norm.running_mean + slice.column;
    args.variance = context.running + step.norm.running_var + slice.column;
  } else {
    args.mean = context.at(step.statistics, 0, slice.column);
    args.variance = context.at(step.statistics, 1, slice.column);
    args.mean_tangent = context.at(step.statistics_tangent, 0, slice.column);
    args.inverse_tangent = context.at(step.statistics_tangent, 1, slice.column);
  }
  return args;
}

template <class T>
void run(Kind<StepKind::batch_norm_tangent>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  context.ops->batch_norm_tangent(batch_norm_tangent_args(context, step, slice));
}

template <class T>
void run(Kind<StepKind::batch_norm_gradient_tangent>, const StepContext<T>& context, const Step& step,
         const Slice& slice) {
  NormTangentArgs<T> args = batch_norm_tangent_args(context, step, slice);
  args.grad_gamma = context.at(step.sums, 0, slice.column);
  args.grad_beta = context.at(step.sums, 1, slice.column);
  context.ops->batch_norm_gradient_tangent(args);
}

// The slice has whole rows. Only for the gradient of gamma it has some of the columns.
template <class T>
NormTangentArgs<T> layer_norm_tangent_args(const StepContext<T>& context, const Step& step, const Slice& slice) {
  NormTangentArgs<T> args = norm_tangent_args(context, step, slice);
  args.mean = context.at(step.statistics, slice.row);
  args.mean_tangent = context.at(step.statistics_tangent, slice.row);
  args.ld_statistics = context.stride(step.statistics);
  if (step.grad_tangent != kNone) {
    args.grad_tangent = context.at(step.grad_tangent, slice.row, slice.column);
    args.ld_grad_tangent = context.stride(step.grad_tangent);
  }
  return args;
}

template <class T>
void run(Kind<StepKind::layer_norm_tangent>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  context.ops->layer_norm_tangent(layer_norm_tangent_args(context, step, slice));
}

template <class T>
void run(Kind<StepKind::layer_norm_gradient_tangent>, const StepContext<T>& context, const Step& step,
         const Slice& slice) {
  context.ops->layer_norm_gradient_tangent(layer_norm_tangent_args(context, step, slice));
}

template <class T>
void run(Kind<StepKind::gamma_gradient_tangent>, const StepContext<T>& context, const Step& step,
         const GradientBlock<T>& block) {
  NormTangentArgs<T> args = layer_norm_tangent_args(context, step, {0, block.rows, block.begin, block.end});
  args.grad_gamma = block.grad;
  context.ops->layer_norm_gamma_tangent(args);
}

}  // namespace stoop
