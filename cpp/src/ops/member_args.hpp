// The argument structs of kernels for values with members. A sample has a row for each of them, one after the other. A part of
// ops.hpp.
#pragma once

#include <stoop/layers.hpp>
#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

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

// Products of members with weights of a few columns, of which a product by tiles would use a fraction of a vector.
inline constexpr Index kNarrowUnits = 4;

//   narrow_product:         output (rows * members, units) = x @ weight + bias, each member with its own
//   narrow_input_gradient:  output (rows * members, cols) = grad @ weight^T
//   narrow_weight_gradient: output (cols, units) = x^T @ grad of one member; rows of x and grad are those of that member
template <class T>
struct NarrowArgs {
  Index rows, cols, units;  // samples, columns of x, at most kNarrowUnits
  Index members;
  Index input_members;  // `members`, or 1: all members take the same row of x
  const T* x;           // (rows * input_members, cols)
  Index ldx;
  const T* weight;  // (members, units, cols): the columns of each weight as rows
  Index ld_weight;  // from one row to the next
  const T* bias;    // (members, units), or null
  Index ld_bias;    // from one member to the next
  const T* grad;    // (rows * members, units)
  Index ld_grad;
  T* output;
  Index ld_output;
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
