#include "sharded_executor.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "squared_gradient.hpp"

namespace stoop::inline v0_1 {
namespace {

bool is_unknown(const Fault& fault) { return fault.node == kNone && !fault.at_loss; }

// A batch normalisation needs each shard by itself. The native products alone have the same bits for any rows beside them.
bool can_group(const Plan& plan) {
  return !plan.batch_statistics &&
         std::ranges::all_of(plan.steps, [](const Step& step) { return step.provider == GemmProvider::native; });
}

}  // namespace

ShardCut cut_into_shards(const World& world, Index rows, Index least) {
  const auto& [rank, size] = std::pair(world.collectives.rank, world.collectives.size);
  ShardCut cut{.rows = rows, .shards = world.shards};
  const auto is_too_small = [&] {
    const Range last = cut.rows_of(cut.shards - 1);
    return block_count(rows, kRowBlock) < cut.shards || last.end - last.begin < least;
  };
  while (cut.shards > 1 && is_too_small()) cut.shards /= 2;
  cut.stride = std::max(size / cut.shards, 1);
  const int own = std::max(cut.shards / size, 1);
  if (rank % cut.stride == 0) cut.own = {rank / cut.stride * own, (rank / cut.stride + 1) * own};
  return cut;
}

template <class T>
ShardedExecutor<T>::ShardedExecutor(const World& world, const OpTable<T>& ops, Plans plans, const PlanRequest& request)
    : Executor<T>(request.batch),
      world_(world),
      ops_(ops),
      plans_(std::move(plans)),
      graph_(*request.graph),
      has_statistics_(has_node(graph_, NodeKind::batch_norm)),
      groups_(can_group(plans_.gradient->plan())),
      gradients_(world, ops, graph_.parameter_elements),
      statistics_(world, ops, graph_.buffer_elements),
      of_piece_(graph_.buffer_elements) {
  for (int shards = 1; shards <= world.shards / world.collectives.size; shards *= 2) {
    levels_.push_back({AlignedBuffer<T>(gradients_.elements()), AlignedBuffer<T>(statistics_.elements()), {}});
  }
}

template <class T>
RunEnd ShardedExecutor<T>::run(const TrainingRun<T>& run, Cursor& cursor, Index until) {
  const Index rows = run.data.x.rows;
  until = std::min(until, rows);
  in_slices_ = plans_.in_slices && !gradients_.is_whole() && until - cursor.row > run.batch * run.accumulate;
  Batch batch{.start = cursor.row, .update_end = cursor.row, .updates = cursor.updates - 1};
  RunEnd end;
  while (end.status == RunStatus::done && next_batch(run, until, batch)) {
    batch.rows = batch.update_end - batch.start;  // the shards cut the whole update
    end = update(run, batch, cursor);
  }
  if (end.status != RunStatus::lost && !complete_state(run)) return {.status = RunStatus::lost};
  if (end.status == RunStatus::done && cursor.row < rows) end.status = RunStatus::stopped;
  return end;
}

template <class T>
RunEnd ShardedExecutor<T>::update(const TrainingRun<T>& run, const Batch& batch, Cursor& cursor) {
  const ShardCut cut = cut_into_shards(world_, batch.rows, has_statistics_ ? 2 : 1);
  Level& root = levels_.front();
  root.report = {};
  if (cut.own.begin < cut.own.end) add_shards(run, batch, cut, cut.own, 0);
  if (run.read_ahead != nullptr) run.read_ahead->advance(batch.update_end);
  root.report.wish = own_wish(run, cursor);
  root.report.rate = run.learning_rates[batch.updates];
  const Collectives& all = world_.collectives;
  const bool is_reached = is_small() ? exchange_all(cut) : gather(all, root.report, reports_);
  if (!is_reached) return {.status = RunStatus::lost};
  add_reports(cut);
  RunEnd end = decide(batch);
  if (end.status != RunStatus::done) return end;
  const Wish wish = root.report.wish;
  if (wish != Wish::go_on && run.stops_within) return {.status = RunStatus::interrupted, .wish = wish};
  if (!is_small() && !reduce(cut)) return {.status = RunStatus::lost};
  end = apply(run, batch, cursor);
  if (end.status == RunStatus::done && wish != Wish::go_on) {
    end.status = RunStatus::interrupted;
    end.wish = wish;
  }
  return end;
}

// Adds up some shards, a power of two of them, at a level of the tree.
template <class T>
void ShardedExecutor<T>::add_shards(const TrainingRun<T>& run, const Batch& batch, const ShardCut& cut, Range shards,
                                    std::size_t level) {
  if (fits(cut, shards)) return run_shards(run, batch, cut, shards, levels_[level]);
  const Index middle = (shards.begin + shards.end) / 2;
  add_shards(run, batch, cut, {shards.begin, middle}, level);
  add_shards(run, batch, cut, {middle, shards.end}, level + 1);
  Level &left = levels_[level], &right = levels_[level + 1];
  for (AlignedBuffer<T> Level::* array : {&Level::gradient, &Level::statistics}) {
    const Index n = (left.*array).size();
    if (n > 0) ops_.add({1, n, (right.*array).data(), n, (left.*array).data(), n, false});
  }
  left.report.loss += right.report.loss;
  left.report.correct += right.report.correct;
  if (left.report.bad_row == kNone && left.report.bad_label.row == kNone) {
    left.report.bad_row = right.report.bad_row;
    left.report.bad_label = right.report.bad_label;
  }
  if (is_unknown(left.report.fault)) left.report.fault = right.report.fault;
}

template <class T>
bool ShardedExecutor<T>::fits(const ShardCut& cut, const Range& shards) const {
  const Range rows = cut.rows_of(shards);
  return shards.end - shards.begin == 1 || (groups_ && rows.end - rows.begin <= plans_.gradient->most_rows());
}

// Computes the gradient of the loss of some shards, as a part of that of the batch. A shard with more rows than a batch is
// taken in pieces.
template <class T>
void ShardedExecutor<T>::run_shards(const TrainingRun<T>& run, const Batch& batch, const ShardCut& cut,
                                    const Range& shards, Level& level) {
  const Range rows = cut.rows_of(shards);
  level.report = {};
  TrainingRun<T> part = run;
  part.gradient = level.gradient.data();
  part.accumulate = 1;
  part.merged = 0;
  part.weight = batch.weight;
  part.fixed_penalty = 0.0;
  part.optimizer = nullptr;
  part.learning_rates = nullptr;
  part.poller = nullptr;
  part.stops_within = false;
  if (has_statistics_) part.running = of_piece_.data();
  part.groups = static_cast<int>(shards.end - shards.begin);
  group_rows_.clear();
  for (Index i = shards.begin; i < shards.end; ++i) group_rows_.push_back(cut.rows_of(i).begin - rows.begin);
  group_rows_.push_back(rows.end - rows.begin);
  part.group_rows = group_rows_.data();
  const Index most = has_statistics_ ? (rows.end - rows.begin) / 2 : rows.end - rows.begin;  // one row has no variance
  const Index at_once = part.groups > 1 ? rows.end - rows.begin : run.batch;
  const int pieces = static_cast<int>(std::min(block_count(rows.end - rows.begin, at_once), most));
  for (int i = 0; i < pieces; ++i) {
    const Range piece = share(rows.end - rows.begin, i, pieces);
    part.adds = i > 0;
    const RunEnd end = run_piece(part, batch, {rows.begin + piece.begin, rows.begin + piece.end}, level.report);
    if (end.status != RunStatus::done) return;
    add_statistics(level.statistics, piece.end - piece.begin, i == 0);
  }
}

template <class T>
RunEnd ShardedExecutor<T>::run_piece(TrainingRun<T>& part, const Batch& batch, Range rows, Report& report) {
  part.batch = rows.end - rows.begin;
  part.data.x.rows = batch.start + rows.end;
  Cursor place;
  place.row = batch.start + rows.begin;
  place.updates = batch.updates;
  const Index before = std::exchange(part.rows_before, part.rows_before + rows.begin);
  const RunEnd end = plans_.gradient->run(part, place, part.data.x.rows);
  part.rows_before = before;
  report.loss += place.loss_sum + end.refused_loss;
  report.correct += place.correct;
  if (end.status == RunStatus::done) return end;
  report.bad_row = end.bad_row;
  report.bad_label = end.bad_label;
  report.fault = end.fault;
  return end;
}

// Adds the statistics of a piece of so many rows.
template <class T>
void ShardedExecutor<T>::add_statistics(AlignedBuffer<T>& sums, Index rows, bool is_first) const {
  for (Index i = 0; i < of_piece_.size(); ++i) {
    const T part = static_cast<T>(rows) * of_piece_.data()[i];
    sums.data()[i] = is_first ? part : sums.data()[i] + part;
  }
}

template <class T>
Wish ShardedExecutor<T>::own_wish(const TrainingRun<T>& run, const Cursor& cursor) const {
  if (run.poller == nullptr || !run.poller->is_due() || run.poller->keep_going(cursor.row)) return Wish::go_on;
  return run.wish == nullptr || *run.wish == Wish::go_on ? Wish::stop : *run.wish;
}

// Gets the reports of all processes, and adds up their roots, where all this is one short message. Returns false if a process
// cannot be reached.
template <class T>
bool ShardedExecutor<T>::exchange_all(const ShardCut& cut) {
  const Collectives& all = world_.collectives;
  Level& root = levels_.front();
  if (all.size == 1) return gather(all, root.report, reports_);
  constexpr Index kReport = round_up(sizeof(Report), kAlignment) / static_cast<Index>(sizeof(T));
  const Index gradient = root.gradient.size(), elements = kReport + gradient + root.statistics.size();
  message_.reserve(elements * (all.size + 1));
  T* const sent = message_.data();
  T* const received = sent + elements;
  std::memcpy(sent, &root.report, sizeof(Report));
  std::copy_n(root.gradient.data(), gradient, sent + kReport);
  std::copy_n(root.statistics.data(), root.statistics.size(), sent + kReport + gradient);
  if (all.allgather(all.context, sent, received, elements * static_cast<Index>(sizeof(T))) != 0) return false;
  reports_.resize(static_cast<std::size_t>(all.size));
  for (std::size_t i = 0; i < reports_.size(); ++i) {
    std::memcpy(static_cast<void*>(&reports_[i]), received + static_cast<Index>(i) * elements, sizeof(Report));
  }
  gradients_.reduce(root.gradient.data(), cut.stride, received + kReport, elements);
  if (has_statistics_) {
    statistics_.reduce(root.statistics.data(), cut.stride, received + kReport + gradient, elements);
  }
  return true;
}

// Makes the report of the root that of all processes.
template <class T>
void ShardedExecutor<T>::add_reports(const ShardCut& cut) {
  const Collectives& all = world_.collectives;
  const auto at = [this](int rank) -> Report& { return reports_[static_cast<std::size_t>(rank)]; };
  for (int step = cut.stride; step < all.size; step *= 2) {
    for (int rank = 0; rank < all.size; rank += 2 * step) {
      at(rank).loss += at(rank + step).loss;
      at(rank).correct += at(rank + step).correct;
    }
  }
  Report& root = levels_.front().report = reports_.front();
  for (const Report& report : reports_) {
    root.wish = std::max(root.wish, report.wish);
    if (is_unknown(root.fault)) root.fault = report.fault;
    if (root.bad_row != kNone || root.bad_label.row != kNone) continue;
    root.bad_row = report.bad_row;
    root.bad_label = report.bad_label;
  }
}

// Says from the reports whether the update is made.
template <class T>
RunEnd ShardedExecutor<T>::decide(const Batch& batch) const {
  const Report& report = levels_.front().report;
  const auto differs = [&](const Report& other) { return other.rate != report.rate; };
  if (std::ranges::any_of(reports_, differs)) return {.status = RunStatus::other_rate};
  if (report.bad_row != kNone || report.bad_label.row != kNone) {
    RunEnd end{.status = RunStatus::bad_data};
    end.bad_row = report.bad_row;
    end.bad_label = report.bad_label;
    return end;
  }
  if (std::isfinite(report.loss)) return {};
  return {.status = RunStatus::not_finite,
          .refused_loss = report.loss,
          .refused_weight = batch.weight,
          .fault = report.fault};
}

// Adds up the roots of the trees of all processes. Returns false if one cannot be reached.
template <class T>
bool ShardedExecutor<T>::reduce(const ShardCut& cut) {
  Level& root = levels_.front();
  if (has_statistics_) {
    if (!statistics_.reduce(root.statistics.data(), cut.stride)) return false;
    T* const all = statistics_.gather(root.statistics.data());
    if (all == nullptr) return false;
    if (all != root.statistics.data()) std::copy_n(all, statistics_.elements(), root.statistics.data());
  }
  return gradients_.reduce(root.gradient.data(), cut.stride);
}

// Adds the penalties to the gradient, checks it and makes the update, like every other process or of the own part.
template <class T>
RunEnd ShardedExecutor<T>::apply(const TrainingRun<T>& run, const Batch& batch, Cursor& cursor) {
  TrainingRun<T> last = run;
  last.gradient = in_slices_ ? levels_.front().gradient.data() : gradients_.gather(levels_.front().gradient.data());
  if (last.gradient == nullptr) return {.status = RunStatus::lost};
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
  const Report& report = levels_.front().report;
  const RunEnd end = in_slices_ ? apply_slice(last, done) : plans_.apply->run(last, done, 1);
  if (end.status == RunStatus::lost) return end;
  if (end.status == RunStatus::not_finite && !end.applied) return end;
  if (has_statistics_) follow_statistics(run.running, batch.rows);
  cursor.row = batch.update_end;
  cursor.updates += 1;
  cursor.loss_sum += report.loss + done.loss_sum;
  cursor.weight_sum += batch.weight;
  cursor.correct += report.correct;
  cursor.grad_norm_sum += done.grad_norm_sum;
  cursor.largest_norm = std::max(cursor.largest_norm, done.largest_norm);
  return end;
}

// Updates the own part of the parameters, and gets the others. The norm is that of the sums of all blocks, which all processes
// exchange after the penalties are in.
template <class T>
RunEnd ShardedExecutor<T>::apply_slice(TrainingRun<T>& last, Cursor& done) {
  last.own = gradients_.own();
  last.pass = Pass::first;
  Cursor unused;
  plans_.apply->run(last, unused, 1);
  if (!exchange_block_sums()) return {.status = RunStatus::lost};
  const auto [penalties, sums, norms] = plans_.apply->block_sums();
  last.pass = Pass::second;
  const bool is_usual = norm_of_blocks(sums, norms) <= kSteep<T>;
  if (!is_usual) {  // what is wrong is to be found in the whole gradient, and in all that the optimizer holds
    if (!complete_state(last)) return {.status = RunStatus::lost};
    last.gradient = gradients_.gather(last.gradient);
    if (last.gradient == nullptr) return {.status = RunStatus::lost};
    last.own = {0, graph_.parameter_elements};
    return plans_.apply->run(last, done, 1);
  }
  const RunEnd end = plans_.apply->run(last, done, 1);
  is_state_complete_ = false;
  if (!gradients_.complete(last.parameters)) return {.status = RunStatus::lost};
  return end;
}

// Gets the sums of the blocks that other processes have.
template <class T>
bool ShardedExecutor<T>::exchange_block_sums() {
  const Collectives& all = world_.collectives;
  const auto arrays = plans_.apply->block_sums();
  const std::size_t slots = arrays[0].size(), numbers = arrays.size() * slots;
  block_sums_.resize(numbers);
  all_block_sums_.resize(numbers * static_cast<std::size_t>(all.size));
  for (std::size_t i = 0; i < arrays.size(); ++i) std::ranges::copy(arrays[i], block_sums_.begin() + i * slots);
  const auto bytes = static_cast<Index>(numbers * sizeof(double));
  if (all.allgather(all.context, block_sums_.data(), all_block_sums_.data(), bytes) != 0) return false;
  const Index part = gradients_.elements() / all.size;
  for (const Step& step : plans_.apply->plan().steps) {
    if (step.kind != StepKind::regularize_parameter) continue;
    const auto owner = static_cast<std::size_t>(step.parameter / part);
    const auto first = static_cast<std::size_t>(step.first_sum);
    const auto count = static_cast<std::size_t>(block_count(step.work.extent, step.block));
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      const double* from = all_block_sums_.data() + owner * numbers + i * slots + first;
      std::copy_n(from, count, arrays[i].begin() + step.first_sum);
    }
  }
  return true;
}

