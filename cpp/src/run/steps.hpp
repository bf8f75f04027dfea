// One step of a plan on one slice: fills the argument struct of a kernel and calls it. No threads here.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "../base/philox.hpp"
#include "steps_context.hpp"
#include "tangent_steps.hpp"

namespace stoop {

// The parameters of a product, or the direction they move in.
template <class T>
const T* product_parameters(const StepContext<T>& context, const Step& step) {
  return step.along ? context.direction : context.parameters;
}

template <class T>
void run_gemm(const StepContext<T>& context, GemmProvider provider, const GemmArgs<T>& args) {
  if (provider == GemmProvider::native) return context.ops->gemm(args);
  if constexpr (std::is_same_v<T, float>) {
    if (provider == GemmProvider::bfloat16) return context.ops->bfloat16->gemm(args);
  }
  context.ops->gemm_blas(args);
  context.ops->gemm_epilogue(args);
}

// Of the activation computed with a batch normalisation, for outputs below 0.
template <class T>
T slope_of(const Step& step) {
  if (step.activation == kind_of<Identity>()) return T(1);
  return step.activation == kind_of<ReLU>() ? T(0) : static_cast<T>(step.activation_numbers.of[0]);
}

// What all steps of a batch normalisation share. `output`: the buffer of the values, backward of the gradient.
template <class T>
BatchNormArgs<T> batch_norm_args(const StepContext<T>& context, const Step& step, const Slice& slice, int output) {
  const bool fixed = step.statistics == kNone;
  BatchNormArgs<T> args{};
  args.rows = slice.rows();
  args.cols = slice.columns();
  args.first_row = slice.row;
  args.batch_rows = context.rows;
  args.input = context.at(step.input, slice.row, slice.column);
  args.ld_input = context.stride(step.input);
  if (output != kNone) {
    args.output = context.at(output, slice.row, slice.column);
    args.ld_output = context.stride(output);
  }
  args.gamma = context.parameters + step.parameter + slice.column;
  args.beta = context.parameters + step.bias + slice.column;
  args.mean = fixed ? context.running + step.running_mean + slice.column : context.at(step.statistics, 0, slice.column);
  args.variance =
      fixed ? context.running + step.running_var + slice.column : context.at(step.statistics, 1, slice.column);
  if (step.partials != kNone) {
    args.partials = context.at(step.partials, 0, slice.column);
    args.ld_partials = context.stride(step.partials);
  }
  args.eps = static_cast<T>(step.eps);
  args.slope = slope_of<T>(step);
  args.fixed_statistics = fixed;
  return args;
}

template <class T>
void run_batch_norm(const StepContext<T>& context, const Step& step, const Slice& slice) {
  switch (step.kind) {
    case StepKind::batch_moments:
      return context.ops->batch_norm_moments(batch_norm_args(context, step, slice, kNone));
    case StepKind::batch_sums:
      return context.ops->batch_norm_sums(batch_norm_args(context, step, slice, step.gate));
    default:
      break;
  }
  BatchNormArgs<T> args = batch_norm_args(context, step, slice, step.output);
  const bool keeps = slice.row == 0;  // one thread writes what all find out
  if (step.kind == StepKind::batch_norm) {
    if (!keeps && !args.fixed_statistics) args.mean = args.variance = nullptr;
    return context.ops->batch_norm_forward(args);
  }
  if (keeps) args.grad_gamma = context.at(step.sums, 0, slice.column);
  if (keeps) args.grad_beta = context.at(step.sums, 1, slice.column);
  context.ops->batch_norm_backward(args);
}

template <class T>
DropoutArgs<T> dropout_args(const StepContext<T>& context, const Step& step, const Slice& slice) {
  DropoutArgs<T> args{};
  args.rows = slice.rows();
  args.cols = slice.columns();
  if (step.kind == StepKind::dropout) {
    args.input = context.at(step.input, slice.row, slice.column);
    args.ld_input = context.stride(step.input);
  }
  args.output = context.at(step.output, slice.row, slice.column);
  args.ld_output = context.stride(step.output);
  args.mask = context.mask(step.mask, slice.row);
  args.ld_mask = context.stride(step.mask);
  args.row = context.first_row + slice.row;
  args.column = slice.column;
  args.seed = context.seed;
  args.stream = static_cast<std::uint32_t>(Stream::dropout);
  args.layer = static_cast<std::uint32_t>(step.node);
  args.step = context.update;
  args.rate = step.rate;
  return args;
}

// Runs the product of `step`, with the steps behind it that it does in its epilogue: a dropout, whose mask a product
// forward makes beforehand, and sums.
template <class T>
void run_product(const StepContext<T>& context, const Step& step, const Slice& slice, GemmArgs<T>& args) {
  args.scratch = context.scratch;
  BatchNormArgs<T> sums;
  DropoutArgs<T> dropout;
  for (int i = 1; i <= step.takes; ++i) {
    const Step& taken = (&step)[i];
    if (taken.mask != kNone) {
      dropout = dropout_args(context, taken, slice);
      if (taken.kind == StepKind::dropout) context.ops->dropout_mask(dropout);
      args.dropout = &dropout;
    } else {
      sums = batch_norm_args(context, taken, slice, taken.gate);
      args.sums = &sums;
    }
  }
  run_gemm(context, step.provider, args);
}

// output = f(input @ weight + bias), and what is taken.
template <class T>
void run_dense(const StepContext<T>& context, const Step& step, const Slice& slice) {
  GemmArgs<T> args{};
  args.form = GemmForm::nn;
  args.m = slice.rows();
  args.n = slice.columns();
  args.k = step.in_features;
  args.a = context.at(step.input, slice.row);
  args.lda = context.stride(step.input);
  args.b = product_parameters(context, step) + step.parameter + slice.column;
  args.ldb = step.out_features;
  args.c = context.at(step.output, slice.row, slice.column);
  args.ldc = context.stride(step.output);
  args.epilogue = Epilogue::activate;
  args.activation = step.activation;
  args.activation_numbers = step.activation_numbers;
  args.bias = step.bias == kNone ? nullptr : product_parameters(context, step) + step.bias + slice.column;
  run_product(context, step, slice, args);
}

// output = (input @ weight^T) * f'(gate): the gradient one node back; columns are those of the node's input. A dropout
// that is taken comes before f', sums behind it.
template <class T>
void run_input_gradient(const StepContext<T>& context, const Step& step, const Slice& slice) {
  GemmArgs<T> args{};
  args.form = GemmForm::nt;
  args.m = slice.rows();
  args.n = slice.columns();
  args.k = step.out_features;
  args.a = context.at(step.input, slice.row);
  args.lda = context.stride(step.input);
  args.b = product_parameters(context, step) + step.parameter + slice.column * step.out_features;
  args.ldb = step.out_features;
  args.c = context.at(step.output, slice.row, slice.column);
  args.ldc = context.stride(step.output);
  if (step.gate != kNone) {
    args.epilogue = Epilogue::gate;
    args.activation = step.activation;
    args.activation_numbers = step.activation_numbers;
    args.gate = context.at(step.gate, slice.row, slice.column);
    args.ld_gate = context.stride(step.gate);
  }
  run_product(context, step, slice, args);
}

template <class T>
void run_activation(const StepContext<T>& context, const Step& step, const Slice& slice) {
  const bool forward = step.kind == StepKind::activation;
  const int input = forward ? step.input : step.gate;
  const ActivationArgs<T> args{slice.rows(),
                               slice.columns(),
                               context.at(input, slice.row, slice.column),
                               context.stride(input),
                               context.at(step.output, slice.row, slice.column),
                               context.stride(step.output),
                               step.activation_numbers};
  const int kind = static_cast<int>(step.activation);
  (forward ? context.ops->activation_forward : context.ops->activation_backward)[kind](args);
}

template <class T>
LayerNormArgs<T> layer_norm_args(const StepContext<T>& context, const Step& step, Index row, Index rows) {
  LayerNormArgs<T> args{};
  args.rows = rows;
  args.cols = step.out_features;
  const bool forward = step.kind == StepKind::layer_norm;
  const int input = step.kind == StepKind::gamma_gradient ? step.gate : step.input;
  const int grad = step.kind == StepKind::gamma_gradient ? step.input : step.gate;
  args.input = context.at(input, row);
  args.ld_input = context.stride(input);
  args.gamma = context.parameters + step.parameter;
  args.beta = context.parameters + step.bias;
  if (step.output != kNone) args.output = context.at(step.output, row);
  if (step.output != kNone) args.ld_output = context.stride(step.output);
  if (!forward) args.grad = context.at(grad, row);
  if (!forward) args.ld_grad = context.stride(grad);
  args.statistics = context.at(step.statistics, row);
  args.ld_statistics = context.stride(step.statistics);
  args.eps = static_cast<T>(step.eps);
  return args;
}

template <class T>
void run_add(const StepContext<T>& context, int input, int output, const Slice& slice, bool copy) {
  context.ops->add({slice.rows(), slice.columns(), context.at(input, slice.row, slice.column), context.stride(input),
                    context.at(output, slice.row, slice.column), context.stride(output), copy});
}

// A step whose work is cut by rows or columns of its output; gathering and losses need the data and are the caller's.
template <class T>
void run_slice(const StepContext<T>& context, const Step& step, const Slice& slice) {
  switch (step.kind) {
    case StepKind::dense:
      return run_dense(context, step, slice);
    case StepKind::input_gradient:
      return run_input_gradient(context, step, slice);
    case StepKind::activation:
    case StepKind::activation_gradient:
      return run_activation(context, step, slice);
    case StepKind::batch_moments:
    case StepKind::batch_norm:
    case StepKind::batch_sums:
    case StepKind::batch_norm_gradient:
      return run_batch_norm(context, step, slice);
    case StepKind::layer_norm:
      return context.ops->layer_norm_forward(layer_norm_args(context, step, slice.row, slice.rows()));
    case StepKind::layer_norm_gradient:
      return context.ops->layer_norm_backward(layer_norm_args(context, step, slice.row, slice.rows()));
    case StepKind::dropout:
      return context.ops->dropout_forward(dropout_args(context, step, slice));
    case StepKind::dropout_gradient:
      return context.ops->dropout_backward(dropout_args(context, step, slice));
    case StepKind::add:
      run_add(context, step.input, step.output, slice, true);
      return run_add(context, step.gate, step.output, slice, false);
    case StepKind::copy_gradient:
      return run_add(context, step.input, step.output, slice, true);
    case StepKind::add_gradient:
      return run_add(context, step.input, step.output, slice, false);
    default:
      return run_tangent(context, step, slice);
  }
}

// The columns a step's output has: those of the node before for the gradient of a product's input.
inline Index output_columns(const Step& step) {
  return step.kind == StepKind::input_gradient ? step.in_features : step.out_features;
}

// grad (rows [begin, end) of a weight, or elements of a vector) from all `rows` rows of the batch.
template <class T>
void run_parameter_gradient(const StepContext<T>& context, const Step& step, Index rows, Index begin, Index end,
                            T* grad) {
  switch (step.kind) {
    case StepKind::bias_gradient:
      return context.ops->column_sum(
          {rows, end - begin, context.at(step.input, 0, begin), context.stride(step.input), grad});
    case StepKind::stored_gradient:
      std::copy_n(context.at(step.sums, step.row, begin), end - begin, grad);
      return;
    case StepKind::gamma_gradient: {
      LayerNormArgs<T> args = layer_norm_args(context, step, 0, rows);
      args.cols = end - begin;
      args.input += begin;
      args.grad += begin;
      args.grad_gamma = grad;
      return context.ops->layer_norm_gamma(args);
    }
    case StepKind::gamma_gradient_tangent: {
      NormTangentArgs<T> args = layer_norm_tangent_args(context, step, {0, rows, begin, end});
      args.grad_gamma = grad;
      return context.ops->layer_norm_gamma_tangent(args);
    }
    default:
      break;
  }
  GemmArgs<T> args{};
  args.form = GemmForm::tn;
  args.m = end - begin;
  args.n = step.out_features;
  args.k = rows;
  args.a = context.at(step.gate, 0, begin);
  args.lda = context.stride(step.gate);
  args.b = context.at(step.input, 0);
  args.ldb = context.stride(step.input);
  args.c = grad;
  args.ldc = step.out_features;
  args.epilogue = Epilogue::none;
  args.scratch = context.scratch;
  args.same_b = context.same_step;
  run_gemm(context, step.provider, args);
}

// The most scratch a product of this step needs for `rows` rows.
template <class T>
Index scratch_elements(const OpTable<T>& ops, const Step& step, Index rows) {
  const auto elements = [&](Index m, Index n, Index k) {
    if (step.provider == GemmProvider::bfloat16) return ops.bfloat16->gemm_scratch_elements(m, n, k);
    return ops.gemm_scratch_elements(m, n, k);
  };
  switch (step.kind) {
    case StepKind::dense:
      return elements(rows, step.out_features, step.in_features);
    case StepKind::input_gradient:
      return elements(rows, step.in_features, step.out_features);
    case StepKind::weight_gradient:
      return elements(step.group * step.block, step.out_features, rows);
    default:
      return 0;
  }
}

template <class T>
Index scratch_elements(const OpTable<T>& ops, const Plan& plan, Index rows) {
  Index most = 0;
  for (const Step& step : plan.steps) most = std::max(most, scratch_elements(ops, step, rows));
  return round_up(most, kAlignment);
}

}  // namespace stoop
