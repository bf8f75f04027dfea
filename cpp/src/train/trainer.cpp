// Trainer<T>: checks what it is given and runs whole epochs through an executor; what it holds is in trainer_impl.hpp.

#include <chrono>
#include <limits>
#include <numeric>

#include "../data/shuffle.hpp"
#include "../run/squared_gradient.hpp"
#include "trainer_impl.hpp"

namespace stoop {
namespace {

constexpr Index kEvaluationRows = 128;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

}  // namespace

template <class T>
Trainer<T>::Trainer(Model<T>& model, TrainerConfig config) {
  impl_ = std::make_unique<Impl>(model, std::move(config));
}
template <class T>
Trainer<T>::Trainer(Trainer&&) noexcept = default;
template <class T>
Trainer<T>::~Trainer() = default;

template <class T>
std::optional<EpochResult> Trainer<T>::Impl::run_epoch(TrainingExecutor<T>& executor, TrainingRun<T>& run,
                                                       bool shuffled, bool& interrupted) {
  const auto start = std::chrono::steady_clock::now();
  run.updates_done = steps;
  if (shuffled) {
    shuffle(config.seed, epoch, order);
    run.data.order = order.data();
  }
  save();
  TrainingResult result = execute(executor, run);
  const double last_rate = run.learning_rates[std::max<Index>(result.steps, 1) - 1];
  const bool intact = !result.non_finite_gradient && is_intact();
  const bool stuck = intact && result.largest_norm > kSteep<T> && has_infinite_state();
  if (stuck) result.too_steep = result.largest_norm;
  // An update that was applied before its gradient, or what it left, was found to be no number.
  if (!intact || stuck) {
    restore();
    refuse_bad_data("Trainer.fit", run.data.x, result);
    refuse_update("fit", last_rate, result, steps + result.steps);
  }
  steps += result.steps;
  refuse_bad_data("Trainer.fit", run.data.x, result);
  if (result.non_finite_loss) refuse_update("fit", last_rate, result, steps);
  interrupted = result.interrupted;
  if (result.samples < run.data.x.rows) return std::nullopt;

  EpochResult out;
  const double samples = static_cast<double>(result.samples);
  out.epoch = epoch;
  out.loss = result.loss_sum / result.weight_sum;
  out.accuracy = has_accuracy(loss()) ? result.correct / samples : kNaN;
  out.val_loss = out.val_accuracy = kNaN;
  out.learning_rate = last_rate;
  out.grad_norm = result.grad_norm_sum / static_cast<double>(result.steps);
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  out.samples_per_second = samples / out.seconds;
  return out;
}

namespace {

void append(History& history, const EpochResult& result, bool has_accuracy, bool has_validation) {
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
    throw_value_error("Trainer.fit", "epochs=" + std::to_string(options.epochs), "expected at least 1",
                      "give the number of passes over X");
  }
  if (options.batch_size < 1) {
    throw_value_error("Trainer.fit", "batch_size=" + std::to_string(options.batch_size), "expected at least 1",
                      "32 to 512 is usual; len(X) is full-batch descent");
  }
  if (options.last_batch == LastBatch::drop && rows < options.batch_size) {
    throw_value_error("Trainer.fit",
                      "last_batch is \"drop\" and X has " + std::to_string(rows) +
                          " rows for batch_size=" + std::to_string(options.batch_size),
                      "expected at least one whole batch, nothing would remain",
                      "lower batch_size, or keep the last batch");
  }
}

// The last batch joins the one before it if it has up to this many rows: one row alone has no variance.
Index merged_rows(LastBatch last_batch, Index batch, bool needs_variance) {
  if (last_batch == LastBatch::merge) return batch - 1;
  return needs_variance ? 1 : 0;
}

}  // namespace

// An epoch whose validation is interrupted keeps NaN for what was not measured.
template <class T>
void Trainer<T>::Impl::validate(const FitOptions<T>& options, EpochResult& result, bool& interrupted) {
  Poller poller(options.keep_going);
  try {
    const Metrics metrics =
        evaluate(*options.validation_x, options.validation_y, options.keep_going ? &poller : nullptr);
    result.val_loss = metrics.loss;
    result.val_accuracy = metrics.accuracy;
  } catch (const Interrupted&) {
    interrupted = true;
  }
}

