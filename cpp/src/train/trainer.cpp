// Trainer<T>: checks what it is given, prepares an executor per kind of plan and runs whole epochs through it.

#include <stoop/trainer.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include <stoop/error.hpp>
#include <stoop/runtime.hpp>

#include "../model/initialize.hpp"
#include "../ops/select.hpp"
#include "../plan/execute.hpp"
#include "../plan/tuner.hpp"
#include "dataset.hpp"

namespace stoop {
namespace {

constexpr Index kEvaluationRows = 128;
constexpr double kNeverTuned = std::numeric_limits<double>::infinity();  // FLOPs of a step whose team is fixed
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

void check_config(const TrainerConfig& config) {
  validate(config.optimizer);
  if (!(config.l2 >= 0.0) || !std::isfinite(config.l2)) {
    throw_value_error("Trainer", "l2=" + std::to_string(config.l2), "expected a finite number >= 0",
                      "0 turns the penalty off");
  }
  if (config.num_threads < 0 || config.num_threads > kMostThreads) {
    throw_value_error("Trainer", "num_threads=" + std::to_string(config.num_threads),
                      "expected 1 to " + std::to_string(kMostThreads), "leave it out to let the work decide");
  }
}

// The most likely reason, from when it happened.
std::string cause_of(const TrainerConfig& config, Index steps) {
  if (steps == 0) {
    return "the first outputs already overflow: standardise X, or start from smaller weights";
  }
  return "the learning rate " + std::to_string(learning_rate_of(config.optimizer)) +
         " is probably too large for this model: lower it, or standardise X";
}

}  // namespace

template <class T>
struct Trainer<T>::Impl {
  Impl(Model<T>& trained, TrainerConfig settings)
      : model(trained), config(settings), provider(select_gemm_provider()), ops(active_table<T>()) {
    const Index size = parameter_count();
    for (int i = 0; i < state_count(config.optimizer); ++i) state[i].reset(size);
  }

  Model<T>& model;
  TrainerConfig config;
  GemmProvider provider;
  const OpTable<T>& ops;
  AlignedBuffer<T> state[2];
  AlignedBuffer<T> gradient;                          // of checked steps
  std::unique_ptr<TrainingExecutor<T>> executors[3];  // training, checked, gradient
  Plan evaluation;
  std::vector<std::int32_t> order;
  std::vector<T> saved;  // parameters and state at the start of the epoch
  Index epoch = 0;
  Index steps = 0;
  TeamTuner tuner{1, 0.0};  // for teams of up to tuned_limit and steps of tuned_flops
  int tuned_limit = 0;
  double tuned_flops = 0.0;

  Index parameter_count() const { return static_cast<Index>(model.parameter_block().size()); }
  LossKind loss() const { return kind_of(config.loss); }

  Plan plan(PlanKind kind, Index batch) const {
    return build_plan({kind, &model.config(), model.parameter_infos(), loss(), batch, sizeof(T), provider});
  }

  // Threads for batches of this many rows: as told, or as many as the work feeds.
  int threads_for(double flops) const {
    return config.num_threads > 0 ? config.num_threads : useful_threads(flops, get_num_threads());
  }

  // The executor for batches of up to `batch` rows, kept from call to call.
  TrainingExecutor<T>& executor(PlanKind kind, Index batch) {
    auto& slot = executors[static_cast<int>(kind) - static_cast<int>(PlanKind::training)];
    if (slot == nullptr || slot->plan().batch < batch) {
      slot = std::make_unique<TrainingExecutor<T>>(plan(kind, batch), ops);
    }
    return *slot;
  }

  void check(std::string_view where, const MatrixView<const T>& x, const Targets<T>& y) const {
    check_samples(where, x, model.input_dim());
    check_targets(where, y, loss(), x.rows, model.output_dim());
  }

  TrainingRun<T> make_run(const MatrixView<const T>& x, const Targets<T>& y, Index batch) {
    TrainingRun<T> run;
    run.data.x = x;
    run.data.classes = y.classes.data();
    run.data.values = y.values;
    run.batch = batch;
    run.parameters = model.parameter_block().data();
    run.state[0] = state[0].data();
    run.state[1] = state[1].data();
    run.optimizer = config.optimizer;
    run.l2 = config.l2;
    run.updates_done = steps;
    return run;
  }