// Gets what other processes hold for their parts of the parameters. After that nothing tells that there were parts.
template <class T>
bool ShardedExecutor<T>::complete_state(const TrainingRun<T>& run) {
  if (std::exchange(is_state_complete_, true)) return true;
  std::vector<T*> arrays(std::begin(run.state), std::end(run.state));
  arrays.push_back(run.average);
  return std::ranges::all_of(arrays, [&](T* array) { return array == nullptr || gradients_.complete(array); });
}

// The running statistics follow the mean of those of the shards, weighted by their rows.
template <class T>
void ShardedExecutor<T>::follow_statistics(T* running, Index rows) {
  T* const sums = levels_.front().statistics.data();
  for (Index i = 0; i < graph_.buffer_elements; ++i) sums[i] /= static_cast<T>(rows);
  for (const Node& node : graph_.nodes) {
    for (const int buffer : {node.running_mean, node.running_var}) {
      if (buffer == kNone) continue;
      const ParameterInfo& info = graph_.buffers[static_cast<std::size_t>(buffer)].info;
      ops_.average({info.rows * info.cols, running + info.offset, sums + info.offset, static_cast<T>(node.momentum)});
    }
  }
}

template class ShardedExecutor<float>;
template class ShardedExecutor<double>;

}  // namespace stoop
