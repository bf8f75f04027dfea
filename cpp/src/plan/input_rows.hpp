// Rows of an InputView, which a run reads in the type they are stored in.
#pragma once

#include <atomic>

#include <stoop/input.hpp>

#include "finite.hpp"
#include "graph.hpp"

namespace stoop {

template <class T>
bool is_finite_row(const InputView& x, Index i) {
  if (x.type == InputType::uint8) return true;
  if (x.type == InputType::float32) return all_finite_as<T>(static_cast<const float*>(x.row(i)), x.cols);
  return all_finite_as<T>(static_cast<const double*>(x.row(i)), x.cols);
}

// Sets `first` to `row` if that comes before it; kNone stands for no row.
inline void keep_first(std::atomic<Index>& first, Index row) {
  Index seen = first.load(std::memory_order_relaxed);
  while ((seen == kNone || row < seen) && !first.compare_exchange_weak(seen, row, std::memory_order_relaxed)) {
  }
}

}  // namespace stoop
