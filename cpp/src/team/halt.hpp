// Ends a run of a team within an update. Share 0, which the calling thread works on, may ask the poller at any time. Once
// the poller has returned false, all shares skip their work and end in the same phase, so that none waits for another.
#pragma once

#include <atomic>
#include <limits>

#include "poller.hpp"
#include "team.hpp"

namespace stoop::inline v0_1 {

class Halt {
 public:
  // If the poller is null, nobody is asked. `mode` is the floating-point mode of the calling thread.
  Halt(Poller* poller, const FlushToZero& mode) : poller_(poller), mode_(mode) {}

  bool may_come() const { return poller_ != nullptr; }
  bool has_come() const { return told_.load(std::memory_order_relaxed); }

  // Returns whether the work still counts.
  bool goes_on(int share) {
    if (share == 0 && !has_come() && poller_->is_due()) {
      const FlushToZero::Paused paused(mode_);  // the callback computes in the mode of the calling thread
      if (!poller_->keep_going(0)) told_.store(true, std::memory_order_relaxed);
    }
    return !has_come();
  }
  // A share calls these at its end in a phase and at its beginning in the next. The end is kept as the number of a phase,
  // because a later decision of share 0 must not reach shares that have not begun this phase yet.
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
