// The samples and targets in the form that a run reads: views of the caller's arrays.
#pragma once

#include <cstdint>

#include <stoop/input.hpp>
#include <stoop/types.hpp>

#include "../base/input_map.hpp"

namespace stoop::inline v0_1 {

// Returns the same view with its stride written out, which code that reads rows needs.
template <class View>
View with_stride(View view) {
  view.stride = view.row_stride();
  return view;
}

// The samples a run takes, in `order` (null: as they lie).
template <class T>
struct SampleRows {
  InputView x;
  InputMap<T> map;                        // from x to the first layer
  const std::int32_t* classes = nullptr;  // (x.rows), or null: the targets are `values`
  MatrixView<const T> values;             // (x.rows, outputs)
  const double* weights = nullptr;        // (x.rows), the largest about 1, or null: all are 1
  // (x.rows, columns of targets) in the same unit, or without memory. If they are given, `weights` are their means.
  MatrixView<const T> element_weights;
  const std::int32_t* order = nullptr;  // (x.rows)
  Index stored = 0;                     // the rows that `x` has in memory, where `order` selects from them, else 0

  Index sample(Index i) const { return order == nullptr ? i : order[i]; }
};

}  // namespace stoop
