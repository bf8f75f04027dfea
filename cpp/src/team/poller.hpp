// Asks a callback now and then whether a long call is to go on.
#pragma once

#include <chrono>
#include <functional>
#include <utility>

#include <stoop/types.hpp>

namespace stoop {

// Asks a callback whether to go on, which is due every 50 ms. Of the thread that made the call.
class Poller {
 public:
  explicit Poller(std::function<bool(Index)> ask) : ask_(std::move(ask)) {}
  explicit Poller(const std::function<bool()>& ask) : ask_([&ask](Index) { return ask(); }) {}

  // The time runs from the first call on: who makes a Poller and needs none has not looked at the clock.
  bool is_due() {
    const Clock::time_point now = Clock::now();
    if (last_ == Clock::time_point{}) last_ = now;
    return now - last_ >= std::chrono::milliseconds(50);
  }
  bool keep_going(Index samples_done) {
    last_ = Clock::now();
    return ask_(samples_done);
  }
  // Asks if that is due.
  bool goes_on(Index samples_done = 0) { return !is_due() || keep_going(samples_done); }

 private:
  using Clock = std::chrono::steady_clock;
  std::function<bool(Index)> ask_;
  Clock::time_point last_{};
};

}  // namespace stoop
