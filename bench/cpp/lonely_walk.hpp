// Walks a plan as a team of any size would, on one thread: one share after the other in each phase, with a clock. The longest
// share of each phase is what a team with a core for each share would wait for.
#pragma once

#include <chrono>
#include <cstddef>
#include <limits>
#include <vector>

#include "run/team_executor.hpp"
#include "run/team_run.hpp"

namespace stoop {

template <class T>
class LonelyWalk {
 public:
  // `run` has whole batches, and each makes an update.
  LonelyWalk(TeamExecutor<T>& executor, const TrainingRun<T>& run, int shares)
      : executor_(executor), run_(run), shares_(shares) {
    for (const Step& step : executor.plan().steps) phases_ += step.barrier && !step.taken ? 1 : 0;
    seconds_.assign(phases_, std::vector<double>(static_cast<std::size_t>(shares), kNever));
    executor.reserve_threads(shares, nullptr);
    executor.loss_memory_.reserve(run.data);
  }

  void pass() {
    const FlushToZero mode;
    executor_.deal_.deal_to(shares_);
    TeamRun<T> work(executor_, run_, {run_.data.x.rows, 1, nullptr}, Cursor{}, shares_);
    const auto walked = phases_ * static_cast<std::size_t>(run_.data.x.rows / run_.batch);
    bool more = true;
    for (std::size_t phase = 0; more; ++phase) {
      for (int share = 0; share < shares_; ++share) {
        const Clock::time_point start = Clock::now();
        more = work.run(share, static_cast<Index>(phase), 0);
        const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
        double& fastest = seconds_[phase % phases_][static_cast<std::size_t>(share)];
        if (phase < walked) fastest = std::min(fastest, std::max(seconds - look_, 0.0));
      }
    }
  }

  // Returns the times of the fastest batch, by phase and by share.
  const std::vector<std::vector<double>>& seconds() const { return seconds_; }

  // Returns the seconds of a batch in a pass by a team of so many threads.
  static double team_pass(TeamExecutor<T>& executor, TrainingRun<T> run, int threads) {
    run.num_threads = threads;
    Cursor cursor;
    const Clock::time_point start = Clock::now();
    executor.run(run, cursor, run.data.x.rows);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (executor.threads_used_ != threads) return kNever;
    return seconds * static_cast<double>(run.batch) / static_cast<double>(run.data.x.rows);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr double kNever = std::numeric_limits<double>::infinity();

  TeamExecutor<T>& executor_;
  const TrainingRun<T>& run_;
  const int shares_;
  std::size_t phases_ = 1;
  const double look_ = StepClock::look_seconds();
  std::vector<std::vector<double>> seconds_;
};

}  // namespace stoop
