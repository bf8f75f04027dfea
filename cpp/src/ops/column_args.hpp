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
  const T* data;                 // (rows, place_width(cols)), or with the scaled numbers
  Index ld;
};

// The parameters of columns that have a layer of their own. Periodic ones: waves [cos, sin](2 pi frequency value),
// ReLU(waves @ weight + bias). Linear ladders: number * linear + ladder @ weight + bias, the waves being the ladder.
template <class T>
struct NumberLayers {
  Index count, frequencies;  // columns, frequencies of each
  Index rows;                // of the weights of all columns
  const T* frequency;        // (count, frequencies), of periodic columns
  const T* linear;           // (count, dim), of linear ladders
  const T* weight;           // (rows, dim), which of each column begin at its `start`
  const T* bias;             // (count, dim)
};

// The encoded rows of places. A tangent has the rows of the table's tangent, and zero in columns that no parameter moves.
template <class T>
struct EncodeArgs {
  Places<T> places;
  const T* table;  // (rows of the table, dim)
  Index dim;
  bool is_tangent;
  NumberLayers<T> layers;  // of linear ladders, the tangents in a tangent
  T* waves;  // (rows, layers.rows), of linear ladders and after them the numbers (rows, count), or null: not wanted
  Index ld_waves;
  T* output;  // (rows, all encoded columns)
  Index ld_output;
};

// The gradient of columns with a layer, of periodic ones before the ReLU -> before. Of periodic ones, this times the derivative by
// frequency * value: that times the value -> angles, and after all of these the sum of its products with the frequencies, for
// each column.
template <class T>
struct NumberGradientArgs {
  Places<T> places;
  Index dim;
  NumberLayers<T> layers;
  const T* waves;  // of periodic columns, as `output` and `angles`
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

// gradient = rows [begin, end) of the gradient of the weights of columns with a layer; or, of linear ladders, of the weights of
// the numbers themselves, which stand for the waves.
template <class T>
struct NumberWeightGradientArgs {
  Places<T> places;
  Index dim, frequencies;
  bool of_numbers;
  const T* waves;  // (rows, all waves), or (rows, count): the numbers
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
  NumberLayers<T> layers;  // of linear ladders
  Index dim;
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
