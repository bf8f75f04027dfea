// Whether numbers are finite, in one pass of integer operations that the compiler vectorises.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <stoop/types.hpp>

namespace stoop {

template <class T>
bool all_finite(const T* values, Index n) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr Bits kExponent = std::bit_cast<Bits>(std::numeric_limits<T>::infinity());
  bool found = false;
  for (Index j = 0; j < n; ++j) found |= (std::bit_cast<Bits>(values[j]) & kExponent) == kExponent;
  return !found;
}

}  // namespace stoop
