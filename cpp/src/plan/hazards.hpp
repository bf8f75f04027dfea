// Finds where barriers must stand: before a step that reads or overwrites what another thread's share of an earlier step
// has written or read.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "plan.hpp"

namespace stoop::inline v0_1 {

// The reach of a step into a buffer: the rows or columns of its own share, or beyond it.
enum class Reach { rows, columns, all };

struct Access {
  int buffer;
  Reach reach;
  bool write;
};

// Adds the buffers that the step touches.
inline void add_accesses(const Step& step, std::vector<Access>& accesses) {
  const Reach own = step.cut == Cut::rows ? Reach::rows : Reach::columns;
  for (const Touch& touch : rule_of(step.kind).touches()) {
    const int buffer = step.*touch.operand;
    if (buffer == kNone) continue;
    const bool beyond = touch.extent == (step.cut == Cut::rows ? Extent::whole_columns : Extent::whole_rows);
    accesses.push_back({buffer, beyond ? Reach::all : own, touch.use != Use::read});
  }
}

// Remembers by buffer what was touched since the last barrier, since very many steps may follow each other without one.
class Hazards {
 public:
  // A barrier stands here for another reason.
  void note_barrier() { ++barriers_; }

  // Returns whether a barrier must stand before a step with these accesses. If so, the barrier counts as placed.
  bool needs_barrier(const std::vector<Access>& accesses) {
    const bool barrier = conflicts(accesses);
    if (barrier) ++barriers_;
    for (const Access& now : accesses) {
      const auto buffer = static_cast<std::size_t>(now.buffer);
      if (touched_.size() <= buffer) touched_.resize(buffer + 1);
      if (touched_[buffer].barriers != barriers_) touched_[buffer] = {barriers_, {}};
      touched_[buffer].by_reach[static_cast<std::size_t>(now.reach)] |= now.write ? kWritten : kRead;
    }
    return barrier;
  }

 private:
  static constexpr unsigned char kRead = 1, kWritten = 2;
  struct Touched {
    int barriers = 0;  // number of barriers before the access
    std::array<unsigned char, 3> by_reach{};
  };

  bool conflicts(const std::vector<Access>& accesses) const {
    for (const Access& now : accesses) {
      const auto buffer = static_cast<std::size_t>(now.buffer);
      if (buffer >= touched_.size() || touched_[buffer].barriers != barriers_) continue;
      for (std::size_t reach = 0; reach < touched_[buffer].by_reach.size(); ++reach) {
        const bool beyond = now.reach == Reach::all || static_cast<std::size_t>(now.reach) != reach;
        const unsigned char before = touched_[buffer].by_reach[reach];
        if (beyond && (now.write ? before != 0 : (before & kWritten) != 0)) return true;
      }
    }
    return false;
  }

  std::vector<Touched> touched_;  // by buffer
  int barriers_ = 0;
};

}  // namespace stoop
