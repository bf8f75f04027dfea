// Trainer<T>::fit: one epoch after the other, with validation, history and the functions of the caller between them.

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "agreement.hpp"
#include "checkpoint_file.hpp"
#include "epoch.hpp"
#include "fit_record.hpp"
#include "fit_run.hpp"
#include "../base/fingerprint.hpp"
#include "../io/file.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr const char* kFit = "Trainer.fit";
constexpr const char* kValidation = "Trainer.fit, validation_data";

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
EpochSettings settings_of(const FitOptions<T>& options, const TrainerCore<T>& core, Index rows) {
  EpochSettings how;
  how.batch = std::min(options.batch_size, rows);
  const Index rest = rows % how.batch;
  const bool needs_variance = core.has_batch_norm();  // one row alone has none
  how.merged = std::min(rest, options.last_batch == LastBatch::merge ? how.batch - 1 : Index{needs_variance});
  how.samples = rows - (options.last_batch == LastBatch::drop ? rest : 0);
  how.accumulate = std::min(core.config.accumulate, block_count(how.samples, how.batch));  // no more than there are
  how.shuffle = options.shuffle;
  how.rollback = options.rollback;
  how.penalty_per_sample = options.penalty_per_sample;
  return how;
}

// What the trainer knows of its newest fit. A fit within a function of another fit puts that of the other back.
template <class T>
class NewestFit {
 public:
  explicit NewestFit(TrainerCore<T>& core)
      : core_(core),
        is_outer_(core.fits_running++ == 0),
        cursor_(core.cursor),
        record_(core.fit),
        history_(is_outer_ ? History{} : core.history) {}
  ~NewestFit() {
    --core_.fits_running;
    if (is_outer_) return;
    core_.cursor = cursor_;
    core_.fit = record_;
    core_.history = std::move(history_);
  }
  NewestFit(const NewestFit&) = delete;
  NewestFit& operator=(const NewestFit&) = delete;

 private:
  TrainerCore<T>& core_;
  const bool is_outer_;
  const Cursor cursor_;
  const FitRecord record_;
  History history_;
};

template <class T>
class Fit {
 public:
  Fit(TrainerCore<T>& core, const FitOptions<T>& options, const Dataset<T>& data, const Dataset<T>* validation)
      : core_(core),
        options_(options),
        data_(data),
        validation_(validation),
        how_(settings_of(options, core, data.rows())),
        deadline_(options.max_seconds),
        poller_([this](Index done) { return goes_on(done); }) {
    if (options.augment) augmentation_.emplace(*options.augment, core.config.seed);
    poller_.is_due();  // its time begins now
  }

  // Reads the checkpoint to resume from, or computes the statistics of the inputs if the model lacks them. Returns what other processes must have alike.
  Claims prepare() {
    own_ = {.first_epoch = core_.state.epoch,
            .samples = data_.rows(),
            .batch_size = how_.batch,
            .shuffle = how_.shuffle,
            .last_batch = options_.last_batch,
            .data = checksum_of(data_),
            .augment = checksum_of(options_.augment ? &*options_.augment : nullptr)};
    if (!options_.resume.empty() && is_there(options_.resume)) {
      resumed_ = read_checkpoint<T>(options_.resume, options_.keep_going);
      check_record(options_.resume, resumed_->state.fit, own_);
    } else {
      Poller poller(options_.keep_going);
      statistics_ = core_.lacking_statistics(kFit, data_, options_.keep_going ? &poller : nullptr);
    }
    if (!core_.is_shared()) return {};
    Claims claims = claims_of(core_, data_, true);
    if (validation_ != nullptr) claims.validation = claim_of_data(*validation_);
    if (resumed_) claims.checkpoint = claim_of_checkpoint(*resumed_);
    claims.options = Fingerprint()
                         .add_number(options_.epochs)
                         .add_number(how_.batch)
                         .add_number(how_.merged)
                         .add_number(how_.samples)
                         .add_number(how_.shuffle)
                         .add_number(options_.validation_freq)
                         .add_number(options_.last_batch)
                         .add_number(own_.augment)
                         .value();
    return claims;
  }

