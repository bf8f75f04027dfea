// Optimizers that divide by the root of squared gradients: a square beyond the element type would make that root
// infinite, and the parameter would never move again, without a sign of it.
#pragma once

#include <cmath>
#include <limits>

#include <stoop/optimizers.hpp>

namespace stoop {

// No element of a gradient of this norm, or of thousands of millions of them added up, has a square beyond T.
template <class T>
constexpr double kSteep = sizeof(T) == 4 ? 1e13 : 1e148;

inline bool squares_gradients(const Optimizer& optimizer) {
  return std::visit([](const auto& alternative) { return requires { alternative.eps; }; }, optimizer);
}

// Of a parameter: its gradient, times both scales, and the squares that AdaGrad has added up so far.
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
  const bool adds_up = std::holds_alternative<AdaGrad>(optimizer) && gradient.accumulated != nullptr;
  for (Index j = 0; j < gradient.n; ++j) {
    const T g = (gradient.grad[j] * gradient.scale) * gradient.scale_rest;
    if (std::isinf(g * g + (adds_up ? gradient.accumulated[j] : T(0)))) return true;
  }
  return false;
}

}  // namespace stoop
