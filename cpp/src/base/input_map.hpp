// What happens to a number of X before the first layer sees it: the scalar scale and shift of a model, or the statistics of
// its Normalization. It is applied as rows are gathered. Kernels read it, so it is a bare aggregate.
#pragma once

#include <stoop/types.hpp>

namespace stoop {

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
};

template <class T>
constexpr bool is_identity(const InputMap<T>& map) {
  return map.column_scale == nullptr && map.scale == T(1) && map.shift == T(0);
}

}  // namespace stoop
