// Prediction and evaluation with a team of threads.
#pragma once

#include <optional>

#include "executor.hpp"

namespace stoop {

template <class T>
class TeamInference final : public InferenceExecutor<T> {
 public:
  // `request` is for any number of rows.
  TeamInference(PlanRequest request, const OpTable<T>& ops);

  InferenceResult run(const InferenceRun<T>& run) const override;

 private:
  const OpTable<T> ops_;
  Plan plan_;                // of chunks of rows
  std::optional<Plan> few_;  // of a prediction of few rows
};

}  // namespace stoop
