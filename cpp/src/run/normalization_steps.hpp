// Runs one step of a batch or layer normalisation, or of its tangent, on one slice, as steps.hpp does for the other kinds.
#pragma once

#include "../spec/activations.hpp"
#include "steps_context.hpp"

namespace stoop::inline v0_1 {

// ---- batch normalisation ----

// The activations that slope_of knows. Another one whose derivative follows from the sign of its output needs its slope there.
constexpr int kSlopes = [] {
  int count = 0;
  for_each_alternative<Activation>([&count]<class Op>(TypeOf<Op>) { count += Spec<Op>::kSignGivesDerivative ? 1 : 0; });
  return count;
}();
static_assert(kSlopes == 3 && Spec<Identity>::kSignGivesDerivative && Spec<ReLU>::kSignGivesDerivative &&
                  Spec<LeakyReLU>::kSignGivesDerivative,
              "slope_of knows each activation that is computed with a batch normalisation");

// Returns the slope below 0 of the activation that is computed with a batch normalisation.
template <class T>
T slope_of(const Step& step) {
  if (step.activation == kind_of<Identity>()) return T(1);
  return step.activation == kind_of<ReLU>() ? T(0) : static_cast<T>(step.activation_numbers.of[0]);
}

// Returns the arguments that all steps of a batch normalisation share. `output` is the buffer of the values or, in the backward
// pass, of the gradient.
template <class T>
BatchNormArgs<T> batch_norm_args(const StepContext<T>& context, const Step& step, const Slice& slice, int output) {
  const bool fixed = step.statistics == kNone;
  BatchNormArgs<T> args{};
  args.rows = slice.rows();
  args.cols = slice.columns();
  args.first_row = slice.row;
  args.batch_rows = context.rows * step.members;
  args.members = step.members;
  args.input = context.at(step.x, slice.row, slice.column);
  args.ld_input = context.stride(step.x);
  if (output != kNone) {
    args.output = context.at(output, slice.row, slice.column);
    args.ld_output = context.stride(output);
  }
  args.gamma = context.parameters + step.parameter + slice.column;
  args.beta = context.parameters + step.bias + slice.column;
  args.mean =
      fixed ? context.running + step.norm.running_mean + slice.column : context.at(step.statistics, 0, slice.column);
  args.variance =
      fixed ? context.running + step.norm.running_var + slice.column : context.at(step.statistics, 1, slice.column);
  if (step.partials != kNone) {
    args.partials = context.at(step.partials, 0, slice.column);
    args.ld_partials = context.stride(step.partials);
  }
  args.eps = static_cast<T>(step.norm.eps);
  args.slope = slope_of<T>(step);
  args.fixed_statistics = fixed;
  return args;
}

template <class T>
void run(Kind<StepKind::batch_moments>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  context.ops->batch_norm_moments(batch_norm_args(context, step, slice, kNone));
}

template <class T>
void run(Kind<StepKind::batch_sums>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  context.ops->batch_norm_sums(batch_norm_args(context, step, slice, step.grad));
}

// All threads compute the statistics, and the thread with the first rows writes them. The gradient does the same.
template <class T>
void run(Kind<StepKind::batch_norm>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  BatchNormArgs<T> args = batch_norm_args(context, step, slice, step.out);
  if (slice.row > 0 && !args.fixed_statistics) args.mean = args.variance = nullptr;
  context.ops->batch_norm_forward(args);
}

template <class T>
void run(Kind<StepKind::batch_norm_gradient>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  BatchNormArgs<T> args = batch_norm_args(context, step, slice, step.out);
  if (slice.row == 0) {
    args.grad_gamma = context.at(step.sums, 0, slice.column);
    args.grad_beta = context.at(step.sums, 1, slice.column);
  }
  context.ops->batch_norm_backward(args);
}

// ---- layer normalisation ----

template <class T>
LayerNormArgs<T> layer_norm_args(const StepContext<T>& context, const Step& step, const Slice& slice) {
  LayerNormArgs<T> args{};
  args.rows = slice.rows();
  args.cols = slice.columns();
  args.input = context.at(step.x, slice.row, slice.column);
  args.ld_input = context.stride(step.x);
  args.gamma = context.parameters + step.parameter;
  args.beta = context.parameters + step.bias;
  if (step.out != kNone) {
    args.output = context.at(step.out, slice.row);
    args.ld_output = context.stride(step.out);
  }
  if (step.grad != kNone) {
    args.grad = context.at(step.grad, slice.row, slice.column);
    args.ld_grad = context.stride(step.grad);
  }
  args.statistics = context.at(step.statistics, slice.row);
  args.ld_statistics = context.stride(step.statistics);
  args.eps = static_cast<T>(step.norm.eps);
  return args;
}

template <class T>
void run(Kind<StepKind::layer_norm>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  context.ops->layer_norm_forward(layer_norm_args(context, step, slice));
}

template <class T>
void run(Kind<StepKind::layer_norm_gradient>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  context.ops->layer_norm_backward(layer_norm_args(context, step, slice));
}

template <class T>
void run(Kind<StepKind::gamma_gradient>, const StepContext<T>& context, const Step& step,
         const GradientBlock<T>& block) {
  LayerNormArgs<T> args =
      layer_norm_args(context, step, {block.first_row, block.first_row + block.rows, block.begin, block.end});
  args.grad_gamma = block.grad;
  context.ops->layer_norm_gamma(args);
}

// ---- tangents ----

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
