// Updates whose rows are cut into shards, for several processes that train one model together. An update is, in this order: the
// raw gradient of each shard, its sum over all shards, the penalties and the norm, the check, the update of the parameters.
// Whether a run stops, and why, follows from the sums, so that all processes decide alike.
#pragma once

#include <memory>
#include <vector>

#include "batches.hpp"
#include "world.hpp"

namespace stoop {

template <class T>
class ShardedExecutor final : public Executor<T> {
 public:
  // The two plans that an update takes: that of the raw gradient, and that of all that comes after it.
  struct Plans {
    std::unique_ptr<Executor<T>> gradient, apply;
  };

  ShardedExecutor(const World& world, const OpTable<T>& ops, Plans plans, const PlanRequest& request);

  const Plan& plan() const override { return plans_.gradient->plan(); }

  RunEnd run(const TrainingRun<T>& run, Cursor& cursor, Index until) override;

 private:
  // What is known of the shards that were added up, with the first fault of each process.
  struct Sums {
    explicit Sums(const Collectives& all) : faults(static_cast<std::size_t>(3 * all.size)) {}

    double loss = 0.0;  // weighted sum over the samples
    double correct = 0.0;
    double stops = 0.0;          // processes that are asked to stop
    std::vector<double> faults;  // by rank: the bad row + 1 or 0, the row of the bad label + 1 or 0, and that label
  };

  struct Level {
    AlignedBuffer<T> gradient;  // laid out as the parameters
    Sums sums;
  };

  RunEnd update(const TrainingRun<T>& run, const Batch& batch, Cursor& cursor);
  void add_shards(const TrainingRun<T>& run, const Batch& batch, Range shards, std::size_t level);
  void run_shard(const TrainingRun<T>& run, const Batch& batch, Range rows, Level& level);
  bool reduce();
  RunEnd decide(const Batch& batch, Cursor& cursor) const;
  RunEnd apply(const TrainingRun<T>& run, const Batch& batch, Cursor& cursor);

  const World& world_;
  const OpTable<T>& ops_;
  const Plans plans_;
  std::vector<Level> levels_;  // of the tree; 0 is its root
};

}  // namespace stoop
