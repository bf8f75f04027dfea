// Evaluation by several processes that train one model together: each takes some parts of the rows. The parts follow from the
// number of shards, and their sums are added in a binary tree, so the bits do not follow from the number of processes.
#pragma once

#include <memory>
#include <vector>

#include "exchange.hpp"
#include "executor.hpp"

namespace stoop::inline v0_1 {

template <class T>
class ShardedInference final : public InferenceExecutor<T> {
 public:
  ShardedInference(const World& world, std::unique_ptr<const InferenceExecutor<T>> part)
      : world_(world), part_(std::move(part)) {}

  InferenceResult run(const InferenceRun<T>& run) const override;
  void copy_to_strips(std::span<const T> parameters, T* copy) const override {
    part_->copy_to_strips(parameters, copy);
  }

 private:
  using Results = std::vector<InferenceResult>;
  InferenceResult run_part(const InferenceRun<T>& run, const Range& rows) const;
  bool exchange(const Collectives& all, Results& own, Results& of_all) const;
  bool exchange_losses(const Collectives& all, int parts, const InferenceRun<T>& run) const;

  const World& world_;
  const std::unique_ptr<const InferenceExecutor<T>> part_;
};

}  // namespace stoop
