// How a team ends a run within an update. The thread that made the call, number 0, asks the poller at any time; from its
// no on work is only skipped, and the team leaves at one barrier, which is the same for all: none waits for another.
#pragma once

#include <atomic>
#include <limits>

#include "execute.hpp"
#include "team.hpp"

namespace stoop {

// What a thread of a team carries through a run.
struct Member {
  int thread = 0;
  int team = 1;
  const FlushToZero& mode;
  Index barriers = 0;  // passed so far
};

class Halt {
 public:
  // Null: nobody is asked.
  explicit Halt(Poller* poller) : poller_(poller) {}

  bool may_come() const { return poller_ != nullptr; }
  bool has_come() const { return told_.load(std::memory_order_relaxed); }

  // Whether work is worth doing.
  bool goes_on(const Member& member) {
    if (member.thread == 0 && !has_come() && poller_->is_due()) {
      const FlushToZero::Paused paused(member.mode);  // what is called computes as its caller did
      if (!poller_->keep_going(0)) told_.store(true, std::memory_order_relaxed);
    }
    return !has_come();
  }
  // Before the next barrier of a member, and after it. A number keeps a later word of thread 0 from those who are still
  // there.
  void before_barrier(const Member& member) {
    if (member.thread == 0 && !goes_on(member)) last_barrier_.store(member.barriers + 1, std::memory_order_relaxed);
  }
  bool ends_after_barrier(const Member& member) const {
    return member.barriers >= last_barrier_.load(std::memory_order_relaxed);
  }

 private:
  Poller* const poller_;
  std::atomic<bool> told_{false};
  std::atomic<Index> last_barrier_{std::numeric_limits<Index>::max()};
};

}  // namespace stoop
