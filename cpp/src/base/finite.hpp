// Tests whether numbers are finite, or not too large, in one pass of integer operations that the compiler vectorises.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// Tests the numbers as they are after rounding to T.
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

// The same, but NaN will do: tests that no number is infinite after rounding to T.
template <class T, class From>
bool none_infinite_as(const From* values, Index n) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr Bits kInfinity = std::bit_cast<Bits>(std::numeric_limits<T>::infinity()), kMagnitude = ~Bits(0) >> 1;
  Bits found = 0;
  for (Index j = 0; j < n; ++j) {
    found |= Bits((std::bit_cast<Bits>(static_cast<T>(values[j])) & kMagnitude) == kInfinity ? ~Bits(0) : Bits(0));
  }
  return found == 0;
}

template <class T>
bool all_finite(const T* values, Index n) {
  return all_finite_as<T>(values, n);
}

// Returns whether any number is NaN or has a magnitude above `limit`; limit > 0. It compares bits: those of positive
// numbers, taken as integers, are in the order of the numbers.
template <class T>
bool any_above(const T* values, Index n, T limit) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  constexpr Bits kMagnitude = std::numeric_limits<Bits>::max();
  const Bits most = std::bit_cast<Bits>(limit);
  Bits found = 0;
  for (Index j = 0; j < n; ++j) {
    found |= Bits((std::bit_cast<Bits>(values[j]) & kMagnitude) > most ? -1 : 0);
  }
  return found != 0;
}

}  // namespace stoop