  History run() {
    const NewestFit<T> newest(core_);
    begin();
    if (core_.full_batch && !is_ended()) objective_ = core_.make_objective(kFit, data_, poller());
    while (!is_ended() && core_.fit.epochs < options_.epochs) {
      core_.bind_model(kFit);
      core_.check_not_swapped(kFit);
      std::optional<EpochResult> result = core_.full_batch ? run_iteration() : run_epoch();
      if (!result) break;
      end_epoch(*result);
      // After an iteration, which is an epoch, its number has grown, so that a checkpoint is that of a whole epoch.
      if (core_.full_batch) look(1, {result->epoch, core_.state.steps, result->loss, 1.0, result->learning_rate});
      follow(core_.agreed_wish(kFit, between_epochs()));
    }
    if (core_.full_batch) core_.full_batch->forget_point();  // this may be within another fit, on other samples
    core_.history.stop_reason = reason_.value_or(StopReason::epochs);
    return core_.history;
  }

 private:
  using Clock = std::chrono::steady_clock;

  bool is_ended() const { return reason_.has_value(); }
  bool has_other_threads() const { return core_.granted_threads() != granted_; }
  void end(StopReason reason) {
    if (!reason_) reason_ = reason;
  }
  bool is_late() const { return std::chrono::duration<double>(Clock::now() - began_).count() >= deadline_; }
  // In a world of several processes an iteration on all samples is not interrupted, since the others would end it.
  Poller* poller() {
    if (core_.full_batch && core_.is_shared()) return nullptr;
    return options_.on_progress || deadline_ < std::numeric_limits<double>::infinity() ? &poller_ : nullptr;
  }

  // Asked between two updates, and within an iteration on all samples, which would be lost if it stopped only for a look.
  bool goes_on(Index done) {
    core_.wish = own_wish(done);
    follow(core_.wish);
    if (core_.wish > Wish::look) return false;
    return core_.full_batch != nullptr || (core_.wish == Wish::go_on && !has_other_threads());
  }

  Wish own_wish(Index done) const {
    if (is_late()) return Wish::stop_for_time;
    if (!options_.on_progress) return Wish::go_on;
    const Next next = options_.on_progress({core_.state.epoch, done, how_.samples});
    return next == Next::stop ? Wish::stop : next == Next::look ? Wish::look : Wish::go_on;
  }

  Wish between_epochs() const {
    if (is_late()) return Wish::stop_for_time;
    return core_.full_batch && core_.is_shared() ? own_wish(0) : Wish::go_on;
  }

  void follow(Wish wish) {
    if (wish == Wish::stop_for_time) end(StopReason::max_time);
    if (wish == Wish::stop) end(StopReason::interrupted);
    if (wish == Wish::look) looks_ = true;
  }

  void begin() {
    if (resumed_) {
      put_into(core_, *resumed_);
    } else {
      core_.cursor = {};
      core_.fit = own_;
      core_.history = {};
    }
    if (statistics_) core_.set_statistics(*statistics_);
    core_.bind_adapted_model(kFit);  // a checkpoint may have been written by hand
    core_.cursor.epoch = core_.state.epoch;
    if (options_.on_begin && !options_.on_begin(resumed_ ? &*resumed_ : nullptr)) end(StopReason::callback);
    resumed_.reset();
    ask_for_steps();
  }

  void ask_for_steps() {
    until_steps_ = options_.next_steps ? options_.next_steps() : 0;
    counts_steps_ = until_steps_ > 0;
  }

  // Returns nothing if it ended before the end of the epoch.
  std::optional<EpochResult> run_epoch() {
    core_.cursor.epoch = core_.state.epoch;
    granted_ = core_.granted_threads();
    Epoch<T> epoch(core_, data_, how_, poller(), augmentation_ ? &*augmentation_ : nullptr);
    while (!epoch.is_complete()) {
      const Index before = core_.cursor.updates;
      const EpochEnd end = epoch.advance(counts_steps_ ? epoch.end_of(until_steps_) : how_.samples);
      core_.refuse_bad_data(kFit, data_.x(), end);
      if (end.status == RunStatus::not_finite) core_.refuse_update(kFit, end.rate, end, end.updates);
      follow(end.wish);
      const Cursor& cursor = core_.cursor;
      if (counts_steps_ && epoch.is_complete()) looks_ = true;  // the sums of the epoch end here
      const bool called = look(cursor.updates - before, {cursor.epoch, core_.state.steps, cursor.loss_sum,
                                                         cursor.weight_sum, epoch.newest_rate()});
      if (is_ended() && !epoch.is_complete()) return std::nullopt;
      if (called) core_.bind_model(kFit);
      if (called) core_.check_not_swapped(kFit);
      if (epoch.is_complete() || !(called || has_other_threads())) continue;
      granted_ = core_.granted_threads();
      epoch.renew();
    }
    return epoch.result();
  }

