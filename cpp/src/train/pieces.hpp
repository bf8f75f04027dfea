// What a trainer keeps between the pieces of an update: the forward pass that waits for its backward pass, and the gradient
// that waits for its update.
#pragma once

#include <algorithm>
#include <span>

#include "../base/memory.hpp"
#include "../run/plan_cache.hpp"

namespace stoop::inline v0_1 {

template <class T>
struct Pieces {
  // A forward pass. Its values are in the arena of the executor.
  struct Forward {
    Executor<T>* executor = nullptr;  // null: none waits
    Index rows = 0;
    Index steps = 0;                // updates made before it
    const T* parameters = nullptr;  // their place
  };

  explicit Pieces(const Device<T>& device) : plans(device) {}

  // Has an entry for each mode of a forward pass and one for the update, so that none is dropped while others are used.
  PlanCache<T> plans;
  Forward waiting;
  AlignedBuffer<T> gradient;  // laid out as the parameters; made when it is first needed
  bool is_empty = true;       // nothing was added since the last update
  bool is_shown = false;      // the caller has its memory, so that it is zero where it is empty and may be written to
  Index rows = 0;             // of the backward passes since the last update

  // Makes the gradient zero.
  void clear() {
    is_empty = true;
    rows = 0;
    if (is_shown) std::ranges::fill(gradient.elements(), T(0));
  }

  // Returns the gradient in memory that the caller may keep.
  std::span<T> show(Index size) {
    gradient.reserve(size);
    if (!is_shown && is_empty) std::ranges::fill(gradient.elements(), T(0));
    is_shown = true;
    return gradient.elements();
  }
};

}  // namespace stoop
