#include "epoch.hpp"

#include <algorithm>
#include <limits>

#include "../data/shuffle.hpp"
#include "../run/batches.hpp"
#include "../run/squared_gradient.hpp"

namespace stoop {

template <class T>
Epoch<T>::Epoch(TrainerCore<T>& core, const Dataset<T>& data, const EpochSettings& how, Poller* poller)
    : core_(core), how_(how), start_(core.cursor) {
  rates_.resize(static_cast<std::size_t>(update_count(how.samples, how.batch, how.accumulate, how.merged)));
  const Index first_update = core.state.steps - start_.updates;
  core.prepare_updates(first_update, rates_);
  const bool checked = needs_all_gradients(core.config);  // which a callback of fit may have changed
  executor_ = &core.executor(checked ? PlanKind::checked : PlanKind::training, how.batch + how.merged, data);
  run_ = core.make_update_run(data, how.batch, checked);
  run_.data.x.rows = how.samples;
  run_.merged = how.merged;
  run_.accumulate = how.accumulate;
  run_.learning_rates = rates_.data();
  run_.first_update = first_update;
  run_.poller = poller;
  began_ = std::chrono::steady_clock::now();
  if (how.shuffle) {
    core.order.resize(static_cast<std::size_t>(data.rows()));
    shuffle(core.config.seed, start_.epoch, core.order);
    run_.data.order = core.order.data();
  }
  core.read_ahead(run_);
  core.saved.save(core.state, core.most_threads());
}

template <class T>
EpochEnd Epoch<T>::advance(Index until) {
  LiveState<T>& state = core_.state;
  Cursor& cursor = core_.cursor;
  const Index before = cursor.updates;
  EpochEnd end{executor_->run(run_, cursor, until)};
  state.steps += cursor.updates - before;
  end.rate = rates_[static_cast<std::size_t>(std::max<Index>(cursor.updates, 1) - 1)];
  end.updates = state.steps;
  const int threads = core_.most_threads();
  const bool intact = !end.applied && is_intact(state, threads);
  const bool stuck = intact && cursor.largest_norm > kSteep<T> && has_infinite_optimizer(state, threads);
  if (intact && !stuck) return end;
  // An update was applied before its gradient, or its result, was found to be NaN or infinite.
  if (stuck) end.too_steep = cursor.largest_norm;
  if (end.status != RunStatus::bad_data) end.status = RunStatus::not_finite;
  core_.saved.restore(state, threads);
  cursor = start_;
  return end;
}

template <class T>
EpochResult Epoch<T>::result() const {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  const Cursor& cursor = core_.cursor;
  EpochResult out;
  out.epoch = cursor.epoch;
  out.loss = cursor.loss();
  out.accuracy = has_accuracy(core_.loss()) ? cursor.correct / static_cast<double>(cursor.row) : kNaN;
  out.val_loss = out.val_accuracy = kNaN;
  out.learning_rate = rates_.back();
  out.grad_norm = cursor.grad_norm_sum / static_cast<double>(cursor.updates);
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
  out.samples_per_second = static_cast<double>(cursor.row - start_.row) / out.seconds;
  return out;
}

template class Epoch<float>;
template class Epoch<double>;

}  // namespace stoop