  // The whole run, in segments between which the size of the team may change.
  TrainingResult execute(TrainingExecutor<T>& executor, TrainingRun<T>& run) {
    const double flops =
        executor.plan().flops / static_cast<double>(executor.plan().batch) * static_cast<double>(run.batch);
    const int limit = threads_for(flops);
    if (tuned_limit != limit || tuned_flops != flops) {
      tuner = TeamTuner(limit, config.num_threads > 0 ? kNeverTuned : flops);
      tuned_limit = limit;
      tuned_flops = flops;
    }
    executor.reserve_threads(limit);
    const Index samples = run.data.x.rows;
    TrainingResult total;
    for (run.first = 0; run.first < samples && !total.stopped(); run.first += run.last - run.first) {
      run.threads = tuner.threads();
      const Index segment = std::min(tuner.steps(), block_count(samples - run.first, run.batch));
      run.last = std::min(run.first + segment * run.batch, samples);
      const auto start = std::chrono::steady_clock::now();
      const Index steps_before = total.steps;
      total = executor.run(run, total);
      const Index made = total.steps - steps_before;
      tuner.record(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), made);
      run.updates_done += made;
    }
    return total;
  }

  // Everything an update changes, copied out or back.
  void save() {
    const auto block = model.parameter_block();
    saved.assign(block.begin(), block.end());
    for (const auto& s : state) saved.insert(saved.end(), s.data(), s.data() + s.size());
  }
  void restore() {
    const T* from = saved.data();
    const auto block = model.parameter_block();
    std::copy_n(from, block.size(), block.begin());
    from += block.size();
    for (auto& s : state) {
      std::copy_n(from, s.size(), s.data());
      from += s.size();
    }
  }

  EpochResult run_epoch(TrainingExecutor<T>& executor, TrainingRun<T>& run, bool shuffled, bool& interrupted);
  Metrics evaluate(const MatrixView<const T>& x, const Targets<T>& y);
  double penalty() const;
};

template <class T>
Trainer<T>::Trainer(Model<T>& model, TrainerConfig config) {
  check_config(config);
  impl_ = std::make_unique<Impl>(model, config);
}
template <class T>
Trainer<T>::Trainer(Trainer&&) noexcept = default;
template <class T>
Trainer<T>::~Trainer() = default;

template <class T>
EpochResult Trainer<T>::Impl::run_epoch(TrainingExecutor<T>& executor, TrainingRun<T>& run, bool shuffled,
                                        bool& interrupted) {
  const auto start = std::chrono::steady_clock::now();
  run.updates_done = steps;
  if (shuffled) {
    shuffle(config.seed, epoch, order);
    run.data.order = order.data();
  }
  save();
  const TrainingResult result = execute(executor, run);
  // An update that was applied before its gradient, or what it left, was found to be no number.
  if (result.non_finite_gradient || !is_finite(model.parameter_block())) {
    restore();
    throw NonFiniteLossError(steps, epoch, cause_of(config, steps + result.steps));
  }
  steps += result.steps;
  if (result.non_finite_loss) throw NonFiniteLossError(steps, epoch, cause_of(config, steps));
  interrupted = result.interrupted;

  EpochResult out;
  const double samples = static_cast<double>(result.samples);
  out.epoch = epoch;
  out.loss = result.loss_sum / samples;
  out.accuracy = takes_classes(loss()) ? result.correct / samples : kNaN;
  out.val_loss = out.val_accuracy = kNaN;
  out.learning_rate = learning_rate_of(config.optimizer);
  out.grad_norm = result.grad_norm_sum / static_cast<double>(result.steps);
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  out.samples_per_second = samples / out.seconds;
  if (!interrupted) ++epoch;
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
void check_options(const FitOptions<T>& options) {
  if (options.epochs < 1) {
    throw_value_error("Trainer.fit", "epochs=" + std::to_string(options.epochs), "expected at least 1",
                      "give the number of passes over X");
  }
  if (options.batch_size < 1) {
    throw_value_error("Trainer.fit", "batch_size=" + std::to_string(options.batch_size), "expected at least 1",
                      "32 to 512 is usual; len(X) is full-batch descent");
  }
}

}  // namespace

