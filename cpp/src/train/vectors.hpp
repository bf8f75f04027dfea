// Operations of the full-batch optimizers on whole vectors. Sums are taken in float64, in an order that depends on n alone.
#pragma once

#include <cmath>
#include <span>

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

template <class T>
double dot(std::span<const T> a, std::span<const T> b) {
  constexpr std::size_t kParts = 8;  // chains of additions that do not wait for each other
  double sums[kParts] = {};
  const std::size_t whole = a.size() / kParts * kParts;
  for (std::size_t i = 0; i < whole; i += kParts) {
    for (std::size_t k = 0; k < kParts; ++k) sums[k] += static_cast<double>(a[i + k]) * static_cast<double>(b[i + k]);
  }
  double total = 0.0;
  for (const double sum : sums) total += sum;
  for (std::size_t i = whole; i < a.size(); ++i) total += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return total;
}

// It also works if double does not hold the squares.
template <class T>
double norm(std::span<const T> a) {
  constexpr double kLeast = 0x1p-952;
  const double squares = dot(a, a);
  if (squares >= kLeast && std::isfinite(squares)) return std::sqrt(squares);
  double size = 0.0;
  for (const T value : a) size = std::hypot(size, static_cast<double>(value));
  return size;
}

// y += factor * x.
template <class T>
void add_scaled(std::span<T> y, double factor, std::span<const T> x) {
  const T f = static_cast<T>(factor);
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += f * x[i];
}

template <class T>
void scale(std::span<T> y, double factor) {
  const T f = static_cast<T>(factor);
  for (T& value : y) value *= f;
}

}  // namespace stoop
