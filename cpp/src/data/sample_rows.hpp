// Samples as a run reads them, by views of what the caller has.
#pragma once

#include <cstdint>

#include <stoop/input.hpp>
#include <stoop/types.hpp>

namespace stoop {

// The same view with its stride written out, as all that reads rows wants it.
template <class View>
View with_stride(View view) {
  view.stride = view.row_stride();
  return view;
}

// The samples a run takes, in `order` (null: as they lie).
template <class T>
struct SampleRows {
  InputView x;
  T scale = T(1), shift = T(0);           // of x
  const std::int32_t* classes = nullptr;  // (x.rows), or null: the targets are `values`
  MatrixView<const T> values;             // (x.rows, outputs)
  const double* weights = nullptr;        // (x.rows), the largest about 1, or null: all are 1
  const std::int32_t* order = nullptr;    // (x.rows)

  Index sample(Index i) const { return order == nullptr ? i : order[i]; }
};

}  // namespace stoop
