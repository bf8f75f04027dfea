// Sums of squares of gradients, also if the element type or double does not hold the squares.
// Optimizers that divide by the root of squared gradients need care: a square beyond the element type would make that root
// infinite, and the parameter would silently never change again.
#pragma once

#include <cmath>
#include <span>

#include "../spec/optimizers.hpp"

namespace stoop::inline v0_1 {

// Returns the root of the sum of all squares, from the sums of blocks. For blocks whose sum double does not hold, norms[i]
// is the norm of the block.
inline double norm_of_blocks(std::span<const double> sums, std::span<const double> norms) {
  constexpr double kLeast = 0x1p-952;  // of a sum none of whose squares are lost
  const auto is_held = [](double squares) { return squares >= kLeast && std::isfinite(squares); };
  double total = 0.0;
  for (const double sum : sums) total += sum;
  if (is_held(total)) return std::sqrt(total);
  double norm = 0.0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    norm = std::hypot(norm, is_held(sums[i]) ? std::sqrt(sums[i]) : norms[i]);
  }
  return norm;
}

// Below this norm no element of a gradient has a square beyond T, even if thousands of millions of squares are added.
template <class T>
constexpr double kSteep = sizeof(T) == 4 ? 1e13 : 1e148;

inline bool squares_gradients(const Optimizer& optimizer) {
  return std::visit([]<class Op>(const Op&) { return Spec<Op>::kSquares != Squares::none; }, optimizer);
}

// The gradient of a parameter, times both scales, and the squares that were added up so far.
template <class T>
struct SquaredGradient {
  const T* grad;         // (n)
  const T* accumulated;  // (n), the optimizer's first state, or null
  Index n;
  T scale, scale_rest;
};

template <class T>
bool overflows_squares(const Optimizer& optimizer, const SquaredGradient<T>& gradient) {
  if (!squares_gradients(optimizer)) return false;
  const auto add_up = []<class Op>(const Op&) { return Spec<Op>::kSquares == Squares::added_up; };
  const bool adds_up = std::visit(add_up, optimizer) && gradient.accumulated != nullptr;
  for (Index j = 0; j < gradient.n; ++j) {
    const T g = (gradient.grad[j] * gradient.scale) * gradient.scale_rest;
    if (std::isinf(g * g + (adds_up ? gradient.accumulated[j] : T(0)))) return true;
  }
  return false;
}

}  // namespace stoop
