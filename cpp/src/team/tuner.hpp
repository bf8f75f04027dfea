// Measures, while training goes on, how many threads are fastest for a small step. A second core that is busy with
// something else can make two threads many times slower than one, and the barriers of a large team can take longer than its
// work. So all threads, half of them, and so on down to one are tried. The bits of the result do not depend on the team, so
// its size may change at any step.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <limits>

#include <stoop/runtime.hpp>
#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

class TeamTuner {
 public:
  // Allows at most `limit` threads for steps of `flops`. Long steps always get all of them.
  TeamTuner(int limit, double flops)
      : limit_(limit),
        tunes_(limit > 1 && flops < kLongStep),
        sizes_(static_cast<std::size_t>(std::bit_width(static_cast<unsigned>(std::max(limit, 1))))),
        probe_steps_(static_cast<Index>(std::clamp(kProbeFlops / std::max(flops, 1.0), 2.0, 8.0))) {}

  // Returns false where every segment gets the same team, whatever time it takes.
  bool tunes() const { return tunes_; }
  // The size of the team for the next segment, and the number of steps that the segment should have.
  int threads() const { return tunes_ ? limit_ >> candidate() : limit_; }
  Index steps() const {
    if (!tunes_) return std::numeric_limits<Index>::max();
    if (probing()) return probe_steps_;
    const double left = hold() - held_seconds_;
    return std::max(probe_steps_, static_cast<Index>(left / seconds_[candidate()]));
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
  static constexpr double kLongStep = 1e9;    // FLOPs; a step of milliseconds, beside which a barrier does not count
  static constexpr double kProbeFlops = 2e8;  // FLOPs of one measurement of one size
  static constexpr std::size_t kProbes = 3;   // measurements of each size; the fastest counts
  static constexpr double kHold = 0.25;       // seconds until the next measurements, and
  static constexpr double kHoldPerProbe = 100.0;  // at least this many times as long as the measurements took

  static constexpr std::size_t kMostSizes = std::bit_width(static_cast<unsigned>(kMostThreads));
  static constexpr std::array<double, kMostSizes> never() {
    std::array<double, kMostSizes> seconds{};
    seconds.fill(std::numeric_limits<double>::infinity());
    return seconds;
  }

  double hold() const { return std::max(kHold, kHoldPerProbe * probing_seconds_); }
  bool probing() const { return probe_ < kProbes * sizes_; }
  // The size that is measured or was the fastest, as the number of times that the limit is halved.
  std::size_t candidate() const {
    if (probing()) return probe_ % sizes_;
    return static_cast<std::size_t>(std::min_element(seconds_.begin(), seconds_.end()) - seconds_.begin());
  }
  void start_probing() {
    probe_ = 0;
    probing_seconds_ = held_seconds_ = 0.0;
    seconds_ = never();
  }

  int limit_ = 1;
  bool tunes_ = false;
  std::size_t sizes_ = 1;
  Index probe_steps_ = 8;
  std::size_t probe_ = 0;
  Index probed_steps_ = 0;     // steps of the current measurement
  double look_seconds_ = 0.0;  // seconds that they took
  double probing_seconds_ = 0.0;
  double held_seconds_ = 0.0;
  std::array<double, kMostSizes> seconds_ = never();
};

}  // namespace stoop