  std::optional<EpochResult> run_iteration() {
    const std::span<T> now = objective_.point = core_.state.parameters;
    if (!std::equal(now.begin(), now.end(), left_.begin(), left_.end())) core_.full_batch->forget_point();
    const std::optional<EpochResult> result = core_.run_iteration(data_, objective_, kFit);
    if (!result) return end(StopReason::interrupted), result;
    left_.assign(now.begin(), now.end());
    return result;
  }

  // Calls on_steps if it is time for it, after so many more updates. Returns whether it did.
  bool look(Index updates, const StepsResult& now) {
    if (counts_steps_) until_steps_ -= updates;
    const bool is_due = std::exchange(looks_, false) || (counts_steps_ && until_steps_ <= 0);
    if (is_ended() || !is_due || !options_.on_steps) return false;
    if (!options_.on_steps(now)) end(StopReason::callback);
    ask_for_steps();
    return true;
  }

  void end_epoch(EpochResult& result) {
    if (validation_ != nullptr && (core_.fit.epochs + 1) % options_.validation_freq == 0) {
      validate(result);
    }
    append(core_.history, result, has_accuracy(core_.loss()), validation_ != nullptr);
    ++core_.state.epoch;
    ++core_.fit.epochs;
    core_.cursor = {};
    if (options_.on_epoch && !options_.on_epoch(result)) end(StopReason::callback);
    if (!counts_steps_) ask_for_steps();  // which on_epoch may have changed
  }

  // If the validation of an epoch is interrupted, the values that were not measured stay NaN.
  void validate(EpochResult& result) {
    Poller poller(options_.keep_going);
    try {
      const Metrics metrics = core_.evaluate(kValidation, *validation_, options_.keep_going ? &poller : nullptr);
      result.val_loss = metrics.loss;
      result.val_accuracy = metrics.accuracy;
    } catch (const Interrupted&) {
      end(StopReason::interrupted);
    }
  }

  TrainerCore<T>& core_;
  const FitOptions<T>& options_;
  const Dataset<T>& data_;
  const Dataset<T>* const validation_;
  const EpochSettings how_;
  std::optional<Augmentation<T>> augmentation_;
  const double deadline_;  // seconds after the start
  const Clock::time_point began_ = Clock::now();
  Poller poller_;
  FitRecord own_;
  std::optional<Checkpoint<T>> resumed_;  // until it has begun
  std::optional<ColumnStatistics> statistics_;
  std::optional<StopReason> reason_;
  int granted_ = 0;        // threads when the running segment began
  bool looks_ = false;     // on_progress wants on_steps to be called
  Index until_steps_ = 0;  // updates until on_steps is called
  bool counts_steps_ = false;

  // ---- LBFGS and NewtonCG ----
  Objective<T> objective_;
  std::vector<T> left_;  // the parameters after an iteration, which a function of the caller may change
};

}  // namespace

template <class T>
void check_fit_options(std::string_view where, const FitOptions<T>& options, Index rows) {
  if (options.epochs < 1) {
    throw_value_error(where, "epochs=" + std::to_string(options.epochs), "expected at least 1",
                      "give the number of passes over X");
  }
  if (options.batch_size < 1) {
    throw_value_error(where, "batch_size=" + std::to_string(options.batch_size), "expected at least 1",
                      "32 to 512 is usual; the number of samples is full-batch descent");
  }
  if (options.validation_freq < 1) {
    throw_value_error(where, "validation_freq=" + std::to_string(options.validation_freq), "expected at least 1",
                      "1 validates after each epoch");
  }
  if (!(options.max_seconds >= 0.0)) {
    throw_value_error(where, "max_time=" + number_text(options.max_seconds), "expected at least 0 seconds",
                      "leave it out for a fit without a limit");
  }
  if (options.last_batch == LastBatch::drop && rows < options.batch_size) {
    throw_value_error(where,
                      "last_batch is \"drop\" and X has " + std::to_string(rows) +
                          " rows for batch_size=" + std::to_string(options.batch_size),
                      "expected at least one whole batch, nothing would remain",
                      "lower batch_size, or keep the last batch");
  }
}

