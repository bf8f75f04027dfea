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
  // At most so many rows at a time, and so many threads that each have memory for them.
  Index most_rows() const { return many_->plan.batch; }
  int most_threads() const { return most_threads_; }
  // Bytes that a thread takes.
  Index bytes_of_thread() const;

 private:
  struct Planned {
    Plan plan;
    Index scratch;  // elements that a thread needs
    Planned(const PlanRequest& request, const OpTable<T>& ops);
  };
  const OpTable<T> ops_;
  std::optional<Planned> many_;  // of chunks of rows
  std::optional<Planned> few_;   // of a prediction of few rows, unless even few take very much
  int most_threads_;
};

}  // namespace stoop