template <class T>
History Trainer<T>::fit(MatrixView<const T> x, const Targets<T>& y, const FitOptions<T>& options) {
  check_options(options);
  impl_->check("Trainer.fit", x, y);
  const bool has_validation = options.validation_x.has_value();
  if (has_validation) impl_->check("Trainer.fit validation_data", *options.validation_x, options.validation_y);

  const Index batch = std::min(options.batch_size, x.rows);
  TrainingExecutor<T>& executor = impl_->executor(PlanKind::training, batch);
  if (options.shuffle) impl_->order.resize(static_cast<std::size_t>(x.rows));
  TrainingRun<T> run = impl_->make_run(x, y, batch);
  Poller poller([&](Index done) { return options.on_progress({impl_->epoch, done, x.rows}); });
  if (options.on_progress) run.poller = &poller;
  History history;
  for (Index i = 0; i < options.epochs; ++i) {
    EpochResult result = impl_->run_epoch(executor, run, options.shuffle, history.interrupted);
    if (history.interrupted) break;
    if (has_validation) {
      const Metrics metrics = impl_->evaluate(*options.validation_x, options.validation_y);
      result.val_loss = metrics.loss;
      result.val_accuracy = metrics.accuracy;
    }
    append(history, result, takes_classes(impl_->loss()), has_validation);
    if (options.on_epoch && !options.on_epoch(result)) {
      history.interrupted = true;
      break;
    }
  }
  return history;
}

template <class T>
double Trainer<T>::step(MatrixView<const T> x, const Targets<T>& y) {
  impl_->check("Trainer.step", x, y);
  impl_->gradient.reserve(impl_->parameter_count());
  TrainingRun<T> run = impl_->make_run(x, y, x.rows);
  run.gradient = impl_->gradient.data();
  const TrainingResult result = impl_->execute(impl_->executor(PlanKind::checked, x.rows), run);
  if (result.non_finite_loss) {
    throw NonFiniteLossError(impl_->steps, impl_->epoch, cause_of(impl_->config, impl_->steps));
  }
  impl_->steps += 1;
  return result.loss_sum / static_cast<double>(result.samples);
}

template <class T>
double Trainer<T>::loss_and_grad(MatrixView<const T> x, const Targets<T>& y, std::span<T> gradient) {
  impl_->check("Trainer.loss_and_grad", x, y);
  if (static_cast<Index>(gradient.size()) != impl_->parameter_count()) {
    throw_value_error("Trainer.loss_and_grad", "gradient has " + std::to_string(gradient.size()) + " elements",
                      "expected " + std::to_string(impl_->parameter_count()),
                      "give it the size of Model::parameter_block()");
  }
  TrainingRun<T> run = impl_->make_run(x, y, x.rows);
  run.gradient = gradient.data();
  const TrainingResult result = impl_->execute(impl_->executor(PlanKind::gradient, x.rows), run);
  // A run that stopped at a non-finite loss has no gradient; the caller sees the loss as it is.
  if (result.non_finite_loss) std::fill(gradient.begin(), gradient.end(), std::numeric_limits<T>::quiet_NaN());
  return result.non_finite_loss ? kNaN : result.loss_sum / static_cast<double>(result.samples);
}

template <class T>
double Trainer<T>::Impl::penalty() const {
  if (config.l2 == 0.0) return 0.0;
  double sum = 0.0;
  for (const ParameterInfo& info : model.parameter_infos()) {
    if (!info.regularized) continue;
    const T* w = model.parameter_block().data() + info.offset;
    for (Index i = 0; i < info.rows * info.cols; ++i) sum += static_cast<double>(w[i]) * static_cast<double>(w[i]);
  }
  return 0.5 * config.l2 * sum;
}

template <class T>
Metrics Trainer<T>::Impl::evaluate(const MatrixView<const T>& x, const Targets<T>& y) {
  if (evaluation.steps.empty()) evaluation = plan(PlanKind::evaluation, kEvaluationRows);
  InferenceRun<T> run;
  run.plan = &evaluation;
  run.ops = &ops;
  run.parameters = model.parameter_block().data();
  run.data = {x, y.classes.data(), y.values};
  run.threads = threads_for(evaluation.flops / kEvaluationRows * static_cast<double>(x.rows));
  const InferenceResult result = run_inference(run);
  const double rows = static_cast<double>(x.rows);
  return {result.loss_sum / rows + penalty(), takes_classes(loss()) ? result.correct / rows : kNaN};
}

template <class T>
Metrics Trainer<T>::evaluate(MatrixView<const T> x, const Targets<T>& y) {
  impl_->check("Trainer.evaluate", x, y);
  return impl_->evaluate(x, y);
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
