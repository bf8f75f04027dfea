// Rows of an InputView, which a run reads in the type they are stored in.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <stoop/input.hpp>

namespace stoop {

// Whether all are finite as numbers of T: one pass of integer operations, which the compiler vectorises.
template <class T, class From>
bool all_finite(const From* row, Index cols) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr Bits kExponent = std::bit_cast<Bits>(std::numeric_limits<T>::infinity());
  bool found = false;
  for (Index j = 0; j < cols; ++j) found |= (std::bit_cast<Bits>(static_cast<T>(row[j])) & kExponent) == kExponent;
  return !found;
}

template <class T>
bool is_finite_row(const InputView& x, Index i) {
  if (x.type == InputType::uint8) return true;
  if (x.type == InputType::float32) return all_finite<T>(static_cast<const float*>(x.row(i)), x.cols);
  return all_finite<T>(static_cast<const double*>(x.row(i)), x.cols);
}

}  // namespace stoop
