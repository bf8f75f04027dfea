// The interface every backend fills: argument structs and a table of function pointers.
// A kernel works serially on the slice it is given, allocates nothing and knows neither plan nor threads.
// Kernels are slice-invariant: an element's bits do not depend on which rows share the call with it.
#pragma once

#include <stdint.h>

#include <stoop/layers.hpp>
#include <stoop/losses.hpp>
#include <stoop/optimizers.hpp>
#include <stoop/types.hpp>

namespace stoop {

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
  T activation_parameter;
  const T* bias;  // (n) or null
  const T* gate;  // (m, n), rows ld_gate apart, or null
  Index ld_gate;
  T* scratch;  // gemm_scratch_elements(n, k) elements, 64-byte aligned, one per thread
};

// rows of `input` (rows, cols) -> output = f(input); backward: grad = grad * f'(.) from the output of f.
template <class T>
struct ActivationArgs {
  Index rows, cols;
  const T* input;  // forward: input of f; backward: output of f
  Index ld_input;
  T* output;  // forward: output of f; backward: the gradient, in place
  Index ld_output;
  T parameter;
};

// Value and gradient of the loss over a block of rows, in one pass.
template <class T>
struct LossArgs {
  Index rows, cols;
  const T* output;  // (rows, cols) network outputs
  Index ld_output;
  const int32_t* classes;  // (rows), softmax_cross_entropy
  const T* targets;        // (rows, cols), mse
  Index ld_targets;
  T* grad;  // (rows, cols) or null: no gradient wanted
  Index ld_grad;
  T grad_scale;     // 1 / samples in the batch
  double* loss;     // sum over the rows
  double* correct;  // rows whose largest output is their class
};

// One pass over n elements: g += l2*w, then the update. Sums are of the values before the update.
template <class T>
struct UpdateArgs {
  Index n;
  T* weight;      // (n)
  const T* grad;  // (n), without the l2 term
  T* state0;      // (n) or null
  T* state1;      // (n) or null
  T l2;
  // SGD: rate[0]=lr, rate[1]=momentum, rate[2]=1-dampening, rate[3]=1 for nesterov.
  // Adam: rate[0]=lr/(1-beta1^t), rate[1]=beta1, rate[2]=beta2, rate[3]=eps, rate[4]=1/sqrt(1-beta2^t),
  // rate[5]=1-beta1, rate[6]=1-beta2.
  T rate[7];
  double* weight_sum_of_squares;  // sum(w^2)
  double* grad_sum_of_squares;    // sum((g + l2*w)^2)
};

// grad += l2 * weight, with the same sums; for gradients that are asked for without an update.
template <class T>
struct RegularizeArgs {
  Index n;
  const T* weight;
  T* grad;
  T l2;
  double* weight_sum_of_squares;
  double* grad_sum_of_squares;
};

// sum (cols) = column sums of a (rows, cols), each column added from the first row to the last.
template <class T>
struct ColumnSumArgs {
  Index rows, cols;
  const T* a;
  Index lda;
  T* sum;
};

// output row i = input row index[i] (index null: row i).
template <class T>
struct GatherArgs {
  Index rows, cols;
  const T* input;
  Index ld_input;
  const int32_t* index;
  T* output;
  Index ld_output;
};

// Who computes a matrix product: the micro-kernels here, or a BLAS loaded at run time (its epilogue is gemm_epilogue).
enum class GemmProvider { native, blas };

template <class T>
struct OpTable {
  const char* name;
  Index gemm_row_tile;  // rows of c a micro-kernel produces: the grain at which rows are best cut
  Index gemm_col_tile;
  Index (*gemm_scratch_elements)(Index m, Index n, Index k);
  void (*gemm)(const GemmArgs<T>&) noexcept;
  void (*gemm_blas)(const GemmArgs<T>&) noexcept;      // null where no BLAS is loaded
  void (*gemm_epilogue)(const GemmArgs<T>&) noexcept;  // the epilogue alone, for products made elsewhere
  void (*activation_forward[kActivationCount])(const ActivationArgs<T>&) noexcept;
  void (*activation_backward[kActivationCount])(const ActivationArgs<T>&) noexcept;
  void (*loss[kLossCount])(const LossArgs<T>&) noexcept;
  void (*update[kOptimizerCount])(const UpdateArgs<T>&) noexcept;
  void (*regularize)(const RegularizeArgs<T>&) noexcept;
  void (*column_sum)(const ColumnSumArgs<T>&) noexcept;
  void (*gather)(const GatherArgs<T>&) noexcept;
  void (*fma_loop)(Index iterations, T* sink) noexcept;  // fma_loop_flops per iteration, to measure the peak
  Index fma_loop_flops;
};

}  // namespace stoop
