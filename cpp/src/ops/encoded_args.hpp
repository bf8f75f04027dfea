// The arguments of the products of encoded rows, a part of ops.hpp.
#pragma once

#include <stoop/types.hpp>

#include "../base/encoded_column.hpp"
#include "../spec/activations.hpp"
#include "column_args.hpp"

namespace stoop::inline v0_1 {

template <class T>
struct DropoutArgs;

// Encoded rows times a weight, without the encoded rows. Row i of X has a place for each column (base/encoded_column.hpp), which
// is a ladder or an indicator, or each is a linear ladder, and its encoded row e_i follows from them. Members have their rows of i one after the other:
// row i*members + m of the output is (e_i * scale[m]) @ weight + bias.
template <class T>
struct EncodedRows {
  Index rows, cols;              // of X
  const EncodedColumn* columns;  // (cols)
  const T* places;               // (rows, place_width(cols))
  Index ld_places;
  Index members = 1;
  const T* scale = nullptr;  // (members, encoded columns), or null: ones
  Index width;               // encoded columns
  const T* weight;           // (width, units)
  Index ld_weight;
  Index units;
  NumberLayers<T> layers{};  // of linear ladders, whose encoded columns are `dim` each
  Index dim = 0;
};

template <class T>
struct EncodedDenseArgs {
  EncodedRows<T> of;
  const T* bias;              // (units) or null
  ActivationKind activation;  // of the output
  Numbers<Activation> activation_numbers;
  const DropoutArgs<T>* dropout;  // applied after the activation, as GemmArgs says; null where there is none
  T* output;                      // (rows * members, units)
  Index ld_output;
  T* table;  // (width, units), of linear ladders (layers.rows + 2*layers.count, units + 2*dim), for the use of the kernel
};

// The gradients of the weight and of the scales from that of the output, for the columns [begin, end) of X: these rows of
// grad_weight and these columns of grad_scale are written.
template <class T>
struct EncodedGradientArgs {
  EncodedRows<T> of;
  const T* grad;  // (rows * members, units)
  Index ld_grad;
  Index begin, end;
  T* grad_weight;  // (width, units), rows ld_weight apart
  T* grad_scale;   // (members, width), or null: not wanted
  T* suffix;  // (units), of linear ladders (layers.rows + 2*layers.count, units + 4*dim), for the use of the kernel
  // The gradients of the layers of linear ladders, laid out as these layers; null where they are not wanted.
  T *grad_bins = nullptr, *grad_linear = nullptr, *grad_bias = nullptr;
};

}  // namespace stoop
