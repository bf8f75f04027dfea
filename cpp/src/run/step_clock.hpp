// Measures where the time of a walk goes, by step of the plan. The thread that made the call measures its own share; the
// steps of the others lie beside it, and the time for which it waits for them is counted apart.
#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

namespace stoop::inline v0_1 {

class StepClock {
 public:
  using Clock = std::chrono::steady_clock;

  explicit StepClock(std::size_t steps) : steps_(steps) {}

  // Begins a measurement, from which on all time counts.
  void start() {
    steps_.assign(steps_.size(), {});
    waited_ = {};
    last_ = Clock::now();
  }
  // The walk goes on after a meeting, or with a batch: the time since the last step was waiting.
  void resume(int shares) noexcept {
    shares_ = shares;
    add_to(waited_);
  }
  // The walk has done its share of this step.
  void stamp(std::size_t step) noexcept { add_to(steps_[step]); }

  // Seconds since `start`, without those of the clock itself.
  double seconds(std::size_t step) const { return steps_[step].seconds(); }
  double waited() const { return waited_.seconds(); }
  int shares() const { return shares_; }

  // Returns how long it takes to look at the clock.
  static double look_seconds() {
    constexpr int kLooks = 2000;
    const Clock::time_point start = Clock::now();
    Clock::time_point now = start;
    for (int i = 0; i < kLooks; ++i) now = Clock::now();
    return std::chrono::duration<double>(now - start).count() / kLooks;
  }

 private:
  struct Sum {
    Clock::duration time{};
    long looks = 0;
    double seconds() const {
      static const double look = look_seconds();
      const double net = std::chrono::duration<double>(time).count() - static_cast<double>(looks) * look;
      return net > 0.0 ? net : 0.0;
    }
  };

  void add_to(Sum& sum) noexcept {
    const Clock::time_point now = Clock::now();
    sum.time += now - last_;
    ++sum.looks;
    last_ = now;
  }

  std::vector<Sum> steps_;
  Sum waited_;
  Clock::time_point last_{};
  int shares_ = 1;
};

}  // namespace stoop
