// Prediction and evaluation with a team of threads.
#pragma once

#include <optional>

#include "executor.hpp"
#include "infer_walk.hpp"

namespace stoop::inline v0_1 {

template <class T>
class TeamInference final : public InferenceExecutor<T> {
 public:
  // `request` is for any number of rows.
  TeamInference(PlanRequest request, const OpTable<T>& ops);

  InferenceResult run(const InferenceRun<T>& run) const override;
  void copy_to_strips(std::span<const T> parameters, T* copy) const override;

  // Returns what takes up to `rows` rows at a time through the network, on one thread.
  Job<T> job(const InferenceRun<T>& run, Index rows) const;
  double flops(Index rows) const;

 private:
  struct Planned {
    Plan plan;
    Index scratch;  // elements that a thread needs
    Planned(const PlanRequest& request, const OpTable<T>& ops);
  };
  const OpTable<T> ops_;
  std::optional<Planned> many_;  // of chunks of rows
  std::optional<Planned> few_;   // of a prediction of few rows
};

}  // namespace stoop
