// Cuts the samples of a run into batches, and assigns batches to updates.
#pragma once

#include <algorithm>
#include <cmath>

#include "executor.hpp"

namespace stoop::inline v0_1 {

// The rows of one walk through the plan. If gradients are accumulated, several batches make an update.
struct Batch {
  Index start = 0;
  Index rows = 0;
  Index update_start = 0;  // all rows of the update
  Index update_end = 0;
  Index updates = -1;   // of the epoch before this one
  double weight = 0.0;  // of all samples of the update
  double weight_unit =
      1.0;  // kernels count weights in this unit, near `weight`, so that T holds them and their inverse

  bool is_first() const { return start == update_start; }
  bool is_last() const { return start + rows == update_end; }
};

// This is done once for an update, not for every batch of it.
inline bool is_of_update(StepKind kind) {
  return kind == StepKind::regularize_parameter || kind == StepKind::check_gradient ||
         kind == StepKind::update_parameter || kind == StepKind::apply_update || kind == StepKind::limit_norm;
}

// A last batch of up to `merged` rows joins the batch before it.
inline Index batch_rows(Index left, Index batch, Index merged) {
  return left <= batch + merged ? left : std::min(batch, left);
}

// Returns the divisor of the update's loss. Each thread adds all weights, in their order, so that none waits for a sum.
template <class T>
double weight_of_update(const SampleRows<T>& data, const Batch& batch) {
  if (data.weights == nullptr) return static_cast<double>(batch.update_end - batch.update_start);
  double sum = 0.0;
  for (Index i = batch.update_start; i < batch.update_end; ++i) sum += data.weights[data.sample(i)];
  return sum;
}

// Returns the factor of the penalties in this update. Without any weight there is nothing that they are a share of.
template <class T>
double penalty_scale(const TrainingRun<T>& run, const Batch& batch) {
  if (run.penalty_weight == 0.0) return 1.0;
  return batch.weight > 0.0 ? 1.0 / (run.penalty_weight * batch.weight) : 0.0;
}

// A division by a power of two changes no digit.
inline double power_of_two_above(double weight) {
  int exponent = 0;
  std::frexp(weight, &exponent);
  return std::ldexp(1.0, exponent);
}

// Returns the number of updates of an epoch over `samples` rows.
inline Index update_count(Index samples, Index batch, Index accumulate, Index merged) {
  Index batches = 0;
  for (Index done = 0; done < samples; ++batches) done += batch_rows(samples - done, batch, merged);
  return block_count(batches, accumulate);
}

// Goes on to the next rows, and at the end of an update to those of the next update. Returns false if the update that ends
// here is the last, because it has the row `last`-1, or if there are no more rows.
template <class T>
bool next_batch(const TrainingRun<T>& run, Index last, Batch& batch) {
  const Index samples = run.data.x.rows;
  batch.start += batch.rows;
  if (batch.start >= last && batch.start == batch.update_end) return false;
  if (batch.start == batch.update_end) {
    batch.update_start = batch.start;
    for (Index i = 0; i < run.accumulate && batch.update_end < samples; ++i) {
      batch.update_end += batch_rows(samples - batch.update_end, run.batch, run.merged);
    }
    ++batch.updates;
    batch.weight = run.weight > 0.0 ? run.weight : weight_of_update(run.data, batch);
    if (run.data.weights != nullptr) batch.weight_unit = power_of_two_above(batch.weight);
  }
  batch.rows = batch_rows(samples - batch.start, run.batch, run.merged);
  return true;
}

}  // namespace stoop
