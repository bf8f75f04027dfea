// Runs one step of a layer of members, or of what they say together, on one slice, as steps.hpp does for the other kinds. Rows of
// slices and blocks are rows of the batch here.
#pragma once

#include <algorithm>
#include <type_traits>

#include "dropout_steps.hpp"

namespace stoop::inline v0_1 {

// Returns the parameters of a product, or the direction in which they move.
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

// The rows of one member of a value: the first of them, and the step from one to the next.
template <class T>
struct MemberRows {
  T* data;
  Index stride;

  // `member` is 0 where the value has no members.
  MemberRows(const StepContext<T>& context, int buffer, Index row, Index members, Index member, Index column = 0)
      : data(context.at(buffer, row * members + member, column)), stride(members * context.stride(buffer)) {}
};

// ---- scales ----

template <class T>
MemberScaleArgs<T> member_scale_args(const StepContext<T>& context, const Step& step, const Slice& slice, int input,
                                     Index from_members) {
  MemberScaleArgs<T> args{};
  args.rows = slice.rows();
  args.cols = slice.columns();
  args.members = step.members;
  args.input_members = from_members;
  args.input = context.at(input, slice.row * from_members, slice.column);
  args.ld_input = context.stride(input);
  args.scale = product_parameters(context, step) + step.parameter + slice.column;
  args.bias = step.bias == kNone ? nullptr : product_parameters(context, step) + step.bias + slice.column;
  args.ld_scale = step.out_features;
  args.output = context.at(step.out, slice.row * step.members, slice.column);
  args.ld_output = context.stride(step.out);
  return args;
}

template <class T>
void run(Kind<StepKind::member_scale>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  context.ops->member_scale(member_scale_args(context, step, slice, step.x, step.from_members));
}

template <class T>
MemberSumArgs<T> member_sum_args(const StepContext<T>& context, const Step& step, const Slice& slice, int input) {
  MemberSumArgs<T> args{};
  args.rows = slice.rows();
  args.cols = slice.columns();
  args.members = step.members;
  args.input = context.at(input, slice.row * step.members, slice.column);
  args.ld_input = context.stride(input);
  args.output = context.at(step.out, slice.row, slice.column);
  args.ld_output = context.stride(step.out);
  return args;
}

template <class T>
void run(Kind<StepKind::member_scale_gradient>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  if (step.from_members == step.members) {
    return context.ops->member_scale(member_scale_args(context, step, slice, step.grad, step.members));
  }
  MemberSumArgs<T> args = member_sum_args(context, step, slice, step.grad);
  args.scale = product_parameters(context, step) + step.parameter + slice.column;
  args.ld_scale = step.out_features;
  context.ops->member_sum(args);
}

template <class T>
void run(Kind<StepKind::member_sum>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  context.ops->member_sum(member_sum_args(context, step, slice, step.x));
}

// Calls body(member, first, end, grad) for the parts of a block that belong to one member each. The parameter has `extent` rows or
// elements for a member, of `width` elements each.
template <class T, class Body>
void for_each_member(const GradientBlock<T>& block, Index extent, Index width, const Body& body) {
  T* grad = block.grad;
  for (Index begin = block.begin; begin < block.end;) {
    const Index member = begin / extent, first = member * extent, end = std::min(block.end, first + extent);
    body(member, begin - first, end - first, grad);
    grad += (end - begin) * width;
    begin = end;
  }
}

template <class T>
void run(Kind<StepKind::scale_gradient>, const StepContext<T>& context, const Step& step,
         const GradientBlock<T>& block) {
  for_each_member(block, step.out_features, 1, [&](Index member, Index first, Index end, T* sum) {
    const Index from = step.from_members == 1 ? 0 : member;
    const MemberRows<T> x(context, step.x, block.first_row, step.from_members, from, first);
    const MemberRows<T> grad(context, step.grad, block.first_row, step.members, member, first);
    context.ops->product_sum({block.rows, end - first, x.data, x.stride, grad.data, grad.stride, sum});
  });
}

template <class T>
void run(Kind<StepKind::member_bias_gradient>, const StepContext<T>& context, const Step& step,
         const GradientBlock<T>& block) {
  for_each_member(block, step.out_features, 1, [&](Index member, Index first, Index end, T* sum) {
    const MemberRows<T> grad(context, step.grad, block.first_row, step.members, member, first);
    context.ops->column_sum({block.rows, end - first, grad.data, grad.stride, sum});
  });
}

// ---- products ----

// Weights of a few columns have kernels of their own, which compute in T.
inline bool is_narrow(const Step& step) {
  return step.out_features <= kNarrowUnits && step.provider != GemmProvider::bfloat16;
}

// Describes columns [first, first + units) of the weights of all members, which it copies to the scratch memory as rows, unless they
// are rows already.
template <class T>
NarrowArgs<T> narrow_args(const StepContext<T>& context, const Step& step, Index rows, Index first, Index units) {
  NarrowArgs<T> args{};
  args.rows = rows;
  args.cols = args.ld_weight = step.in_features;
  args.units = units;
  args.members = step.members;
  args.input_members = step.from_members;
  args.weight = product_parameters(context, step) + step.parameter;
  if (step.out_features == 1) return args;
  for (Index m = 0; m < step.members; ++m) {
    for (Index k = 0; k < step.in_features; ++k) {
      const T* const row = args.weight + (m * step.in_features + k) * step.out_features + first;
      for (Index u = 0; u < units; ++u) context.scratch[(m * units + u) * step.in_features + k] = row[u];
    }
  }
  args.weight = context.scratch;
  return args;
}

template <class T>
void run_narrow(const StepContext<T>& context, const Step& step, const Slice& slice) {
  NarrowArgs<T> args = narrow_args(context, step, slice.rows(), slice.column, slice.columns());
  args.x = context.at(step.x, slice.row * step.from_members);
  args.ldx = context.stride(step.x);
  args.bias = step.bias == kNone ? nullptr : product_parameters(context, step) + step.bias + slice.column;
  args.ld_bias = step.out_features;
  args.output = context.at(step.out, slice.row * step.members, slice.column);
  args.ld_output = context.stride(step.out);
  context.ops->narrow_product(args);
  if (step.activation == kind_of<Identity>()) return;
  context.ops->activation_forward[static_cast<int>(step.activation)]({slice.rows() * step.members, slice.columns(),
                                                                      args.output, args.ld_output, args.output,
                                                                      args.ld_output, step.activation_numbers});
}

template <class T>
void run(Kind<StepKind::member_dense>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  if (is_narrow(step)) return run_narrow(context, step, slice);
  GemmArgs<T> args{};
  args.form = GemmForm::nn;
  args.m = slice.rows();
  args.n = slice.columns();
  args.k = step.in_features;
  args.ldb = step.out_features;
  args.epilogue = Epilogue::activate;
  args.activation = step.activation;
  args.activation_numbers = step.activation_numbers;
  args.scratch = context.scratch;
  const T* const parameters = product_parameters(context, step);
  for (Index member = 0; member < step.members; ++member) {
    const MemberRows<T> x(context, step.x, slice.row, step.from_members, step.from_members == 1 ? 0 : member);
    const MemberRows<T> out(context, step.out, slice.row, step.members, member, slice.column);
    args.a = x.data, args.lda = x.stride;
    args.c = out.data, args.ldc = out.stride;
    args.b = parameters + step.parameter + member * step.in_features * step.out_features + slice.column;
    args.bias = step.bias == kNone ? nullptr : parameters + step.bias + member * step.out_features + slice.column;
    run_gemm(context, step.provider, args);
  }
}

// Applies the dropout and the derivative of an activation that the step has taken to the gradient that it has computed.
template <class T>
void finish_gradient(const StepContext<T>& context, const Step& step, const Slice& slice) {
  const Slice rows = slice.with_members(step.members);
  DropoutArgs<T> dropout;
  if (taken_dropout(context, step, rows, dropout) != nullptr) context.ops->dropout_backward(dropout);
  if (step.saved == kNone) return;
  context.ops->activation_backward[static_cast<int>(step.activation)](
      {rows.rows(), rows.columns(), context.at(step.saved, rows.row, rows.column), context.stride(step.saved),
       context.at(step.out, rows.row, rows.column), context.stride(step.out), step.activation_numbers});
}

// A few samples at a time are finished while they are in the second-level cache.
template <class T>
void run_narrow_gradient(const StepContext<T>& context, const Step& step, const Slice& slice) {
  constexpr Index kSamples = 4;
  NarrowArgs<T> args = narrow_args(context, step, 0, 0, step.out_features);
  args.weight += slice.column;
  args.cols = slice.columns();
  args.ld_grad = context.stride(step.grad);
  args.ld_output = context.stride(step.out);
  for (Index row = slice.row; row < slice.row_end; row += kSamples) {
    const Slice part{row, std::min(row + kSamples, slice.row_end), slice.column, slice.column_end};
    args.rows = part.rows();
    args.grad = context.at(step.grad, row * step.members);
    args.output = context.at(step.out, row * step.members, slice.column);
    context.ops->narrow_input_gradient(args);
    finish_gradient(context, step, part);
  }
}

template <class T>
void run(Kind<StepKind::member_input_gradient>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  if (is_narrow(step)) return run_narrow_gradient(context, step, slice);
  GemmArgs<T> args{};
  args.form = GemmForm::nt;
  args.m = slice.rows();
  args.n = slice.columns();
  args.k = step.out_features;
  args.ldb = step.out_features;
  args.epilogue = Epilogue::none;
  args.scratch = context.scratch;
  const T* const weights = product_parameters(context, step) + step.parameter + slice.column * step.out_features;
  for (Index member = 0; member < step.members; ++member) {
    const MemberRows<T> grad(context, step.grad, slice.row, step.members, member);
    const MemberRows<T> out(context, step.out, slice.row, step.members, member, slice.column);
    args.a = grad.data, args.lda = grad.stride;
    args.c = out.data, args.ldc = out.stride;
    args.b = weights + member * step.in_features * step.out_features;
    run_gemm(context, step.provider, args);
  }
  finish_gradient(context, step, slice);
}

template <class T>
void run(Kind<StepKind::member_weight_gradient>, const StepContext<T>& context, const Step& step,
         const GradientBlock<T>& block) {
  GemmArgs<T> args{};
  args.form = GemmForm::tn;
  args.n = step.out_features;
  args.k = block.rows;
  args.ldc = step.out_features;
  args.epilogue = Epilogue::none;
  args.scratch = context.scratch;
  for_each_member(block, step.in_features, step.out_features, [&](Index member, Index first, Index end, T* out) {
    const Index from = step.from_members == 1 ? 0 : member;
    const MemberRows<T> x(context, step.x, block.first_row, step.from_members, from, first);
    const MemberRows<T> grad(context, step.grad, block.first_row, step.members, member);
    if (is_narrow(step)) {
      NarrowArgs<T> narrow{};
      narrow.rows = block.rows;
      narrow.cols = end - first;
      narrow.units = narrow.ld_output = step.out_features;
      narrow.x = x.data, narrow.ldx = x.stride;
      narrow.grad = grad.data, narrow.ld_grad = grad.stride;
      narrow.output = out;
      return context.ops->narrow_weight_gradient(narrow);
    }
    args.m = end - first;
    args.a = x.data, args.lda = x.stride;
    args.b = grad.data, args.ldb = grad.stride;
    args.c = out;
    run_gemm(context, step.provider, args);
  });
}

// ---- what the members say together ----

template <class T>
CombineArgs<T> combine_args(const StepContext<T>& context, const Step& step, const Slice& slice) {
  CombineArgs<T> args{};
  args.rows = slice.rows();
  args.cols = step.columns;
  args.members = step.members;
  args.input = context.at(step.x, slice.row * step.members);
  args.ld_input = context.stride(step.x);
  return args;
}

template <class T>
void run(Kind<StepKind::combine>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  CombineArgs<T> args = combine_args(context, step, slice);
  args.output = context.at(step.out, slice.row);
  args.ld_output = context.stride(step.out);
  context.ops->combine[static_cast<int>(step.output)](args);
}

template <class T>
void run(Kind<StepKind::combine_gradient>, const StepContext<T>& context, const Step& step, const Slice& slice) {
  CombineArgs<T> args = combine_args(context, step, slice);
  args.grad = context.at(step.grad, slice.row);
  args.ld_grad = context.stride(step.grad);
  args.output = context.at(step.out, slice.row * step.members);
  args.ld_output = context.stride(step.out);
  context.ops->combine_gradient[static_cast<int>(step.output)](args);
}

}  // namespace stoop
