// Keeps a copy of what an epoch starts from, and puts it back (docs/decisions/0008).
#pragma once

#include "../run/live_state.hpp"

namespace stoop::inline v0_1 {

// Up to `threads` threads share the passes over arrays, since for large arrays one thread would take longer than a step.
template <class T>
class Rollback {
 public:
  // Copies parameters, running statistics and average, and what the optimizer holds unless that is larger than
  // kMostOptimizerBytes: copies of it would take the most memory of all that training of a large network needs.
  void save(LiveState<T>& state, int threads);
  // Puts the copy back, and returns whether there is one. Where the optimizer was not copied, it begins anew: what it holds
  // becomes zero.
  bool restore(LiveState<T>& state, int threads) const;
  // Frees the memory. There is no copy until the next save.
  void drop();

  static constexpr Index kMostOptimizerBytes = Index{64} << 20;

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