// on_epoch may call the trainer: the next epoch finds only what is its own, `rates`, as the last one left it.
template <class T>
History Trainer<T>::Impl::run_epochs(const FitOptions<T>& options, Index updates, const RunOne& run_one) {
  const bool has_validation = options.validation_x.has_value();
  std::vector<double> rates(static_cast<std::size_t>(updates));
  History history;
  for (Index i = 0; i < options.epochs && !history.interrupted; ++i) {
    check_layout("Trainer.fit");
    check_not_swapped("Trainer.fit");
    tabulate(options.tabulate, rates);
    model.set_output_by_training(output_of(loss()));
    std::optional<EpochResult> result = run_one(rates, history.interrupted);
    if (!result) break;
    if (has_validation) validate(options, *result, history.interrupted);
    append(history, *result, has_accuracy(loss()), has_validation);
    ++epoch;
    if (options.on_epoch && !options.on_epoch(*result)) history.interrupted = true;
  }
  return history;
}

template <class T>
History Trainer<T>::fit(const InputView& x, const Targets<T>& y, const FitOptions<T>& options) {
  check_options(options, x.rows);
  impl_->check_not_swapped("Trainer.fit");
  Poller checking(options.keep_going);
  Poller* const asked = options.keep_going ? &checking : nullptr;
  impl_->check("Trainer.fit", x, y, asked);
  if (options.validation_x) {
    InputView validation = *options.validation_x;
    validation.mapped = false;  // what is wrong with it should not be found after an epoch
    impl_->check("Trainer.fit validation_data", validation, options.validation_y, asked);
  }
  const Index batch = std::min(options.batch_size, x.rows), rest = x.rows % batch;
  impl_->check_batch("Trainer.fit", x.rows, batch);
  const Index merged = merged_rows(options.last_batch, batch, has_node(impl_->graph, NodeKind::batch_norm));
  const Index samples = x.rows - (options.last_batch == LastBatch::drop ? rest : 0);  // of an epoch
  Poller poller([&](Index done) { return options.on_progress({impl_->epoch, done, samples}); });
  poller.is_due();  // its time begins now
  if (impl_->full_batch) return impl_->fit_full_batch(x, y, options, options.on_progress ? &poller : nullptr);
  const Index accumulate = std::min(impl_->config.accumulate, block_count(samples, batch));  // no more than there are
  std::vector<double> weights;  // of its own, since callbacks may call the trainer
  const auto run_one = [&](std::span<const double> rates, bool& interrupted) {
    const bool checked = needs_all_gradients(impl_->config);  // which a callback may have changed
    TrainingExecutor<T>& executor =
        impl_->executor(checked ? PlanKind::checked : PlanKind::training, batch + std::min(merged, rest), y);
    if (options.shuffle) impl_->order.resize(static_cast<std::size_t>(x.rows));
    TrainingRun<T> run = impl_->make_update_run(x, y, batch, checked, weights);
    run.learning_rates = rates.data();
    run.data.x.rows = samples;
    run.merged = merged;
    run.accumulate = accumulate;
    if (options.on_progress) run.poller = &poller;
    return impl_->run_epoch(executor, run, options.shuffle, interrupted);
  };
  return impl_->run_epochs(options, update_count(samples, batch, accumulate, merged), run_one);
}

template <class T>
double Trainer<T>::step(const InputView& batch, const Targets<T>& y, const KeepGoing& keep_going) {
  Poller poller(keep_going);
  Poller* const asked = keep_going ? &poller : nullptr;
  InputView x = batch;
  x.mapped = false;  // all of it is read at once anyway: checked first, like any other
  impl_->check_not_swapped("Trainer.step");
  impl_->check("Trainer.step", x, y, asked);
  impl_->check_batch("Trainer.step", x.rows, x.rows);
  double rate = 0.0;
  impl_->tabulate({}, {&rate, 1});
  impl_->model.set_output_by_training(output_of(impl_->loss()));
  if (impl_->full_batch) return impl_->step_full_batch(x, y, rate, asked);
  TrainingRun<T> run = impl_->make_update_run(x, y, x.rows, true, impl_->weights);
  run.learning_rates = &rate;
  run.poller = asked;
  run.stops_within = asked != nullptr;
  const TrainingResult result = impl_->execute(impl_->executor(PlanKind::checked, x.rows, y), run);
  if (result.interrupted) throw_interrupted("Trainer.step");
  impl_->refuse_bad_data("Trainer.step", x, result);
  if (result.non_finite_loss) impl_->refuse_update("step", rate, result, impl_->steps);
  impl_->steps += 1;
  return result.loss_sum / result.weight_sum;
}

