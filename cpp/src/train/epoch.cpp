#include "epoch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../data/shuffle.hpp"
#include "../run/batches.hpp"
#include "../run/squared_gradient.hpp"

namespace stoop::inline v0_1 {

template <class T>
Epoch<T>::Epoch(TrainerCore<T>& core, const Dataset<T>& data, const EpochSettings& how, Poller* poller,
                const Augmentation<T>* augmentation)
    : core_(core), data_(data), how_(how), poller_(poller), augmentation_(augmentation), first_row_(core.cursor.row) {
  rates_.resize(static_cast<std::size_t>(update_count(how.samples, how.batch, how.accumulate, how.merged)));
  began_ = std::chrono::steady_clock::now();
  begin();
}

template <class T>
void Epoch<T>::renew() {
  if (core_.epochs_begun != number_) return begin();  // another one has used the order and the copy
  prepare();
}

template <class T>
void Epoch<T>::begin() {
  start_ = core_.cursor;
  prepare();
  number_ = ++core_.epochs_begun;
  if (how_.shuffle) {
    core_.order.resize(static_cast<std::size_t>(data_.rows()));
    shuffle(core_.config.seed, start_.epoch, core_.order);
    if (augmentation_ != nullptr && data_.selects()) core_.positions = core_.order;
    data_.to_samples(core_.order);
    run_.data.order = core_.order.data();
  }
  core_.read_ahead(run_);
  run_.augmented = augmented_rows();
  if (how_.rollback) core_.saved.save(core_.state, core_.most_threads());
  if (!how_.rollback) core_.saved.drop();
}

template <class T>
void Epoch<T>::prepare() {
  const Index first_update = core_.state.steps - core_.cursor.updates;
  if (core_.settings_version != settings_ || first_update != run_.first_update) {
    core_.prepare_updates(first_update, rates_);
    settings_ = core_.settings_version;
  }
  const bool checked = needs_all_gradients(core_.config);                 // which a callback of fit may have changed
  const bool mixes = augmentation_ != nullptr && augmentation_->mixes();  // classes, to rows of their shares
  executor_ = &core_.executor(checked ? PlanKind::checked : PlanKind::training, how_.batch + how_.merged,
                              data_.has_classes() && !mixes);
  const std::int32_t* const order = run_.data.order;
  ReadAhead* const pages = run_.read_ahead;
  const AugmentedRows<T> augmented = run_.augmented;
  run_ = core_.make_update_run(data_, how_.batch, checked);
  run_.data.x.rows = how_.samples;
  if (order != nullptr) run_.data.order = order;
  run_.read_ahead = pages;
  run_.augmented = augmented;
  run_.merged = how_.merged;
  run_.accumulate = how_.accumulate;
  run_.penalty_weight = how_.penalty_per_sample ? std::ldexp(1.0, data_.weight_exponent()) : 0.0;
  run_.learning_rates = rates_.data();
  run_.first_update = first_update;
  run_.poller = poller_;
  run_.wish = &core_.wish;
  if (!checked && core_.device.world.shards == 1) run_.sums = &core_.sums;
}

template <class T>
AugmentedRows<T> Epoch<T>::augmented_rows() const {
  AugmentedRows<T> rows;
  if (augmentation_ == nullptr) return rows;
  rows.how = augmentation_;
  rows.epoch = start_.epoch;
  rows.samples = data_.rows();
  rows.target_columns = data_.has_classes() ? core_.model.output_dim() : data_.y().values.cols;
  rows.selection = data_.selects() ? data_.as_they_lie().order : nullptr;
  rows.positions = data_.selects() && how_.shuffle ? core_.positions.data() : nullptr;
  return rows;
}

template <class T>
Index Epoch<T>::end_of(Index updates) const {
  const Index rows = how_.batch * how_.accumulate;  // of an update
  const Index left = how_.samples - core_.cursor.row;
  return updates < block_count(left, rows) ? core_.cursor.row + updates * rows : how_.samples;
}

template <class T>
double Epoch<T>::newest_rate() const {
  return rates_[static_cast<std::size_t>(std::max<Index>(core_.cursor.updates, 1) - 1)];
}

template <class T>
EpochEnd Epoch<T>::advance(Index until) {
  LiveState<T>& state = core_.state;
  Cursor& cursor = core_.cursor;
  const Index before = cursor.updates;
  EpochEnd end{executor_->run(run_, cursor, until)};
  state.steps += cursor.updates - before;
  end.rate = newest_rate();
  end.updates = state.steps;
  const int threads = core_.most_threads();
  const bool intact = !end.applied && is_intact(state, threads);
  const bool stuck = intact && cursor.largest_norm > kSteep<T> && has_infinite_optimizer(state, threads);
  if (intact && !stuck) return end;
  // An update was applied before its gradient, or its result, was found to be NaN or infinite.
  if (stuck) end.too_steep = cursor.largest_norm;
  if (end.status != RunStatus::bad_data) end.status = RunStatus::not_finite;
  end.fault = core_.fault_of_state();
  if (core_.saved.restore(state, threads)) cursor = start_;
  return end;
}

template <class T>
EpochResult Epoch<T>::result() const {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  const Cursor& cursor = core_.cursor;
  EpochResult out;
  out.epoch = cursor.epoch;
  out.loss = cursor.loss();
  out.accuracy = core_.accuracy_of(cursor.correct, data_, run_.data.order, cursor.row);
  out.val_loss = out.val_accuracy = kNaN;
  out.learning_rate = rates_.back();
  out.grad_norm = cursor.grad_norm_sum / static_cast<double>(cursor.updates);
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
  out.samples_per_second = static_cast<double>(cursor.row - first_row_) / out.seconds;
  return out;
}

template class Epoch<float>;
template class Epoch<double>;

}  // namespace stoop
