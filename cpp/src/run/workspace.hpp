// Memory for predictions.
#pragma once

#include <cstddef>
#include <utility>

#include "../base/memory.hpp"

namespace stoop::inline v0_1 {

// Memory that grows to the needs of the largest model and stays with its thread, so that a call for one row allocates
// nothing. A call within a call, from a signal handler or a callback that predicts, makes its own.
class Workspace {
 public:
  explicit Workspace(Index bytes) : memory_(std::exchange(kept_, {})) { memory_.reserve(bytes); }
  ~Workspace() {
    if (kept_.size() < memory_.size()) kept_ = std::move(memory_);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  std::byte* data() { return memory_.data(); }

 private:
  static inline thread_local AlignedBuffer<std::byte> kept_;
  AlignedBuffer<std::byte> memory_;
};

}  // namespace stoop
