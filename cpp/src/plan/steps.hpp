// One step of a plan on one slice: fills the argument struct of a kernel and calls it. No threads here.
#pragma once

#include <algorithm>

#include "execute.hpp"

namespace stoop {

// What a thread needs to run steps: where the buffers and parameters are, and memory of its own.
template <class T>
struct StepContext {
  const OpTable<T>* ops = nullptr;
  const BoundBuffer<T>* buffers = nullptr;
  const T* parameters = nullptr;
  T* scratch = nullptr;

  T* row(int buffer, Index i) const { return buffers[buffer].data + i * buffers[buffer].stride; }
  Index stride(int buffer) const { return buffers[buffer].stride; }
};

template <class T>
void run_gemm(const StepContext<T>& context, GemmProvider provider, const GemmArgs<T>& args) {
  if (provider == GemmProvider::native) return context.ops->gemm(args);
  context.ops->gemm_blas(args);
  context.ops->gemm_epilogue(args);
}

// output = f(input @ weight + bias) for the rows [begin, end).
template <class T>
void run_dense(const StepContext<T>& context, const Step& step, Index begin, Index end) {
  GemmArgs<T> args{};
  args.form = GemmForm::nn;
  args.m = end - begin;
  args.n = step.out_features;
  args.k = step.in_features;
  args.a = context.row(step.input, begin);
  args.lda = context.stride(step.input);
  args.b = context.parameters + step.weight;
  args.ldb = step.out_features;
  args.c = context.row(step.output, begin);
  args.ldc = context.stride(step.output);
  args.epilogue = Epilogue::activate;
  args.activation = step.activation;
  args.activation_parameter = static_cast<T>(step.activation_parameter);
  args.bias = step.bias == kNone ? nullptr : context.parameters + step.bias;
  args.scratch = context.scratch;
  run_gemm(context, step.provider, args);
}

// output = (input @ weight^T) * f'(gate): the gradient one node back, for the rows [begin, end).
template <class T>
void run_input_gradient(const StepContext<T>& context, const Step& step, Index begin, Index end) {
  GemmArgs<T> args{};
  args.form = GemmForm::nt;
  args.m = end - begin;
  args.n = step.in_features;
  args.k = step.out_features;
  args.a = context.row(step.input, begin);
  args.lda = context.stride(step.input);
  args.b = context.parameters + step.weight;
  args.ldb = step.out_features;
  args.c = context.row(step.output, begin);
  args.ldc = context.stride(step.output);
  args.epilogue = Epilogue::gate;
  args.activation = step.activation;
  args.activation_parameter = static_cast<T>(step.activation_parameter);
  args.gate = context.row(step.gate, begin);
  args.ld_gate = context.stride(step.gate);
  args.scratch = context.scratch;
  run_gemm(context, step.provider, args);
}

template <class T>
void run_activation(const StepContext<T>& context, const Step& step, Index begin, Index end) {
  const bool forward = step.kind == StepKind::activation;
  const int input = forward ? step.input : step.gate;
  const ActivationArgs<T> args{end - begin,
                               step.out_features,
                               context.row(input, begin),
                               context.stride(input),
                               context.row(step.output, begin),
                               context.stride(step.output),
                               static_cast<T>(step.activation_parameter)};
  const int kind = static_cast<int>(step.activation);
  (forward ? context.ops->activation_forward : context.ops->activation_backward)[kind](args);
}

// grad (rows [begin, end) of the weight, or of the bias's elements) from all `rows` rows of the batch.
template <class T>
void run_parameter_gradient(const StepContext<T>& context, const Step& step, Index rows, Index begin, Index end,
                            T* grad) {
  if (step.kind == StepKind::bias_gradient) {
    context.ops->column_sum({rows, end - begin, context.row(step.input, 0) + begin, context.stride(step.input), grad});
    return;
  }
  GemmArgs<T> args{};
  args.form = GemmForm::tn;
  args.m = end - begin;
  args.n = step.out_features;
  args.k = rows;
  args.a = context.row(step.input, 0) + begin;
  args.lda = context.stride(step.input);
  args.b = context.row(step.gate, 0);
  args.ldb = context.stride(step.gate);
  args.c = grad;
  args.ldc = step.out_features;
  args.epilogue = Epilogue::none;
  args.scratch = context.scratch;
  run_gemm(context, step.provider, args);
}

// The most scratch a product of this step needs for `rows` rows.
template <class T>
Index scratch_elements(const OpTable<T>& ops, const Step& step, Index rows) {
  switch (step.kind) {
    case StepKind::dense:
      return ops.gemm_scratch_elements(rows, step.out_features, step.in_features);
    case StepKind::input_gradient:
      return ops.gemm_scratch_elements(rows, step.in_features, step.out_features);
    case StepKind::weight_gradient:
      return ops.gemm_scratch_elements(step.block, step.out_features, rows);
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
