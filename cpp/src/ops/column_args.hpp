// The arguments of the kernels that encode columns of X, a part of ops.hpp.
#pragma once

#include <stoop/types.hpp>

#include "../base/encoded_column.hpp"
#include "../base/input_map.hpp"

namespace stoop::inline v0_1 {

// Places of rows of X, and how their columns are encoded.
template <class T>
struct Places {
  Index rows, cols;
  const EncodedColumn* columns;  // (cols)
  const T* data;                 // (rows, place_width(cols))
  Index ld;
};

// The parameters of periodic columns: waves [cos, sin](2 pi frequency value), ReLU(waves @ weight + bias).
template <class T>
struct PeriodicParameters {
  Index count, frequencies;  // columns, frequencies of each
  const T* frequency;        // (count, frequencies)
  const T* weight;           // (count, 2 * frequencies, dim)
  const T* bias;             // (count, dim)
};

// The encoded rows of places. A tangent has the rows of the table's tangent, and zero in columns that no parameter moves.
template <class T>
struct EncodeArgs {
  Places<T> places;
  const T* table;  // (rows of the table, dim)
  Index dim;
  bool is_tangent;
  PeriodicParameters<T> periodic;
  T* waves;  // (rows, count * 2 * frequencies)
  Index ld_waves;
  T* output;  // (rows, all encoded columns)
  Index ld_output;
};

// The gradient of periodic columns before the ReLU -> before, and times the derivative by frequency * value: that times the
// value -> angles, and after all of these the sum of its products with the frequencies, for each column.
template <class T>
struct PeriodicGradientArgs {
  Places<T> places;
  Index dim;
  PeriodicParameters<T> periodic;
  const T* waves;
  Index ld_waves;
  const T* output;  // of encode
  Index ld_output;
  const T* grad;  // (rows, all encoded columns)
  Index ld_grad;
  T* before;  // (rows, count * dim)
  Index ld_before;
  T* angles;  // (rows, count * frequencies + count)
  Index ld_angles;
};

// gradient = rows [begin, end) of the gradient of the weights of periodic columns.
template <class T>
struct PeriodicWeightGradientArgs {
  Index rows, dim, waves_of_column;
  const T* waves;  // (rows, all waves)
  Index ld_waves;
  const T* before;  // (rows, count * dim)
  Index ld_before;
  Index begin, end;
  T* gradient;  // (end - begin, dim)
};

// output = the gradient of X, from that of the encoded rows. It is zero for codes.
template <class T>
struct EncodeGradientArgs {
  Places<T> places;
  InputMap<T> map;
  const T* grad;  // (rows, all encoded columns)
  Index ld_grad;
  const T* numbers;  // (rows, periodic columns): the derivative by their values
  Index ld_numbers;
  T* output;  // (rows, cols)
  Index ld_output;
};

// gradient = sums, in the order of the rows, of the parts of `grad` that came from the rows [begin, end) of the table.
template <class T>
struct TableGradientArgs {
  Places<T> places;
  const T* grad;  // (rows, all encoded columns)
  Index ld_grad;
  Index dim;
  Index begin, end;
  T* gradient;  // (end - begin, dim)
};

// The same sums for those rows alone that the places name, in the order in which they come.
template <class T>
struct TableRowsArgs {
  TableGradientArgs<T> table;  // gradient: (rows that are named, dim)
  int32_t* slots;              // (rows of the table): where the row was put last; anything at first
  int32_t* named;              // the rows that are named
};

}  // namespace stoop
