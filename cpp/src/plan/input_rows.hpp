// Rows of an InputView, which a run reads in the type they are stored in.
#pragma once

#include <stoop/input.hpp>

#include "finite.hpp"

namespace stoop {

template <class T>
bool is_finite_row(const InputView& x, Index i) {
  if (x.type == InputType::uint8) return true;
  if (x.type == InputType::float32) return all_finite_as<T>(static_cast<const float*>(x.row(i)), x.cols);
  return all_finite_as<T>(static_cast<const double*>(x.row(i)), x.cols);
}

}  // namespace stoop
