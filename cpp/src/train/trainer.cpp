// Trainer<T>: checks what it is given, prepares an executor per kind of plan and runs whole epochs through it.

#include <stoop/trainer.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>

#include <stoop/error.hpp>
#include <stoop/runtime.hpp>

#include "../model/initialize.hpp"
#include "../ops/select.hpp"
#include "../plan/execute.hpp"
#include "dataset.hpp"

namespace stoop {
namespace {

constexpr Index kEvaluationRows = 128;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

void check_config(const TrainerConfig& config) {
  validate(config.optimizer);
  validate(config.loss);
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
      : model(trained),
        config(settings),
        graph(build_graph(model.config(), kAlignment / static_cast<Index>(sizeof(T)))),
        provider(select_gemm_provider()),
        ops(active_table<T>()) {
    const Index size = parameter_count();
    for (int i = 0; i < state_count(config.optimizer); ++i) state[i].reset(size);
  }

  Model<T>& model;
  TrainerConfig config;
  Graph graph;
  GemmProvider provider;
  const OpTable<T>& ops;
  AlignedBuffer<T> state[2];
  AlignedBuffer<T> gradient;                          // of checked steps
  std::unique_ptr<TrainingExecutor<T>> executors[4];  // training, checked, gradient, loss alone
  Plan evaluation;
  std::vector<std::int32_t> order;
  std::vector<T> saved;   // what an update changes, as it was at the start of the epoch
  GradientMode modes[2];  // of the last two executors
  Index epoch = 0;
  Index steps = 0;

  Index parameter_count() const { return static_cast<Index>(model.parameter_block().size()); }
  LossKind loss() const { return kind_of(config.loss); }

  PlanRequest plan_request(PlanKind kind, Index batch, bool class_targets) const {
    PlanRequest request;
    request.kind = kind;
    request.graph = &graph;
    request.loss = loss();
    request.class_targets = class_targets;
    request.batch = batch;
    request.element_size = sizeof(T);
    request.provider = provider;
    return request;
  }

  // Threads for batches of this many rows: as told, or as many as the work feeds.
  int threads_for(double flops) const {
    return config.num_threads > 0 ? config.num_threads : useful_threads(flops, get_num_threads());
  }

  // The executor for batches of up to `batch` rows, kept from call to call.
  TrainingExecutor<T>& executor(PlanKind kind, Index batch, const Targets<T>& y) {
    auto& slot = executors[static_cast<int>(kind) - static_cast<int>(PlanKind::training)];
    if (slot == nullptr || slot->plan().batch < batch || slot->plan().class_targets == y.has_values) {
      slot = std::make_unique<TrainingExecutor<T>>(build_plan(plan_request(kind, batch, !y.has_values)), ops);
    }
    return *slot;
  }

  // The executor of gradients alone, with the layers behaving as `wanted` says.
  TrainingExecutor<T>& gradient_executor(const GradientMode& wanted, Index batch, const Targets<T>& y, bool backward) {
    auto& slot = executors[backward ? 2 : 3];
    GradientMode& mode = modes[backward ? 0 : 1];
    const bool fits = slot != nullptr && slot->plan().batch >= batch && mode.training == wanted.training &&
                      mode.dropout == wanted.dropout && slot->plan().class_targets != y.has_values;
    if (fits) return *slot;
    PlanRequest settings = plan_request(PlanKind::gradient, batch, !y.has_values);
    settings.batch_statistics = wanted.training;
    settings.dropout = wanted.dropout;
    settings.backward = backward;
    mode = wanted;
    slot = std::make_unique<TrainingExecutor<T>>(build_plan(settings), ops);
    return *slot;
  }

  // The variance of one sample is zero whatever it is.
  void check_batch(std::string_view where, Index rows, Index batch) const {
    if ((rows > 1 && batch > 1) || !has_node(graph, NodeKind::batch_norm)) return;
    throw_value_error(where, rows > 1 ? "batch_size=1 with a BatchNorm" : "one sample with a BatchNorm",
                      "expected at least two samples in a batch",
                      "give more samples, or use LayerNorm, which needs no batch");
  }

  void check(std::string_view where, const MatrixView<const T>& x, const Targets<T>& y) const {
    check_samples(where, x, model.input_dim());
    check_targets(where, y, loss(), x.rows, model.output_dim());
    check_weights(where, y.weights, x.rows);
  }

  TrainingRun<T> make_run(const MatrixView<const T>& x, const Targets<T>& y, Index batch) {
    TrainingRun<T> run;
    run.data.x = x;
    run.data.classes = y.has_values ? nullptr : y.classes.data();
    run.data.values = y.values;
    run.data.weights = y.weights.empty() ? nullptr : y.weights.data();
    run.loss_parameter = static_cast<T>(parameter_of(config.loss));
    run.batch = batch;
    run.parameters = model.parameter_block().data();
    run.running = model.buffer_block().data();
    run.seed = config.seed;
    run.state[0] = state[0].data();
    run.state[1] = state[1].data();
    run.optimizer = config.optimizer;
    run.l2 = config.l2;
    run.updates_done = steps;
    return run;
  }

  TrainingResult execute(TrainingExecutor<T>& executor, TrainingRun<T>& run) {
    const double full = executor.plan().flops / static_cast<double>(executor.plan().batch);
    run.threads = threads_for(full * static_cast<double>(run.batch));
    executor.reserve_threads(run.threads);
    return executor.run(run);
  }

  // Everything an update changes, copied out or back.
  void save() {
    const auto block = model.parameter_block();
    saved.assign(block.begin(), block.end());
    const auto running = model.buffer_block();
    saved.insert(saved.end(), running.begin(), running.end());
    for (const auto& s : state) saved.insert(saved.end(), s.data(), s.data() + s.size());
  }
  void restore() {
    const T* from = saved.data();
    const auto block = model.parameter_block();
    std::copy_n(from, block.size(), block.begin());
    from += block.size();
    const auto running = model.buffer_block();
    std::copy_n(from, running.size(), running.begin());
    from += running.size();
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
  out.loss = result.loss_sum / result.weight_sum;
  out.accuracy = has_accuracy(loss()) ? result.correct / samples : kNaN;
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
  impl_->check_batch("Trainer.fit", x.rows, batch);
  const bool merges = has_node(impl_->graph, NodeKind::batch_norm);  // a last batch of one sample
  TrainingExecutor<T>& executor = impl_->executor(PlanKind::training, batch + (merges ? 1 : 0), y);
  if (options.shuffle) impl_->order.resize(static_cast<std::size_t>(x.rows));
  TrainingRun<T> run = impl_->make_run(x, y, batch);
  if (options.on_progress) {
    run.keep_going = [&](Index done) { return options.on_progress({impl_->epoch, done, x.rows}); };
  }
  History history;
  for (Index i = 0; i < options.epochs; ++i) {
    EpochResult result = impl_->run_epoch(executor, run, options.shuffle, history.interrupted);
    if (history.interrupted) break;
    if (has_validation) {
      const Metrics metrics = impl_->evaluate(*options.validation_x, options.validation_y);
      result.val_loss = metrics.loss;
      result.val_accuracy = metrics.accuracy;
    }
    append(history, result, has_accuracy(impl_->loss()), has_validation);
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
  impl_->check_batch("Trainer.step", x.rows, x.rows);
  impl_->gradient.reserve(impl_->parameter_count());
  TrainingRun<T> run = impl_->make_run(x, y, x.rows);
  run.gradient = impl_->gradient.data();
  const TrainingResult result = impl_->execute(impl_->executor(PlanKind::checked, x.rows, y), run);
  if (result.non_finite_loss) {
    throw NonFiniteLossError(impl_->steps, impl_->epoch, cause_of(impl_->config, impl_->steps));
  }
  impl_->steps += 1;
  return result.loss_sum / result.weight_sum;
}

template <class T>
double Trainer<T>::loss_and_grad(MatrixView<const T> x, const Targets<T>& y, std::span<T> gradient, GradientMode mode) {
  impl_->check("Trainer.loss_and_grad", x, y);
  if (mode.training) impl_->check_batch("Trainer.loss_and_grad", x.rows, x.rows);
  if (!gradient.empty() && static_cast<Index>(gradient.size()) != impl_->parameter_count()) {
    throw_value_error("Trainer.loss_and_grad", "gradient has " + std::to_string(gradient.size()) + " elements",
                      "expected " + std::to_string(impl_->parameter_count()),
                      "give it the size of Model::parameter_block()");
  }
  std::fill(gradient.begin(), gradient.end(), T(0));  // padding, and layers that are not trainable
  TrainingRun<T> run = impl_->make_run(x, y, x.rows);
  run.gradient = gradient.data();
  const TrainingResult result = impl_->execute(impl_->gradient_executor(mode, x.rows, y, !gradient.empty()), run);
  // A run that stopped at a non-finite loss has no gradient; the caller sees the loss as it is.
  if (result.non_finite_loss) std::fill(gradient.begin(), gradient.end(), std::numeric_limits<T>::quiet_NaN());
  return result.non_finite_loss ? kNaN : result.loss_sum / result.weight_sum;
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
  if (evaluation.steps.empty()) evaluation = build_plan(plan_request(PlanKind::evaluation, kEvaluationRows, false));
  InferenceRun<T> run;
  run.plan = &evaluation;
  run.ops = &ops;
  run.parameters = model.parameter_block().data();
  run.running = model.buffer_block().data();
  run.loss_parameter = static_cast<T>(parameter_of(config.loss));
  run.data = {x, y.has_values ? nullptr : y.classes.data(), y.values, y.weights.empty() ? nullptr : y.weights.data()};
  run.threads = threads_for(evaluation.flops / kEvaluationRows * static_cast<double>(x.rows));
  const InferenceResult result = run_inference(run);
  const double rows = static_cast<double>(x.rows);
  const double weight = y.weights.empty() ? rows : std::accumulate(y.weights.begin(), y.weights.end(), 0.0);
  return {result.loss_sum / weight + penalty(), has_accuracy(loss()) ? result.correct / rows : kNaN};
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