template <class T>
void check_fit_data(std::string_view where, const TrainerCore<T>& core, const FitOptions<T>& options,
                    const Dataset<T>& data) {
  const Index rows = data.rows();
  core.check_batch(where, rows, std::min(options.batch_size, rows));
  if (options.augment) check_fit_augment(where, *options.augment, data, core.full_batch != nullptr);
  if (options.penalty_per_sample && (core.full_batch != nullptr || core.device.world.shards > 1)) {
    throw_value_error(where, "penalty_per_sample with LBFGS, NewtonCG or several processes",
                      "expected updates by mini-batches in one process", "divide l1 and l2 by the number of samples");
  }
  if (core.full_batch == nullptr || options.batch_size >= rows) return;
  throw_value_error(where,
                    "batch_size=" + std::to_string(options.batch_size) + " of " + std::to_string(rows) +
                        " samples with the optimizer " + std::string(name_of(core.config.optimizer)),
                    "expected the full batch", "give batch_size=" + std::to_string(rows) + ", shuffle=false");
}

template <class T>
Index largest_batch(const TrainerCore<T>& core, const FitOptions<T>& options, Index rows) {
  const EpochSettings how = settings_of(options, core, rows);
  return how.batch + how.merged;
}

template <class T>
History run_fit(TrainerCore<T>& core, const FitOptions<T>& options, const Dataset<T>& data,
                const Dataset<T>* validation) {
  Fit<T> fit(core, options, data, validation);
  fit.prepare();
  return fit.run();
}

template <class T>
History Trainer<T>::fit(const InputView& x, const Targets<T>& y, const FitOptions<T>& options) {
  TrainerCore<T>& core = *impl_;
  std::optional<Dataset<T>> data, validation;
  std::optional<Fit<T>> fit;
  agree(core.world(), kFit, [&] {
    core.check_not_alone(kFit);
    check_fit_options(kFit, options, x.rows);
    core.check_not_swapped(kFit);
    core.bind_model(kFit);
    Poller checking(options.keep_going);
    Poller* const asked = options.keep_going ? &checking : nullptr;
    data.emplace(kFit, x, y, core.needs(), asked);
    if (options.validation_x) {  // checked completely now, so that errors in it are found before the first epoch
      validation.emplace(kValidation, *options.validation_x, options.validation_y, core.needs(), asked, true);
    }
    fit.emplace(core, options, *data, validation ? &*validation : nullptr);
    check_fit_data(kFit, core, options, *data);
    return fit->prepare();
  });
  return fit->run();
}

template void check_fit_options(std::string_view, const FitOptions<float>&, Index);
template void check_fit_data(std::string_view, const TrainerCore<float>&, const FitOptions<float>&,
                             const Dataset<float>&);
template Index largest_batch(const TrainerCore<float>&, const FitOptions<float>&, Index);
template History run_fit(TrainerCore<float>&, const FitOptions<float>&, const Dataset<float>&, const Dataset<float>*);
template void check_fit_options(std::string_view, const FitOptions<double>&, Index);
template void check_fit_data(std::string_view, const TrainerCore<double>&, const FitOptions<double>&,
                             const Dataset<double>&);
template Index largest_batch(const TrainerCore<double>&, const FitOptions<double>&, Index);
template History run_fit(TrainerCore<double>&, const FitOptions<double>&, const Dataset<double>&,
                         const Dataset<double>*);
template History Trainer<float>::fit(const InputView&, const Targets<float>&, const FitOptions<float>&);
template History Trainer<double>::fit(const InputView&, const Targets<double>&, const FitOptions<double>&);

}  // namespace stoop
