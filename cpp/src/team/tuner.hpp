// Measures, while training goes on, how many threads are fastest for a small step. A second core that is busy with
// something else can make two threads many times slower than one. The bits of the result do not depend on the team, so its
// size may change at any step.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>

#include <stoop/types.hpp>

namespace stoop {

class TeamTuner {
 public:
  // Allows at most `limit` threads for steps of `flops`. Long steps always get all of them.
  TeamTuner(int limit, double flops)
      : limit_(limit),
        tunes_(limit > 1 && flops < kLongStep),
        probe_steps_(static_cast<Index>(std::clamp(kProbeFlops / std::max(flops, 1.0), 2.0, 8.0))) {}

  // Returns false where every segment gets the same team, whatever time it takes.
  bool tunes() const { return tunes_; }
  // The size of the team for the next segment, and the number of steps that the segment should have.
  int threads() const { return tunes_ && candidate() == kAlone ? 1 : limit_; }
  Index steps() const {
    if (!tunes_) return std::numeric_limits<Index>::max();
    if (probing()) return probe_steps_;
    const double left = hold() - held_seconds_;
    return std::max(probe_steps_, static_cast<Index>(left / std::min(seconds_[kTeam], seconds_[kAlone])));
  }

  // `used` is the number of threads that the team had, which may be smaller for a while (Seclusion in crew.hpp).
  void record(double seconds, Index steps, int used) {
    if (!tunes_ || steps == 0) return;
    if (probing() && used < threads()) return;  // this segment says nothing about a team of the full size
    if (!probing()) {
      held_seconds_ += seconds;  // this may go over several epochs
      if (held_seconds_ >= hold()) start_probing();
      return;
    }
    probing_seconds_ += seconds;
    look_seconds_ += seconds;
    probed_steps_ += steps;
    if (probed_steps_ < probe_steps_) return;
    double& best = seconds_[candidate()];
    best = std::min(best, look_seconds_ / static_cast<double>(probed_steps_));
    look_seconds_ = 0.0;
    probed_steps_ = 0;
    ++probe_;
  }

 private:
  static constexpr std::size_t kTeam = 0, kAlone = 1;
  static constexpr double kLongStep = 1e9;    // FLOPs; a step of milliseconds, beside which a barrier does not count
  static constexpr double kProbeFlops = 2e8;  // FLOPs of one measurement of one size
  static constexpr int kProbes = 6;           // three measurements of each size; the fastest counts
  static constexpr double kHold = 0.25;       // seconds until the next measurements, and
  static constexpr double kHoldPerProbe = 100.0;  // at least this many times as long as the measurements took

  double hold() const { return std::max(kHold, kHoldPerProbe * probing_seconds_); }
  bool probing() const { return probe_ < kProbes; }
  std::size_t candidate() const {
    if (probing()) return probe_ % 2 == 0 ? kTeam : kAlone;
    return seconds_[kAlone] < seconds_[kTeam] ? kAlone : kTeam;
  }
  void start_probing() {
    probe_ = 0;
    probing_seconds_ = held_seconds_ = 0.0;
    seconds_.fill(std::numeric_limits<double>::infinity());
  }

  int limit_ = 1;
  bool tunes_ = false;
  Index probe_steps_ = 8;
  int probe_ = 0;
  Index probed_steps_ = 0;     // steps of the current measurement
  double look_seconds_ = 0.0;  // seconds that they took
  double probing_seconds_ = 0.0;
  double held_seconds_ = 0.0;
  std::array<double, 2> seconds_{std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
};

}  // namespace stoop
