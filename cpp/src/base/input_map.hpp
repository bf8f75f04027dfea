// What happens to a number of X before the first layer sees it: the scalar scale and shift of a model, or the statistics of
// its Normalization. It is applied as rows are gathered. Kernels read it, so it is a bare aggregate.
#pragma once

#include <stoop/types.hpp>

#include "encoded_column.hpp"

namespace stoop::inline v0_1 {

// Without a Normalization, x becomes x * scale + shift, rounded once. With one, it becomes z = (x - shift - rest) * scale
// of its column, and z / sqrt(1 + (z / clip)^2) where there is a clip. The rest is what the element type cuts off the
// shift, in two parts; it counts only while it is a rest: at most 2^-24 of the shift.
template <class T>
struct InputMap {
  T scale = T(1), shift = T(0);
  const T* column_scale = nullptr;  // (cols); null: there is no Normalization
  const T* column_shift = nullptr;  // (cols)
  const T* column_rest = nullptr;   // (2, cols)
  const T* missing = nullptr;       // (cols): the z of a NaN; null: there are none
  T clip = T(0);                    // 0: none
  // With a Columns layer a row becomes its places (encoded_column.hpp). Numbers are mapped as above, and clipped where their
  // column says so; bin k of a column is that of the numbers from bin_left[k] on, and bin_scale[k] is 1 / its width.
  const EncodedColumn* columns = nullptr;  // (cols); null: there is none
  const T* bin_left = nullptr;             // (all bins)
  const T* bin_scale = nullptr;            // (all bins)
  bool has_numbers = false;                // places have the scaled numbers too
};

// Returns the elements of a row that the map gives.
template <class T>
constexpr Index mapped_width(const InputMap<T>& map, Index cols) {
  return map.columns == nullptr ? cols : place_width(cols, map.has_numbers);
}

template <class T>
constexpr bool is_identity(const InputMap<T>& map) {
  return map.column_scale == nullptr && map.scale == T(1) && map.shift == T(0);
}

}  // namespace stoop
