#include "sharded_inference.hpp"

#include <algorithm>
#include <type_traits>

#include "sharded_executor.hpp"

namespace stoop::inline v0_1 {
namespace {

// The fault of the part that comes first is that of all.
void add(InferenceResult& left, const InferenceResult& right) {
  left.loss_sum += right.loss_sum;
  left.correct += right.correct;
  if (left.non_finite_row == kNone) left.non_finite_row = right.non_finite_row;
  if (left.bad_label.row == kNone) left.bad_label = right.bad_label;
  left.interrupted |= right.interrupted;
}

// The rows that a process has.
Range rows_of(const Collectives& all, int rank, int parts, Index rows) {
  World world{.shards = parts, .collectives = all};
  world.collectives.rank = rank;
  const ShardCut cut = cut_into_shards(world, rows, 1);
  return cut.own.begin == cut.own.end ? Range{0, 0} : cut.rows_of(cut.own);
}

}  // namespace

template <class T>
InferenceResult ShardedInference<T>::run(const InferenceRun<T>& run) const {
  World world = world_;
  if (run.is_alone) world.collectives = {};
  const Collectives& all = world.collectives;
  const Index rows = run.data.x.rows;
  const ShardCut cut = cut_into_shards(world, rows, 1);
  Results own(static_cast<std::size_t>(std::max(cut.shards / all.size, 1))), of_all;
  for (Index i = cut.own.begin; i < cut.own.end; ++i) {
    InferenceResult& result = own[static_cast<std::size_t>(i - cut.own.begin)];
    result = run_part(run, cut.rows_of(i));
    if (result.interrupted) break;
  }
  if (!exchange(all, own, of_all)) return {.lost = true};
  const std::size_t first = own.size() == 1 ? static_cast<std::size_t>(cut.stride) : 1;
  for (std::size_t step = first; step < of_all.size(); step *= 2) {
    for (std::size_t i = 0; i < of_all.size(); i += 2 * step) add(of_all[i], of_all[i + step]);
  }
  if (run.losses != nullptr && !exchange_losses(all, cut.shards, run)) return {.lost = true};
  return of_all.front();
}

template <class T>
InferenceResult ShardedInference<T>::run_part(const InferenceRun<T>& run, const Range& rows) const {
  InferenceRun<T> part = run;
  SampleRows<T>& data = part.data;
  data.x.rows = rows.end - rows.begin;
  data.x.data = run.data.x.row(rows.begin);
  if (data.classes != nullptr) data.classes += rows.begin;
  if (data.values.data != nullptr) data.values.data += rows.begin * data.values.row_stride();
  if (data.weights != nullptr) data.weights += rows.begin;
  if (data.element_weights.data != nullptr) data.element_weights.data += rows.begin * data.element_weights.row_stride();
  if (part.losses != nullptr) part.losses += rows.begin;
  InferenceResult result = part_->run(part);
  if (result.non_finite_row != kNone) result.non_finite_row += rows.begin;
  if (result.bad_label.row != kNone) result.bad_label.row += rows.begin;
  return result;
}

template <class T>
bool ShardedInference<T>::exchange(const Collectives& all, Results& own, Results& of_all) const {
  if (all.size == 1) return of_all.swap(own), true;
  static_assert(std::is_trivially_copyable_v<InferenceResult>);
  of_all.resize(own.size() * static_cast<std::size_t>(all.size));
  const bool reached = all.allgather(all.context, own.data(), of_all.data(),
                                     static_cast<Index>(own.size() * sizeof(InferenceResult))) == 0;
  return reached;
}

// Gives the losses of all rows to all processes.
template <class T>
bool ShardedInference<T>::exchange_losses(const Collectives& all, int parts, const InferenceRun<T>& run) const {
  if (all.size == 1) return true;
  const Index rows = run.data.x.rows;
  Index most = 0;
  for (int rank = 0; rank < all.size; ++rank) {
    const Range range = rows_of(all, rank, parts, rows);
    most = std::max(most, range.end - range.begin);
  }
  std::vector<double> sent(static_cast<std::size_t>(most));
  std::vector<double> received(sent.size() * static_cast<std::size_t>(all.size));
  const Range own = rows_of(all, all.rank, parts, rows);
  std::copy(run.losses + own.begin, run.losses + own.end, sent.begin());
  if (all.allgather(all.context, sent.data(), received.data(), most * static_cast<Index>(sizeof(double))) != 0) {
    return false;
  }
  for (int rank = 0; rank < all.size; ++rank) {
    const Range range = rows_of(all, rank, parts, rows);
    std::copy_n(received.begin() + rank * most, range.end - range.begin, run.losses + range.begin);
  }
  return true;
}

template class ShardedInference<float>;
template class ShardedInference<double>;

}  // namespace stoop
