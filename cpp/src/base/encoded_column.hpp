// What a Columns layer makes of a column of X, and the places that a row of X becomes before that: for each column a number and
// a whole number, from which the encoded row follows. Kernels read both, so they are bare aggregates.
//
// A row of `places` has the values of all columns, then their indices, as int32 from element `cols` on. Where columns are linear
// ladders, the scaled numbers follow from element 2*cols on.
#pragma once

#include <stdint.h>

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// What the encoded columns [first, first + width) of a column hold, by its value and index:
enum class ColumnKind : int32_t {
  ladder,         // 1 before the index, the value there, 0 after it: a piecewise-linear encoding, or the number itself
  indicator,      // the value at the index, 1 or 0, and 0 elsewhere
  embedding,      // row `index` of the table
  periodic,       // ReLU(linear(cos, sin)) of the value
  linear_ladder,  // linear(the scaled number, the ladder of value and index)
};

struct EncodedColumn {
  ColumnKind kind;
  int32_t codes;       // known codes of a category, else 0
  int32_t bins;        // of a piecewise-linear encoding, else 0
  int32_t is_clipped;  // 1: the number is clipped, that of a linear ladder beside its bins
  Index first;         // encoded columns
  Index width;
  // With a table its first row there, with bins its first bin in their buffers; with a layer of its own the first row of its weight.
  Index start;
  Index layer;  // its place among the columns with a layer of their own: periodic ones or linear ladders
};

// Elements of a row of places.
[[gnu::always_inline]] constexpr Index place_width(Index cols, bool has_numbers = false) {
  return (has_numbers ? 3 : 2) * cols;
}

template <class T>
[[gnu::always_inline]] inline const int32_t* place_indices(const T* row, Index cols) {
  return reinterpret_cast<const int32_t*>(row + cols);
}
template <class T>
[[gnu::always_inline]] inline int32_t* place_indices(T* row, Index cols) {
  return reinterpret_cast<int32_t*>(row + cols);
}

}  // namespace stoop
