// Keeps a copy of what an epoch starts from, and puts it back (docs/decisions/0008).
#pragma once

#include "../run/live_state.hpp"

namespace stoop {

// Up to `threads` threads share the passes over arrays, since for large arrays one thread would take longer than a step.
template <class T>
class Rollback {
 public:
  void save(LiveState<T>& state, int threads);
  void restore(LiveState<T>& state, int threads) const;

 private:
  AlignedBuffer<T> saved_;
  Index steps_ = 0;
};

// Returns whether all parameters and running statistics are finite.
template <class T>
bool is_intact(const LiveState<T>& state, int threads);

// Returns whether the optimizer has met a square beyond T. A parameter whose update is divided by its root would never
// change again.
template <class T>
bool has_infinite_optimizer(const LiveState<T>& state, int threads);

}  // namespace stoop
