// A copy of what an update changes, to go back to (docs/decisions/0008).
#pragma once

#include "../run/live_state.hpp"

namespace stoop {

// Arrays are passed over by up to `threads` threads: where they are large, one thread would take longer than a step.
template <class T>
class Rollback {
 public:
  void save(LiveState<T>& state, int threads);
  // Back to what was saved.
  void restore(LiveState<T>& state, int threads) const;

 private:
  AlignedBuffer<T> saved_;
  Index steps_ = 0;
};

// Whether the parameters and running statistics are still made of numbers.
template <class T>
bool is_intact(const LiveState<T>& state, int threads);

// Whether the optimizer has met a square beyond T: what is divided by its root stays as it is for good.
template <class T>
bool has_infinite_optimizer(const LiveState<T>& state, int threads);

}  // namespace stoop
