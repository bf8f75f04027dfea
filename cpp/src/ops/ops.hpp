// The interface every backend fills: argument structs and a table of function pointers.
// A kernel works serially on the slice it is given, allocates nothing and knows neither plan nor threads.
// Kernels are slice-invariant: an element's bits do not depend on which rows share the call with it.
#pragma once

#include <stdint.h>

#include <stoop/optimizers.hpp>
#include <stoop/types.hpp>

#include "../spec/activations.hpp"
#include "../spec/losses.hpp"
#include "encoded_args.hpp"
#include "column_args.hpp"
#include "member_args.hpp"
#include "row_args.hpp"

namespace stoop::inline v0_1 {

// c (m, n) = op(a) @ op(b), then the epilogue.
enum class GemmForm {
  nn,  // a (m, k), b (k, n): forward
  nt,  // a (m, k), b (n, k): gradient of the input
  tn,  // a (k, m), b (k, n): gradient of the weight
};

enum class Epilogue {
  none,
  activate,  // c = f(c), with bias (n) added first where given
  gate,      // c = c * f'(.), f' computed from the saved activation output `gate` (m, n)
};

// Returns how many rows of a batch form a group, whose sums are taken together before the sums of all groups are added. It
// depends on the batch alone, so that the sums are the same however the batch is cut. Up to 1024 rows there are at most 16
// groups of whole blocks of 8.
constexpr Index statistics_group(Index batch_rows) {
  const Index even = (batch_rows + 127) / 128 * 8;
  return even < 64 ? even : 64;
}
// Returns the largest number of groups of any batch of up to this many rows.
constexpr Index most_statistics_groups(Index batch_rows) {
  const Index groups = (batch_rows + statistics_group(batch_rows) - 1) / statistics_group(batch_rows);
  return batch_rows > 128 && groups < 16 ? 16 : groups;
}
inline constexpr Index kMomentSums = 3;    // rows of `partials` a group has: of batch_norm_moments,
inline constexpr Index kGradientSums = 2;  // of batch_norm_sums

// Batch normalisation of a slice of the batch, followed by a relu-like activation: y for y > 0, else slope * y. The backward
// kernel finds the sign of y again from what it reads.
// The forward pass calls batch_norm_moments on all slices of the batch, then batch_norm_forward; the backward pass calls
// batch_norm_sums, then batch_norm_backward. For the first of the two, slices of rows begin at multiples of a group, or
// follow each other on one thread.
template <class T>
struct BatchNormArgs {
  Index rows, cols;
  Index first_row;   // of the slice, in the batch
  Index batch_rows;  // of the whole batch
  const T* input;    // (rows, cols)
  Index ld_input;
  T* output;  // (rows, cols); backward: the gradient, in place, which batch_norm_sums only reads
  Index ld_output;
  const T* gamma;  // (cols)
  const T* beta;   // (cols)
  // With fixed_statistics the forward pass reads these two; otherwise it writes them unless they are null. The backward pass
  // reads them.
  T* mean;      // (cols)
  T* variance;  // (cols), biased
  T* partials;  // of the batch: (groups, kMomentSums or kGradientSums, cols), rows ld_partials apart
  Index ld_partials;
  T* grad_gamma;  // (cols), written by backward unless null
  T* grad_beta;   // (cols)
  T eps;
  T slope = T(1);         // 1: no activation, 0: relu, else that of leaky_relu
  bool fixed_statistics;  // mean and variance are not functions of the input
  Index members = 1;      // rows of the values for each sample: groups hold all members of their samples
};

template <class T>
constexpr Index statistics_group(const BatchNormArgs<T>& args) {
  return statistics_group(args.batch_rows / args.members) * args.members;
}

// Inverted dropout of a slice. Element (i, j) is kept if its random number, a function of the key and of
// (row + i, column + j), is below the threshold. `column` is a multiple of 8. dropout_mask only makes the mask,
// dropout_forward makes and applies it, and dropout_backward applies it.
template <class T>
struct DropoutArgs {
  Index rows, cols;
  const T* input;  // (rows, cols); backward: null, `output` is the gradient, in place
  Index ld_input;
  T* output;
  Index ld_output;
  uint8_t* mask;  // (rows, bytes): bit column + j of a row is element j; written forward, read backward
  Index ld_mask;
  Index row, column;  // of the first element
  uint64_t seed;
  uint32_t stream, layer;
  uint64_t step;
  double rate;  // dropped fraction
};

template <class T>
struct GemmArgs {
  GemmForm form;
  Index m, n, k;
  const T* a;
  Index lda;
  const T* b;
  Index ldb;
  T* c;
  Index ldc;
  Epilogue epilogue;
  ActivationKind activation;
  Numbers<Activation> activation_numbers;
  const T* bias;  // (n) or null
  const T* gate;  // (m, n), rows ld_gate apart, or null
  Index ld_gate;
  T* scratch;  // gemm_scratch_elements(m, n, k) elements, 64-byte aligned, one per thread
  // An earlier call with the same form, b, n and k has left its copy of b in `scratch`, so it need not be made again.
  bool same_b = false;
  // If this is not null, a mask that was made before is applied to c. With Epilogue::activate that happens after the
  // activation and the result goes to `output` (m, n), which may be c. Otherwise it happens before the gate, and `output` is
  // c. Only output, mask, column and rate are read.
  const DropoutArgs<T>* dropout = nullptr;
  // If this is not null, the sums of a batch normalisation over c are taken, panel by panel: in form nn batch_norm_moments
  // with c as the input, in form nt batch_norm_sums with c as the gradient. Its pointers are those of c's first element. The
  // sums come last, over the final values of c.
  const BatchNormArgs<T>* sums = nullptr;
};

// rows of `input` (rows, cols) -> output = f(input); backward: grad = grad * f'(.) from what f saved.
template <class T>
struct ActivationArgs {
  Index rows, cols;
  const T* input;  // forward: input of f; backward: output of f, or its input where !derivative_from_output
  Index ld_input;
  T* output;  // forward: output of f; backward: the gradient, in place
  Index ld_output;
  Numbers<Activation> numbers;
};

// Value and gradient of the loss over a block of rows, in one pass.
template <class T>
struct LossArgs {
  Index rows, cols;
  const T* output;  // (rows, cols) network outputs
  Index ld_output;
  const int32_t* classes;  // (rows), or null: `targets` holds rows of values
  const T* targets;        // (rows, cols)
  Index ld_targets;
  const double* weights;  // (rows), or null: all are 1
  const T*
      element_weights;  // (rows, columns of targets), or null. Where they are given, `weights` are their means over
  Index ld_element_weights;  // the columns, and a target of weight 0 counts nowhere; it may be NaN.
  T* grad;                   // (rows, cols) or null: no gradient wanted
  Index ld_grad;
  T grad_scale;  // 1 / sum of the weights of the batch
  Numbers<Loss> numbers;
  double* loss;     // weighted sum over the rows
  double* correct;  // rows predicted right, or their share of right labels; not weighted
};

// One pass over n elements: g = grad_scale*grad_scale_rest*grad + l2*w, then the update. Sums are of the values before
// the update, but where T does not hold the squares and l2 is not 0: then w is what the update made of it.
template <class T>
struct UpdateArgs {
  Index n;
  T* weight;              // (n)
  const T* grad;          // (n), without the l2 term
  T* state[kMostStates];  // (n) each, null past those the optimizer keeps
  T grad_scale;
  T grad_scale_rest = T(1);  // 1, unless T does not hold their product
  T l2;
  T decay;            // w -= decay*w: decoupled weight decay, lr*weight_decay, of the optimizers that have it
  const void* rates;  // the Rates<Op> of the optimizer Op whose kernel this is: spec/optimizers.hpp
  // Some optimizers need the norms of a whole parameter. Their `update` writes the norms of this block, of w and of the step,
  // to block_norms, and `apply` takes the quotient of the whole.
  double* block_norms;  // (2), or null
  double trust_ratio;
  double* weight_sum_of_squares;  // sum(w^2)
  double* grad_sum_of_squares;    // sum(g^2)
  double* grad_norm;              // its root where double, or T, holds no such sum; else not written; null: not wanted
};

// grad += l1*sign(weight) + l2*weight, then cut to [-clip_value, clip_value], with the sums of the result. This is for
// gradients without an update, and for penalties and limits that an update does not apply by itself.
template <class T>
struct RegularizeArgs {
  Index n;
  const T* weight;
  T* grad;
  T l1, l2;
  T clip_value;  // 0: not cut
  double* weight_sum_of_squares;
  double* weight_sum_of_magnitudes;
  double* grad_sum_of_squares;  // after the cut; not finite if any element was not
  double* grad_norm;            // as in UpdateArgs
};

// Columns of a weight (rows, cols) whose L2 norm is above `limit` are scaled down to it.
template <class T>
struct LimitNormArgs {
  Index rows, cols;
  T* weight;
  Index ld_weight;
  double limit;
};

// sum (cols) = column sums of a (rows, cols), each column added from the first row to the last.
template <class T>
struct ColumnSumArgs {
  Index rows, cols;
  const T* a;
  Index lda;
  T* sum;
};

// The values that a layer normalisation keeps for a row: mean, inverse, rest and scale, with
// normalised = (x*scale - mean - rest)*inverse. Rest is 0, scale is 1 and inverse is 1/sqrt(variance + eps), unless the mean
// needs more digits or the row overflows.
inline constexpr Index kRowStatistics = 4;

// Layer normalisation of rows.
template <class T>
struct LayerNormArgs {
  Index rows, cols;
  const T* input;  // (rows, cols)
  Index ld_input;
  const T* gamma;  // (cols)
  const T* beta;   // (cols)
  T* output;       // (rows, cols); backward: the gradient of the input
  Index ld_output;
  const T* grad;  // (rows, cols), backward: the gradient of the output
  Index ld_grad;
  T* statistics;  // (rows, kRowStatistics), written forward, read backward
  Index ld_statistics;
  T eps;
  T* grad_gamma;  // (cols), layer_norm_gamma: sum over the rows of grad * normalised input
};

// output = input + output, or output = input where `copy`.
template <class T>
struct AddArgs {
  Index rows, cols;
  const T* input;
  Index ld_input;
  T* output;
  Index ld_output;
  bool copy;
};

// running = momentum * running + (1 - momentum) * batch, n elements.
template <class T>
struct AverageArgs {
  Index n;
  T* running;
  const T* batch;
  T momentum;
};

// ---- tangents: derivatives in a direction, for Hessian-vector products ----

// output = f'(x) * input + f''(x) * tangent * grad; the second term where grad is given. output may be input.
template <class T>
struct ActivationTangentArgs {
  Index rows, cols;
  const T* x;  // the input of f
  Index ld_x;
  const T* input;  // the tangent of x, or of the gradient of f(x)
  Index ld_input;
  T* output;
  Index ld_output;
  const T* tangent;  // of x, or null: zero
  Index ld_tangent;
  const T* grad;  // of f(x), or null
  Index ld_grad;
  Numbers<Activation> numbers;
};

// The tangents of a batch or layer normalisation of a slice.
template <class T>
struct NormTangentArgs {
  Index rows, cols;
  const T* x;  // (rows, cols)
  Index ld_x;
  const T* tangent;  // of x, or null: zero
  Index ld_tangent;
  const T* gamma;          // (cols)
  const T* gamma_tangent;  // (cols), or null: zero
  const T* beta_tangent;   // (cols), or null: zero
  // For a batch normalisation these are (cols) each: mean and variance, and the tangents of mean and of
  // inverse = 1/sqrt(variance + eps), which are null if the statistics are fixed. For a layer normalisation `mean` is
  // (rows, kRowStatistics), and `mean_tangent` holds the tangents of mean and inverse in its first two columns. The forward
  // pass writes the tangents.
  const T* mean;
  const T* variance;
  T* mean_tangent;
  T* inverse_tangent;
  Index ld_statistics;
  T eps;
  const T* grad;  // (rows, cols) of the output; backward
  Index ld_grad;
  const T* grad_tangent;  // (rows, cols); batch: `output`
  Index ld_grad_tangent;
  T* output;  // the tangent of the output; backward: of the gradient of x
  Index ld_output;
  T* grad_gamma;  // (cols), the tangents of these gradients
  T* grad_beta;
};

// grad = the Hessian of the loss with respect to the outputs, times `tangent`; value and `correct` are left alone.
template <class T>
struct LossTangentArgs {
  LossArgs<T> loss;
  const T* tangent;  // (rows, cols) of the outputs
  Index ld_tangent;
};

// The provider of a matrix product: the micro-kernels, a BLAS loaded at run time (with gemm_epilogue as its epilogue), or
// kernels that round both operands to bfloat16 (OpTable::bfloat16). `automatic` is a request only: the plan takes one of the
// first two for each product (plan/product_choice.hpp).
enum class GemmProvider { native, blas, bfloat16, automatic };

// Products of float32 matrices whose elements are rounded to bfloat16 before they are multiplied. Sums and results are
// float32.
struct Bfloat16Table {
  const char* name;
  Index (*gemm_scratch_elements)(Index m, Index n, Index k) noexcept;
  void (*gemm)(const GemmArgs<float>&) noexcept;
  void (*dot_loop)(Index iterations, float* sink) noexcept;  // dot_loop_flops per iteration, to measure the peak
  Index dot_loop_flops;
};

// The elementary functions of the kernels. They have entries of their own for tests and benchmarks.
enum class Elementary { exp, log, log1p, expm1, tanh, erf, sigmoid };
inline constexpr int kElementaryCount = 7;

template <class T>
struct OpTable {
  const char* name;
  Index gemm_col_tile;
  Index (*gemm_scratch_elements)(Index m, Index n, Index k);
  void (*gemm)(const GemmArgs<T>&) noexcept;
  void (*gemm_blas)(const GemmArgs<T>&) noexcept;      // null where no BLAS is loaded
  void (*gemm_epilogue)(const GemmArgs<T>&) noexcept;  // the epilogue alone, for products made elsewhere
  const Bfloat16Table* bfloat16;                       // null where none was asked for
  void (*activation_forward[kActivationCount])(const ActivationArgs<T>&) noexcept;
  void (*activation_backward[kActivationCount])(const ActivationArgs<T>&) noexcept;
  void (*activation_tangent[kActivationCount])(const ActivationTangentArgs<T>&) noexcept;
  void (*loss[kLossCount])(const LossArgs<T>&) noexcept;
  void (*loss_tangent[kLossCount])(const LossTangentArgs<T>&) noexcept;
  void (*update[kOptimizerCount])(const UpdateArgs<T>&) noexcept;
  void (*apply[kOptimizerCount])(const UpdateArgs<T>&) noexcept;  // null for optimizers of one pass
  void (*regularize)(const RegularizeArgs<T>&) noexcept;
  void (*limit_norm)(const LimitNormArgs<T>&) noexcept;
  void (*column_sum)(const ColumnSumArgs<T>&) noexcept;
  void (*gather[kInputTypeCount])(const GatherArgs<T>&) noexcept;
  void (*map_gradient)(const MapGradientArgs<T>&) noexcept;
  void (*encoded_dense)(const EncodedDenseArgs<T>&) noexcept;
  void (*encoded_gradient)(const EncodedGradientArgs<T>&) noexcept;
  void (*encode)(const EncodeArgs<T>&) noexcept;
  void (*encode_gradient)(const EncodeGradientArgs<T>&) noexcept;
  void (*number_gradient)(const NumberGradientArgs<T>&) noexcept;
  void (*number_weight_gradient)(const NumberWeightGradientArgs<T>&) noexcept;
  void (*table_gradient)(const TableGradientArgs<T>&) noexcept;
  Index (*table_rows)(const TableRowsArgs<T>&) noexcept;  // returns how many rows are named
  void (*warp)(const WarpArgs<T>&) noexcept;
  void (*displacement)(const DisplacementArgs<T>&) noexcept;
  void (*add_noise)(const NoiseArgs<T>&) noexcept;
  void (*batch_norm_moments)(const BatchNormArgs<T>&) noexcept;
  void (*batch_norm_forward)(const BatchNormArgs<T>&) noexcept;
  void (*batch_norm_sums)(const BatchNormArgs<T>&) noexcept;
  void (*batch_norm_backward)(const BatchNormArgs<T>&) noexcept;
  void (*layer_norm_forward)(const LayerNormArgs<T>&) noexcept;
  void (*layer_norm_backward)(const LayerNormArgs<T>&) noexcept;
  void (*layer_norm_gamma)(const LayerNormArgs<T>&) noexcept;
  void (*batch_norm_tangent)(const NormTangentArgs<T>&) noexcept;
  void (*batch_norm_gradient_tangent)(const NormTangentArgs<T>&) noexcept;
  void (*layer_norm_tangent)(const NormTangentArgs<T>&) noexcept;
  void (*layer_norm_gradient_tangent)(const NormTangentArgs<T>&) noexcept;
  void (*layer_norm_gamma_tangent)(const NormTangentArgs<T>&) noexcept;
  void (*dropout_mask)(const DropoutArgs<T>&) noexcept;
  void (*dropout_forward)(const DropoutArgs<T>&) noexcept;
  void (*dropout_backward)(const DropoutArgs<T>&) noexcept;
  void (*member_scale)(const MemberScaleArgs<T>&) noexcept;
  void (*member_sum)(const MemberSumArgs<T>&) noexcept;
  void (*product_sum)(const ProductSumArgs<T>&) noexcept;
  void (*narrow_product)(const NarrowArgs<T>&) noexcept;
  void (*narrow_input_gradient)(const NarrowArgs<T>&) noexcept;
  void (*narrow_weight_gradient)(const NarrowArgs<T>&) noexcept;
  void (*combine[kOutputKindCount])(const CombineArgs<T>&) noexcept;
  void (*combine_gradient[kOutputKindCount])(const CombineArgs<T>&) noexcept;
  void (*add)(const AddArgs<T>&) noexcept;
  void (*average)(const AverageArgs<T>&) noexcept;
  void (*elementary[kElementaryCount])(Index n, const T* x, T* y) noexcept;  // y (n) = f(x), y may be x
  void (*fma_loop)(Index iterations, T* sink) noexcept;  // fma_loop_flops per iteration, to measure the peak
  Index fma_loop_flops;
};

}  // namespace stoop
