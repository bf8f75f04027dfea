// Numbers of every size, and how far a result is from the standard library's one precision up: float against double,
// double against long double.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

namespace stoop {

template <class T>
using Wide = std::conditional_t<sizeof(T) == 4, double, long double>;
template <class T>
using Limits = std::numeric_limits<T>;

template <class T>
inline constexpr bool kWideIsWider = Limits<Wide<T>>::digits > Limits<T>::digits + 8;

// The distance in units of the last place that T has at the exact value; both finite, exact in the normal range.
template <class T>
double ulps_apart(T value, Wide<T> exact) {
  int exponent = 0;
  std::frexp(exact, &exponent);
  return static_cast<double>(std::abs(std::ldexp(static_cast<Wide<T>>(value) - exact, Limits<T>::digits - exponent)));
}

// Below the normal range only the order of magnitude is promised, since numbers may be flushed to zero.
template <class T>
bool is_normal(Wide<T> exact) {
  return std::abs(exact) >= Limits<T>::min() && std::abs(exact) <= Limits<T>::max();
}

inline std::uint64_t scramble(std::uint64_t x) {  // splitmix64
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// About 2^20 finite numbers, as many of each sign and binary exponent, and 2^19 evenly between low and high.
template <class T>
std::vector<T> samples(double low, double high) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr int kMantissa = Limits<T>::digits - 1, kWidth = static_cast<int>(sizeof(T)) * 8;
  constexpr Bits kBinades = Bits{1} << (kWidth - kMantissa), kEach = (Bits{1} << 20) / kBinades;
  std::vector<T> x;
  for (Bits binade = 0; binade < kBinades; ++binade) {
    for (Bits i = 0; i < kEach; ++i) {
      const Bits mantissa = static_cast<Bits>(scramble(binade * kEach + i)) & ((Bits{1} << kMantissa) - 1);
      const Bits bits = binade << kMantissa | (i == 0 ? 0 : i == 1 ? (Bits{1} << kMantissa) - 1 : mantissa);
      T value;
      std::memcpy(&value, &bits, sizeof value);
      if (std::isfinite(value)) x.push_back(value);
    }
  }
  constexpr int kEven = 1 << 19;
  for (int i = 0; i <= kEven; ++i) x.push_back(static_cast<T>(low + (high - low) * i / kEven));
  return x;
}

}  // namespace stoop
