// The executor that works with a team of threads and tunes its size.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "../team/tuner.hpp"
#include "batch_loss.hpp"
#include "deal.hpp"
#include "executor.hpp"
#include "steps_context.hpp"

namespace stoop::inline v0_1 {

// A part of a run, for which the team has one size.
struct Segment {
  Index last = 0;  // the segment ends with the update that has the sample before this one
  int threads = 1;
  Poller* poller = nullptr;
};

template <class T>
class TeamExecutor final : public Executor<T> {
 public:
  TeamExecutor(Plan plan, const OpTable<T>& ops);
  ~TeamExecutor() override;

  const Plan& plan() const override { return plan_; }

  // What a run of `apply` finds in the gradient before its second pass, by block of the parameters: the parts of the penalty, and
  // the sums of squares in two forms.
  std::array<std::span<double>, 3> block_sums() { return {sums_.penalties, sums_.squares, sums_.norms}; }

  RunEnd run(const TrainingRun<T>& run, Cursor& cursor, Index until) override;

 private:
  template <class>
  friend class TeamRun;
  template <class>
  friend class LonelyWalk;  // bench/cpp/lonely_walk.hpp
  struct Place;

  BlockSums& sums_of(const TrainingRun<T>& run) { return run.sums != nullptr ? *run.sums : sums_; }
  bool reserve_threads(int threads, Poller* poller);
  RunEnd run_segment(const TrainingRun<T>& run, Cursor& cursor, const Segment& segment);
  // What is known of a pass: how many threads are fastest for it.
  struct Tuned {
    TeamTuner tuner{1, 0.0};  // for teams of up to `limit` and updates of `flops`
    int limit = 0;
    double flops = 0.0;

    void tune_for(int most, double work, bool fixed);
  };

  const Plan plan_;
  Deal deal_{plan_};
  const OpTable<T>& ops_;
  AlignedBuffer<std::byte> arena_;
  std::vector<BoundBuffer<T>> bound_;
  AlignedBuffer<T> scratch_;  // per thread: packing for products, then one parameter block
  Index gemm_scratch_ = 0;
  Index thread_scratch_ = 0;
  AlignedBuffer<T> augment_memory_;  // per thread, of runs that augment
  Index thread_augment_ = 0;
  LossMemory<T> loss_memory_;
  BlockSums sums_;             // of runs that bring none along
  std::vector<Place> places_;  // per share of a team
  Tuned tuned_[2];             // the other: of the second pass
  int threads_used_ = 0;       // by the last segment
};

}  // namespace stoop
