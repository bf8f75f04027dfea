// Runs one step of a plan on one slice: fills the argument struct of a kernel and calls it, kind by kind. There are no threads
// here. The kinds of normalisations are in normalization_steps.hpp, and ../plan/rules.hpp has everything else about a kind.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "../spec/activations.hpp"
#include "dropout_steps.hpp"
#include "encoded_steps.hpp"
#include "member_steps.hpp"
#include "normalization_steps.hpp"
#include "steps_context.hpp"
#include "strips.hpp"

namespace stoop::inline v0_1 {

// Runs a product with the steps that it does in its epilogue: a dropout, and the sums of a batch normalisation, of values
// or of the gradient.
template <class T>
void run_product(const StepContext<T>& context, const Step& step, const Slice& slice, GemmArgs<T>& args) {
  args.scratch = context.scratch;
  DropoutArgs<T> dropout;
  args.dropout = taken_dropout(context, step, slice, dropout);
  BatchNormArgs<T> sums;
  if (step.sums_step != kNone) {
    const Step& taken = context.steps[step.sums_step];
    sums = batch_norm_args(context, taken, slice, taken.grad);
    args.sums = &sums;
  }
  run_gemm(context, step.provider, args);
}

template <class T>
void run(Kind<StepKind::dense>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  GemmArgs<T> args{};
  args.form = GemmForm::nn;
  args.m = slice.rows();
  args.n = slice.columns();
  args.k = step.in_features;
  args.a = context.at(step.x, slice.row);
  args.lda = context.stride(step.x);
  const bool is_strip = context.in_strips && has_strips(step);
  args.b = product_parameters(context, step) + step.parameter + slice.column * (is_strip ? step.in_features : 1);
  args.ldb = is_strip ? slice.columns() : step.out_features;
  args.c = context.at(step.out, slice.row, slice.column);
  args.ldc = context.stride(step.out);
  args.epilogue = Epilogue::activate;
  args.activation = step.activation;
  args.activation_numbers = step.activation_numbers;
  args.bias = step.bias == kNone ? nullptr : product_parameters(context, step) + step.bias + slice.column;
  run_product(context, step, slice, args);
}

// The columns are those of the layer's input. In the epilogue the dropout comes before f', the sums after it.
template <class T>
void run(Kind<StepKind::input_gradient>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  GemmArgs<T> args{};
  args.form = GemmForm::nt;
  args.m = slice.rows();
  args.n = slice.columns();
  args.k = step.out_features;
  args.a = context.at(step.grad, slice.row);
  args.lda = context.stride(step.grad);
  args.b = product_parameters(context, step) + step.parameter + slice.column * step.out_features;
  args.ldb = step.out_features;
  args.c = context.at(step.out, slice.row, slice.column);
  args.ldc = context.stride(step.out);
  if (step.saved != kNone) {
    args.epilogue = Epilogue::gate;
    args.activation = step.activation;
    args.activation_numbers = step.activation_numbers;
    args.gate = context.at(step.saved, slice.row, slice.column);
    args.ld_gate = context.stride(step.saved);
  }
  run_product(context, step, slice, args);
}

// `input` has the values from which the activation, or its derivative, is computed.
template <class T>
ActivationArgs<T> activation_args(const StepContext<T>& context, const Step& step, const Slice& slice, int input) {
  return {slice.rows(),
          slice.columns(),
          context.at(input, slice.row, slice.column),
          context.stride(input),
          context.at(step.out, slice.row, slice.column),
          context.stride(step.out),
          step.activation_numbers};
}

template <class T>
void run(Kind<StepKind::activation>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  context.ops->activation_forward[static_cast<int>(step.activation)](activation_args(context, step, slice, step.x));
}

template <class T>
void run(Kind<StepKind::activation_gradient>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  context.ops->activation_backward[static_cast<int>(step.activation)](
      activation_args(context, step, slice, step.saved));
}

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

// out = from, or out += from.
template <class T>
void copy_or_add(const StepContext<T>& context, int from, int out, const Slice& slice, bool copy) {
  context.ops->add({slice.rows(), slice.columns(), context.at(from, slice.row, slice.column), context.stride(from),
                    context.at(out, slice.row, slice.column), context.stride(out), copy});
}

template <class T>
void run(Kind<StepKind::add>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  copy_or_add(context, step.x, step.out, slice, true);
  copy_or_add(context, step.other, step.out, slice, false);
}

template <class T>
void run(Kind<StepKind::copy_gradient>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  copy_or_add(context, step.x, step.out, slice, true);
}

template <class T>
void run(Kind<StepKind::add_gradient>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  copy_or_add(context, step.x, step.out, slice, false);
}

template <class T>
void run(Kind<StepKind::weight_gradient>, const StepContext<T>& context, const Step& step,
         const GradientBlock<T>& block) {
  GemmArgs<T> args{};
  args.form = GemmForm::tn;
  args.m = block.end - block.begin;
  args.n = step.out_features;
  args.k = block.rows;
  args.a = context.at(step.x, block.first_row, block.begin);
  args.lda = context.stride(step.x);
  args.b = context.at(step.grad, block.first_row);
  args.ldb = context.stride(step.grad);
  args.c = block.grad;
  args.ldc = step.out_features;
  args.epilogue = Epilogue::none;
  args.scratch = context.scratch;
  args.same_b = context.same_step;
  run_gemm(context, step.provider, args);
}

template <class T>
void run(Kind<StepKind::bias_gradient>, const StepContext<T>& context, const Step& step,
         const GradientBlock<T>& block) {
  context.ops->column_sum({block.rows, block.end - block.begin, context.at(step.grad, block.first_row, block.begin),
                           context.stride(step.grad), block.grad});
}

template <class T>
void run(Kind<StepKind::stored_gradient>, const StepContext<T>& context, const Step& step,
         const GradientBlock<T>& block) {
  const Index elements = step.work.row_elements;
  std::copy_n(context.at(step.sums, step.work.row, block.begin * elements), (block.end - block.begin) * elements,
              block.grad);
}

// ---- all kinds ----

// Says whether there is an overload of `run` for a kind and a part, which is a Slice or a GradientBlock. The walks of a plan do
// the other kinds themselves, because they have the samples, the losses and the optimizer: team_run.hpp, parameter_block.hpp,
// infer.cpp.
template <class T, class Part, StepKind kind>
inline constexpr bool kRuns = requires(const StepContext<T>& context, const Step& step, const Part& part) {
  run(Kind<kind>{}, context, step, part);
};

template <StepKind kind, class T, class Part>
void run_kind(const StepContext<T>& context, const Step& step, const Part& part) {
  constexpr Division division = rule_of(kind).division;
  static_assert(kRuns<T, Part, kind>, "each kind of step has an overload of `run`, or is the walk's");
  static_assert(std::is_same_v<Part, Slice> ? division.is_sliced() : division.how == Division::parameter,
                "the rule of a kind divides its work into the parts that `run` takes");
  if constexpr (tells_members_apart(kind)) {
    run(Kind<kind>{}, context, step, part);
  } else {
    run(Kind<kind>{}, context, step, part.with_members(step.members));
  }
}

// Calls visit(Kind<kind>()) for the kind of a step.
template <class Visit>
decltype(auto) visit_kind(StepKind kind, const Visit& visit) {
  using Result = std::invoke_result_t<const Visit&, Kind<StepKind{}>>;
  static constexpr auto kFunctions = []<std::size_t... kinds>(std::index_sequence<kinds...>) {
    return std::array<Result (*)(const Visit&), kStepKinds>{
        [](const Visit& each) -> Result { return each(Kind<StepKind{kinds}>()); }...};
  }(std::make_index_sequence<kStepKinds>());
  return kFunctions[static_cast<std::size_t>(kind)](visit);
}

// The function that runs a kind on a slice; null where there is none.
template <class T>
using SliceFunction = void (*)(const StepContext<T>& context, const Step& step, const Slice& slice);

template <class T, StepKind kind>
constexpr SliceFunction<T> slice_function() {
  if constexpr (kRuns<T, Slice, kind>) {
    return run_kind<kind, T, Slice>;
  } else {
    return nullptr;
  }
}

template <class T>
inline constexpr auto kSliceFunctions = []<std::size_t... kinds>(std::index_sequence<kinds...>) {
  return std::array<SliceFunction<T>, kStepKinds>{slice_function<T, StepKind{kinds}>()...};
}(std::make_index_sequence<kStepKinds>());

// Runs a step of a plan that check_slices has seen.
template <class T>
void run_slice(const StepContext<T>& context, const Step& step, const Slice& slice) {
  kSliceFunctions<T>[static_cast<std::size_t>(step.kind)](context, step, slice);
}

// Refuses a plan for inference if it has a step other than the loss that run_slice does not run.
template <class T>
void check_slices(std::span<const Step> steps) {
  for (const Step& step : steps) {
    if (step.kind == StepKind::loss || kSliceFunctions<T>[static_cast<std::size_t>(step.kind)] != nullptr) continue;
    throw std::logic_error(std::string("the step '") + rule_of(step.kind).name + "' does not run in inference");
  }
}

// Returns the scratch memory that a product of this step needs for at most `rows` rows.
template <class T>
Index scratch_elements(const OpTable<T>& ops, const Step& step, Index rows) {
  const auto elements = [&](Index m, Index n, Index k) {
    if (step.provider == GemmProvider::bfloat16) return ops.bfloat16->gemm_scratch_elements(m, n, k);
    return ops.gemm_scratch_elements(m, n, k);
  };
  if (step.scratch > 0) return step.scratch;
  const std::optional<GemmForm> form = rule_of(step.kind).product;
  if (!form) return 0;
  if (tells_members_apart(step.kind) && is_narrow(step)) return step.members * step.in_features * step.out_features;
  const Index own_rows = rows * (tells_members_apart(step.kind) ? 1 : step.members);
  switch (*form) {
    case GemmForm::nn:
      return elements(own_rows, step.out_features, step.in_features);
    case GemmForm::nt:
      return elements(own_rows, step.in_features, step.out_features);
    case GemmForm::tn:
      break;
  }
  return elements(std::min(step.group * step.block, step.in_features), step.out_features, own_rows);
}

template <class T>
Index scratch_elements(const OpTable<T>& ops, const Plan& plan, Index rows) {
  Index most = 0;
  for (const Step& step : plan.steps) most = std::max(most, scratch_elements(ops, step, rows));
  return round_up(most, kAlignment);
}

}  // namespace stoop
