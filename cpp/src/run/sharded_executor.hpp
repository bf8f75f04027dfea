// Updates whose rows are cut into shards, for several processes that train one model together. An update is, in this order: the
// raw gradient of each shard, its sum over all shards, the penalties and the norm, the check, the update of the parameters.
// Whether a run stops, and why, follows from what all processes report, so that all decide alike.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "batches.hpp"
#include "exchange.hpp"
#include "team_executor.hpp"

namespace stoop::inline v0_1 {

// How an update is cut, and what of it this process takes.
struct ShardCut {
  Index rows = 0;
  int shards = 1;   // a power of two
  int stride = 1;   // processes whose ranks are multiples of it take shards
  Range own{0, 0};  // the shards of this process

  // Each begins at a multiple of kRowBlock, so that sums over blocks of rows are the same in any run of shards.
  Range rows_of(Index shard) const {
    const Range blocks = share(block_count(rows, kRowBlock), static_cast<int>(shard), shards);
    return {blocks.begin * kRowBlock, std::min(blocks.end * kRowBlock, rows)};
  }
  Range rows_of(const Range& some) const { return {rows_of(some.begin).begin, rows_of(some.end - 1).end}; }
};

// Each shard gets at least `least` of the rows, if there are as many.
ShardCut cut_into_shards(const World& world, Index rows, Index least);

template <class T>
class ShardedExecutor final : public Executor<T> {
 public:
  // The two plans that an update takes: that of the raw gradient, and that of all that comes after it.
  struct Plans {
    std::unique_ptr<Executor<T>> gradient;
    std::unique_ptr<TeamExecutor<T>> apply;
    bool in_slices = false;  // `apply` can be made for a part of the parameters
  };

  ShardedExecutor(const World& world, const OpTable<T>& ops, Plans plans, const PlanRequest& request);

  const Plan& plan() const override { return plans_.gradient->plan(); }

  RunEnd run(const TrainingRun<T>& run, Cursor& cursor, Index until) override;

 private:
  // What a process tells the others of an update.
  struct Report {
    double loss = 0.0;  // weighted sum over the samples
    double correct = 0.0;
    Index bad_row = kNone;
    BadLabel bad_label{};
    Fault fault{};
    double rate = 0.0;
    Wish wish = Wish::go_on;
  };

  // The sums of some shards.
  struct Level {
    AlignedBuffer<T> gradient;    // laid out as the parameters
    AlignedBuffer<T> statistics;  // of batch normalisations, times the rows that they are of
    Report report;
  };

  RunEnd update(const TrainingRun<T>& run, const Batch& batch, Cursor& cursor);
  void add_shards(const TrainingRun<T>& run, const Batch& batch, const ShardCut& cut, Range shards, std::size_t level);
  void run_shards(const TrainingRun<T>& run, const Batch& batch, const ShardCut& cut, const Range& shards,
                  Level& level);
  bool fits(const ShardCut& cut, const Range& shards) const;
  RunEnd run_piece(TrainingRun<T>& part, const Batch& batch, Range rows, Report& report);
  void add_statistics(AlignedBuffer<T>& sums, Index rows, bool is_first) const;
  Wish own_wish(const TrainingRun<T>& run, const Cursor& cursor) const;
  bool is_small() const { return gradients_.is_small() && statistics_.is_small(); }
  bool exchange_all(const ShardCut& cut);
  void add_reports(const ShardCut& cut);
  RunEnd decide(const Batch& batch) const;
  bool reduce(const ShardCut& cut);
  RunEnd apply(const TrainingRun<T>& run, const Batch& batch, Cursor& cursor);
  RunEnd apply_slice(TrainingRun<T>& last, Cursor& done);
  bool exchange_block_sums();
  bool complete_state(const TrainingRun<T>& run);
  void follow_statistics(T* running, Index rows);

  const World& world_;
  const OpTable<T>& ops_;
  const Plans plans_;
  const Graph& graph_;
  const bool has_statistics_;
  const bool groups_;  // one run may compute the sum of several shards
  SharedArray<T> gradients_, statistics_;
  std::vector<Level> levels_;    // of the tree; 0 is its root
  std::vector<Report> reports_;  // by rank
  AlignedBuffer<T> of_piece_;    // statistics, laid out as Model::buffer_block()
  AlignedBuffer<T> message_;     // that is sent, then those that are received
  std::vector<Index> group_rows_;
  std::vector<double> block_sums_, all_block_sums_;
  bool in_slices_ = false;         // this run updates the own part of the parameters alone
  bool is_state_complete_ = true;  // what the optimizer holds is that of all parameters
};

}  // namespace stoop
