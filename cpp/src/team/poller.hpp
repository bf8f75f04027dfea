// Asks a callback from time to time whether a long call should go on.
#pragma once

#include <chrono>
#include <functional>
#include <utility>

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// Asks a callback every 50 ms whether to go on. Only the thread that made the call may use it.
class Poller {
 public:
  explicit Poller(std::function<bool(Index)> ask) : ask_(std::move(ask)) {}
  explicit Poller(const std::function<bool()>& ask) : ask_([&ask](Index) { return ask(); }) {}

  // The time runs from the first call on, so a Poller that is never asked does not read the clock.
  bool is_due() {
    const Clock::time_point now = Clock::now();
    if (last_ == Clock::time_point{}) last_ = now;
    return now - last_ >= std::chrono::milliseconds(50);
  }
  bool keep_going(Index samples_done) {
    last_ = Clock::now();
    return ask_(samples_done);
  }
  // Asks the callback if 50 ms have passed.
  bool goes_on(Index samples_done = 0) { return !is_due() || keep_going(samples_done); }

 private:
  using Clock = std::chrono::steady_clock;
  std::function<bool(Index)> ask_;
  Clock::time_point last_{};
};

}  // namespace stoop
