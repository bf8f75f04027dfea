// The argument structs of kernels for values with members. A sample has a row for each of them, one after the other. A part of
// ops.hpp.
#pragma once

#include <stoop/layers.hpp>
#include <stoop/types.hpp>

namespace stoop {

// The row of each member: output = input * scale + bias.
template <class T>
struct MemberScaleArgs {
  Index rows, cols;  // samples, columns
  Index members;
  Index input_members;  // `members`, or 1: all members take the same row
  const T* input;       // (rows * input_members, cols)
  Index ld_input;
  const T* scale;  // (members, cols)
  const T* bias;   // (members, cols), rows ld_scale apart too, or null
  Index ld_scale;
  T* output;  // (rows * members, cols)
  Index ld_output;
};

// output = the sum over the members of input * scale.
template <class T>
struct MemberSumArgs {
  Index rows, cols;
  Index members;
  const T* input;  // (rows * members, cols)
  Index ld_input;
  const T* scale;  // (members, cols), or null: all are 1
  Index ld_scale;
  T* output;  // (rows, cols)
  Index ld_output;
};

// sum (cols) = column sums of a * b, each added from the first row to the last.
template <class T>
struct ProductSumArgs {
  Index rows, cols;
  const T* a;
  Index lda;
  const T* b;
  Index ldb;
  T* sum;
};

// combine: output (rows, cols) = the mean of the members' outputs, the log of their mean softmax, or the logit of their mean
// sigmoid, by OutputKind. combine_gradient: output (rows * members, cols) = the gradient with respect to each member's outputs.
template <class T>
struct CombineArgs {
  Index rows, cols;
  Index members;   // at most kMostMembers
  const T* input;  // (rows * members, cols)
  Index ld_input;
  T* output;
  Index ld_output;
  const T* grad;  // (rows, cols), of what they say together
  Index ld_grad;
};

}  // namespace stoop
