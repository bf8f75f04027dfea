// How a team ends a run within an update. Share 0, which the thread that made the call works on, asks the poller at any
// time; from its no on work is only skipped, and all shares end in the same phase: none waits for another.
#pragma once

#include <atomic>
#include <limits>

#include "poller.hpp"
#include "team.hpp"

namespace stoop {

class Halt {
 public:
  // Null: nobody is asked. `mode` is that of the calling thread.
  Halt(Poller* poller, const FlushToZero& mode) : poller_(poller), mode_(mode) {}

  bool may_come() const { return poller_ != nullptr; }
  bool has_come() const { return told_.load(std::memory_order_relaxed); }

  // Whether work is worth doing.
  bool goes_on(int share) {
    if (share == 0 && !has_come() && poller_->is_due()) {
      const FlushToZero::Paused paused(mode_);  // what is called computes as its caller did
      if (!poller_->keep_going(0)) told_.store(true, std::memory_order_relaxed);
    }
    return !has_come();
  }
  // At the end of what a share does in a phase, and at the beginning of the next. A number, because a later word of share 0
  // must not reach those who have not yet begun this phase.
  void before_meeting(int share, Index phase) {
    if (share == 0 && !goes_on(share)) last_phase_.store(phase, std::memory_order_relaxed);
  }
  bool ends_before(Index phase) const { return phase > last_phase_.load(std::memory_order_relaxed); }

 private:
  Poller* const poller_;
  const FlushToZero& mode_;
  std::atomic<bool> told_{false};
  std::atomic<Index> last_phase_{std::numeric_limits<Index>::max()};
};

}  // namespace stoop
