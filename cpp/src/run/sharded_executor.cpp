#include "sharded_executor.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

namespace stoop {

template <class T>
ShardedExecutor<T>::ShardedExecutor(const World& world, const OpTable<T>& ops, Plans plans, const PlanRequest& request)
    : Executor<T>(request.batch), world_(world), ops_(ops), plans_(std::move(plans)) {
  const int own = world.shards / world.collectives.size;
  for (int shards = 1; shards <= own; shards *= 2) {
    levels_.push_back({AlignedBuffer<T>(request.graph->parameter_elements), Sums(world.collectives)});
  }
}

template <class T>
RunEnd ShardedExecutor<T>::run(const TrainingRun<T>& run, Cursor& cursor, Index until) {
  const Index rows = run.data.x.rows;
  Batch batch{.start = cursor.row, .update_end = cursor.row, .updates = cursor.updates - 1};
  while (next_batch(run, std::min(until, rows), batch)) {
    batch.rows = batch.update_end - batch.start;  // the shards cut the whole update
    const RunEnd end = update(run, batch, cursor);
    if (end.status != RunStatus::done) return end;
  }
  return {.status = cursor.row < rows ? RunStatus::stopped : RunStatus::done};
}

template <class T>
RunEnd ShardedExecutor<T>::update(const TrainingRun<T>& run, const Batch& batch, Cursor& cursor) {
  const Collectives& all = world_.collectives;
  const int own = world_.shards / all.size;
  add_shards(run, batch, {all.rank * own, (all.rank + 1) * own}, 0);
  if (run.read_ahead != nullptr) run.read_ahead->advance(batch.update_end);
  Sums& sums = levels_[0].sums;
  if (run.poller != nullptr && run.poller->is_due() && !run.poller->keep_going(cursor.row)) sums.stops = 1.0;
  if (!reduce()) return {.status = RunStatus::lost};
  RunEnd end = decide(batch, cursor);
  const bool stops = sums.stops > 0.0;
  if (end.status != RunStatus::done) return end;
  if (stops && run.stops_within) return {.status = RunStatus::interrupted};
  end = apply(run, batch, cursor);
  if (end.status == RunStatus::done && stops) end.status = RunStatus::interrupted;
  return end;
}

// Adds up the gradients and the sums of some shards, a power of two of them, at a level of the tree.
template <class T>
void ShardedExecutor<T>::add_shards(const TrainingRun<T>& run, const Batch& batch, Range shards, std::size_t level) {
  if (shards.end - shards.begin == 1) {
    const Range rows = share(batch.rows, static_cast<int>(shards.begin), world_.shards);
    return run_shard(run, batch, rows, levels_[level]);
  }
  const Index middle = (shards.begin + shards.end) / 2;
  add_shards(run, batch, {shards.begin, middle}, level);
  add_shards(run, batch, {middle, shards.end}, level + 1);
  Level &left = levels_[level], &right = levels_[level + 1];
  const Index n = left.gradient.size();
  ops_.add({1, n, right.gradient.data(), n, left.gradient.data(), n, false});
  left.sums.loss += right.sums.loss;
  left.sums.correct += right.sums.correct;
  for (std::size_t i = 0; i < left.sums.faults.size(); i += 3) {
    const auto from = right.sums.faults.begin() + static_cast<std::ptrdiff_t>(i);
    if (left.sums.faults[i] + left.sums.faults[i + 1] == 0.0) std::copy_n(from, 3, &left.sums.faults[i]);
  }
}

// Computes the gradient of the loss of some rows of the batch, as a part of that of the batch.
template <class T>
void ShardedExecutor<T>::run_shard(const TrainingRun<T>& run, const Batch& batch, Range rows, Level& level) {
  level.sums = Sums(world_.collectives);
  if (rows.begin == rows.end) {
    std::ranges::fill(level.gradient.elements(), T(0));
    return;
  }
  TrainingRun<T> part = run;
  part.gradient = level.gradient.data();
  part.data.x.rows = batch.start + rows.end;
  part.accumulate = block_count(rows.end - rows.begin, run.batch);
  part.merged = 0;
  part.weight = batch.weight;
  part.rows_before = run.rows_before + rows.begin;
  part.fixed_penalty = 0.0;
  part.optimizer = nullptr;
  part.learning_rates = nullptr;
  part.poller = nullptr;
  part.stops_within = false;
  Cursor place;
  place.row = batch.start + rows.begin;
  place.updates = batch.updates;
  const RunEnd end = plans_.gradient->run(part, place, part.data.x.rows);
  level.sums.loss = place.loss_sum;
  level.sums.correct = place.correct;
  const auto faults = &level.sums.faults[static_cast<std::size_t>(3 * world_.collectives.rank)];
  faults[0] = static_cast<double>(end.bad_row + 1);
  faults[1] = static_cast<double>(end.bad_label.row + 1);
  faults[2] = static_cast<double>(end.bad_label.label);
}

// Adds up the roots of the trees of all processes. Returns false if one cannot be reached.
template <class T>
bool ShardedExecutor<T>::reduce() {
  const Collectives& all = world_.collectives;
  if (all.size == 1) return true;
  auto& [gradient, sums] = levels_[0];
  std::vector<double> numbers = {sums.loss, sums.correct, sums.stops};
  numbers.insert(numbers.end(), sums.faults.begin(), sums.faults.end());
  if (all.sum_float64(all.context, numbers.data(), static_cast<Index>(numbers.size())) != 0) return false;
  sums.loss = numbers[0];
  sums.correct = numbers[1];
  sums.stops = numbers[2];
  std::copy(numbers.begin() + 3, numbers.end(), sums.faults.begin());
  if constexpr (std::is_same_v<T, float>) {
    return all.sum_float32(all.context, gradient.data(), gradient.size()) == 0;
  } else {
    return all.sum_float64(all.context, gradient.data(), gradient.size()) == 0;
  }
}

// Says from the sums whether the update is made.
template <class T>
RunEnd ShardedExecutor<T>::decide(const Batch& batch, Cursor& cursor) const {
  const Sums& sums = levels_[0].sums;
  for (std::size_t i = 0; i < sums.faults.size(); i += 3) {
    if (sums.faults[i] + sums.faults[i + 1] == 0.0) continue;
    RunEnd end{.status = RunStatus::bad_data};
    end.bad_row = static_cast<Index>(sums.faults[i]) - 1;
    end.bad_label = {static_cast<Index>(sums.faults[i + 1]) - 1, static_cast<std::int32_t>(sums.faults[i + 2])};
    return end;
  }
  if (std::isfinite(sums.loss)) return {};
  cursor.loss_sum += sums.loss;
  cursor.weight_sum += batch.weight;
  return {.status = RunStatus::not_finite};
}

// Adds the penalties to the gradient, checks it and makes the update, like every other process.
template <class T>
RunEnd ShardedExecutor<T>::apply(const TrainingRun<T>& run, const Batch& batch, Cursor& cursor) {
  TrainingRun<T> last = run;
  last.gradient = levels_[0].gradient.data();
  last.data = {};
  last.data.x.rows = 1;
  last.batch = last.accumulate = 1;
  last.merged = 0;
  last.weight = batch.weight;
  last.learning_rates = run.learning_rates + batch.updates;
  last.first_update = run.first_update + batch.updates;
  last.poller = nullptr;
  last.stops_within = false;
  last.read_ahead = nullptr;
  last.clock = nullptr;
  Cursor done;
  const RunEnd end = plans_.apply->run(last, done, 1);
  if (end.status == RunStatus::not_finite && !end.applied) {
    cursor.loss_sum += levels_[0].sums.loss;
    cursor.weight_sum += batch.weight;
    return end;
  }
  cursor.row = batch.update_end;
  cursor.updates += 1;
  cursor.loss_sum += levels_[0].sums.loss + done.loss_sum;
  cursor.weight_sum += batch.weight;
  cursor.correct += levels_[0].sums.correct;
  cursor.grad_norm_sum += done.grad_norm_sum;
  cursor.largest_norm = std::max(cursor.largest_norm, done.largest_norm);
  return end;
}

template class ShardedExecutor<float>;
template class ShardedExecutor<double>;

}  // namespace stoop