template <class T>
double Trainer<T>::loss_and_grad(const InputView& x, const Targets<T>& y, std::span<T> gradient, GradientMode mode,
                                 const KeepGoing& keep_going) {
  Poller poller(keep_going);
  Poller* const asked = keep_going ? &poller : nullptr;
  impl_->check("Trainer.loss_and_grad", x, y, asked);
  if (mode.training) impl_->check_batch("Trainer.loss_and_grad", x.rows, x.rows);
  if (!gradient.empty()) impl_->check_block("Trainer.loss_and_grad", "gradient", gradient.size());
  std::fill(gradient.begin(), gradient.end(), T(0));  // padding, and layers that are not trainable
  TrainingRun<T> run = impl_->make_run(x, y, x.rows, impl_->weights);
  run.gradient = gradient.data();
  run.poller = asked;
  if (gradient.empty()) run.fixed_penalty = impl_->penalty(Weights::all);  // nothing else visits the weights
  const auto question = gradient.empty() ? Impl::Question::loss : Impl::Question::gradient;
  const TrainingResult result = impl_->ask(question, mode, run, y);
  // A run that stopped at a non-finite loss has no gradient; the loss is the sum that was found there.
  if (result.non_finite_loss) std::fill(gradient.begin(), gradient.end(), std::numeric_limits<T>::quiet_NaN());
  return result.loss_sum / result.weight_sum;
}

template <class T>
void Trainer<T>::hessian_vector_product(const InputView& x, const Targets<T>& y, std::span<const T> direction,
                                        std::span<T> product, GradientMode mode, const KeepGoing& keep_going) {
  constexpr const char* kWhere = "Trainer.hessian_vector_product";
  Poller poller(keep_going);
  Poller* const asked = keep_going ? &poller : nullptr;
  impl_->check(kWhere, x, y, asked);
  if (mode.training) impl_->check_batch(kWhere, x.rows, x.rows);
  impl_->check_block(kWhere, "direction", direction.size());
  impl_->check_block(kWhere, "product", product.size());
  std::fill(product.begin(), product.end(), T(0));
  TrainingRun<T> run = impl_->make_run(x, y, x.rows, impl_->weights);
  run.direction = direction.data();
  run.gradient = product.data();
  run.poller = asked;
  const TrainingResult result = impl_->ask(Impl::Question::curvature, mode, run, y);
  if (result.non_finite_loss) std::fill(product.begin(), product.end(), std::numeric_limits<T>::quiet_NaN());
}

template <class T>
Metrics Trainer<T>::Impl::evaluate(const InputView& x, const Targets<T>& y, Poller* poller) {
  if (evaluation.steps.empty()) evaluation = build_plan(plan_request(PlanKind::evaluation, kEvaluationRows, false));
  InferenceRun<T> run;
  run.plan = &evaluation;
  run.ops = &ops;
  run.parameters = model.parameter_block().data();
  run.running = model.buffer_block().data();
  run.loss_numbers = numbers_of(config.loss);
  run.data = make_run(x, y, kEvaluationRows, weights).data;
  run.threads = threads_for(evaluation.flops / kEvaluationRows * static_cast<double>(x.rows));
  run.poller = poller;
  const InferenceResult result = run_inference(run);
  if (result.interrupted) throw_interrupted("Trainer.evaluate");
  refuse_bad_data("Trainer.evaluate", x, result);
  const double rows = static_cast<double>(x.rows);
  const double* relative = run.data.weights;
  const double weight = relative == nullptr ? rows : std::accumulate(relative, relative + x.rows, 0.0);
  return {result.loss_sum / weight + penalty(Weights::all), has_accuracy(loss()) ? result.correct / rows : kNaN};
}

template <class T>
Metrics Trainer<T>::evaluate(const InputView& x, const Targets<T>& y, const KeepGoing& keep_going) {
  Poller poller(keep_going);
  Poller* const asked = keep_going ? &poller : nullptr;
  impl_->check("Trainer.evaluate", x, y, asked);
  return impl_->evaluate(x, y, asked);
}

template <class T>
std::span<T> Trainer<T>::ema_block() {
  return impl_->average.elements();
}

template <class T>
void Trainer<T>::swap_ema() {
  if (!impl_->config.ema) {
    throw_value_error("Trainer.swap_ema", "no average of the parameters is kept", "expected `ema` in the configuration",
                      "make the trainer with ema=0.999, for example");
  }
  if (!impl_->swapped) impl_->start_average();
  const auto block = impl_->model.parameter_block();
  std::swap_ranges(block.begin(), block.end(), impl_->average.data());
  impl_->swapped = !impl_->swapped;
}

template <class T>
const Model<T>& Trainer<T>::model() const {
  return impl_->model;
}
template <class T>
Index Trainer<T>::epoch() const {
  return impl_->epoch;
}
template <class T>
Index Trainer<T>::steps() const {
  return impl_->steps;
}
template <class T>
const TrainerConfig& Trainer<T>::config() const {
  return impl_->config;
}

template class Trainer<float>;
template class Trainer<double>;

}  // namespace stoop
