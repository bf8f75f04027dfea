// Whether numbers are finite, in one pass of integer operations that the compiler vectorises.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <stoop/types.hpp>

namespace stoop {

// As numbers of T, to which they are rounded.
template <class T, class From>
bool all_finite_as(const From* values, Index n) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr Bits kExponent = std::bit_cast<Bits>(std::numeric_limits<T>::infinity());
  Bits found = 0;  // as wide as the numbers: a bool would be narrowed at every element
  for (Index j = 0; j < n; ++j) {
    found |= Bits((std::bit_cast<Bits>(static_cast<T>(values[j])) & kExponent) == kExponent ? ~Bits(0) : Bits(0));
  }
  return found == 0;
}

template <class T>
bool all_finite(const T* values, Index n) {
  return all_finite_as<T>(values, n);
}

}  // namespace stoop
