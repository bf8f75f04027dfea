// Trainer<T>::fit: one epoch after the other, with validation, history and callbacks.

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <string>

#include "epoch.hpp"

namespace stoop {
namespace {

constexpr const char* kWhere = "Trainer.fit";

void append(History& history, const EpochResult& result, bool has_accuracy, bool has_validation) {
  history.epochs.push_back(result.epoch);
  history.loss.push_back(result.loss);
  history.learning_rate.push_back(result.learning_rate);
  history.grad_norm.push_back(result.grad_norm);
  history.samples_per_second.push_back(result.samples_per_second);
  if (has_accuracy) history.accuracy.push_back(result.accuracy);
  if (has_validation) history.val_loss.push_back(result.val_loss);
  if (has_validation && has_accuracy) history.val_accuracy.push_back(result.val_accuracy);
}

template <class T>
void check_options(const FitOptions<T>& options, Index rows) {
  if (options.epochs < 1) {
    throw_value_error(kWhere, "epochs=" + std::to_string(options.epochs), "expected at least 1",
                      "give the number of passes over X");
  }
  if (options.batch_size < 1) {
    throw_value_error(kWhere, "batch_size=" + std::to_string(options.batch_size), "expected at least 1",
                      "32 to 512 is usual; len(X) is full-batch descent");
  }
  if (options.last_batch == LastBatch::drop && rows < options.batch_size) {
    throw_value_error(kWhere,
                      "last_batch is \"drop\" and X has " + std::to_string(rows) +
                          " rows for batch_size=" + std::to_string(options.batch_size),
                      "expected at least one whole batch, nothing would remain",
                      "lower batch_size, or keep the last batch");
  }
}

template <class T>
EpochSettings settings_of(const FitOptions<T>& options, const TrainerCore<T>& core, Index rows) {
  EpochSettings how;
  how.batch = std::min(options.batch_size, rows);
  const Index rest = rows % how.batch;
  const bool needs_variance = core.has_batch_norm();  // one row alone has none
  how.merged = std::min(rest, options.last_batch == LastBatch::merge ? how.batch - 1 : Index{needs_variance});
  how.samples = rows - (options.last_batch == LastBatch::drop ? rest : 0);
  how.accumulate = std::min(core.config.accumulate, block_count(how.samples, how.batch));  // no more than there are
  how.shuffle = options.shuffle;
  return how;
}

// If the validation of an epoch is interrupted, the values that were not measured stay NaN.
template <class T>
void validate(TrainerCore<T>& core, const Dataset<T>& data, const KeepGoing& keep_going, EpochResult& result,
              bool& interrupted) {
  Poller poller(keep_going);
  try {
    const Metrics metrics = core.evaluate(data, keep_going ? &poller : nullptr);
    result.val_loss = metrics.loss;
    result.val_accuracy = metrics.accuracy;
  } catch (const Interrupted&) {
    interrupted = true;
  }
}

// Runs an epoch. Returns nothing if it was interrupted before its end.
using RunOne = std::function<std::optional<EpochResult>(bool& interrupted)>;

// on_epoch may call the trainer, also to train.
template <class T>
History run_epochs(TrainerCore<T>& core, const FitOptions<T>& options, const Dataset<T>* validation,
                   const RunOne& run_one) {
  const bool has_validation = validation != nullptr;
  History own;
  History& history = options.history != nullptr ? *options.history : own;
  history.interrupted = false;
  for (Index i = 0; i < options.epochs && !history.interrupted; ++i) {
    core.bind_model(kWhere);
    core.check_not_swapped(kWhere);
    std::optional<EpochResult> result = run_one(history.interrupted);
    if (!result) break;
    if (has_validation) validate(core, *validation, options.keep_going, *result, history.interrupted);
    append(history, *result, has_accuracy(core.loss()), has_validation);
    ++core.state.epoch;
    if (options.on_epoch && !options.on_epoch(*result)) history.interrupted = true;
  }
  return history;
}

template <class T>
std::optional<EpochResult> run_epoch(TrainerCore<T>& core, const Dataset<T>& data, const EpochSettings& how,
                                     Poller* poller, bool& interrupted) {
  core.cursor = {.epoch = core.state.epoch};
  Epoch<T> epoch(core, data, how, poller);
  const EpochEnd end = epoch.advance(how.samples);
  core.refuse_bad_data(kWhere, data.x(), end);
  if (end.status == RunStatus::not_finite) core.refuse_update(kWhere, end.rate, end, end.updates);
  interrupted = end.status == RunStatus::interrupted;
  if (!epoch.is_complete()) return std::nullopt;
  return epoch.result();
}

template <class T>
void check_full_batch(const TrainerCore<T>& core, const FitOptions<T>& options, Index rows) {
  if (core.full_batch == nullptr || options.batch_size >= rows) return;
  throw_value_error(kWhere,
                    "batch_size=" + std::to_string(options.batch_size) + " of " + std::to_string(rows) +
                        " samples with the optimizer " + std::string(name_of(core.config.optimizer)),
                    "expected the full batch", "give batch_size=" + std::to_string(rows) + ", shuffle=false");
}

template <class T>
History fit_full_batch(TrainerCore<T>& core, const Dataset<T>& data, const FitOptions<T>& options,
                       const Dataset<T>* validation, Poller* poller) {
  Objective<T> objective = core.make_objective(data, poller);
  std::vector<T> left;  // the parameters after an iteration; on_epoch may change them, or assign the model
  History history = run_epochs<T>(core, options, validation, [&](bool& interrupted) {
    const std::span<T> now = objective.point = core.state.parameters;
    if (!std::equal(now.begin(), now.end(), left.begin(), left.end())) core.full_batch->forget_point();
    const std::optional<EpochResult> result = core.run_iteration(data, objective, kWhere);
    interrupted = !result.has_value();
    left.assign(now.begin(), now.end());
    return result;
  });
  core.full_batch->forget_point();  // this may be within another fit, on other samples
  return history;
}

}  // namespace

template <class T>
History Trainer<T>::fit(const InputView& x, const Targets<T>& y, const FitOptions<T>& options) {
  TrainerCore<T>& core = *impl_;
  check_options(options, x.rows);
  core.check_not_swapped(kWhere);
  core.bind_model(kWhere);
  Poller checking(options.keep_going);
  Poller* const asked = options.keep_going ? &checking : nullptr;
  const Dataset<T> data(kWhere, x, y, core.needs(), asked);
  std::optional<Dataset<T>> validation;
  if (options.validation_x) {  // checked completely now, so that errors in it are found before the first epoch
    validation.emplace("Trainer.fit, validation_data", *options.validation_x, options.validation_y, core.needs(), asked,
                       true);
  }
  const EpochSettings how = settings_of(options, core, x.rows);
  core.check_batch(kWhere, x.rows, how.batch);
  check_full_batch(core, options, x.rows);
  Poller poller([&](Index done) { return options.on_progress({core.state.epoch, done, how.samples}); });
  poller.is_due();  // its time begins now
  Poller* const told = options.on_progress ? &poller : nullptr;
  const Dataset<T>* const measured = validation ? &*validation : nullptr;
  if (core.full_batch) return fit_full_batch(core, data, options, measured, told);
  return run_epochs<T>(core, options, measured,
                       [&](bool& interrupted) { return run_epoch(core, data, how, told, interrupted); });
}

template History Trainer<float>::fit(const InputView&, const Targets<float>&, const FitOptions<float>&);
template History Trainer<double>::fit(const InputView&, const Targets<double>&, const FitOptions<double>&);

}  // namespace stoop
