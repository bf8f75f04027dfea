// What a Trainer holds: the optimizer's state, an executor per kind of plan, and the runs it hands them.
#pragma once

#include <stoop/trainer.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <stoop/error.hpp>
#include <stoop/runtime.hpp>

#include "../cpu/select.hpp"
#include "../graph/element_range.hpp"
#include "../run/execute.hpp"
#include "../run/plan_cache.hpp"
#include "../team/tuner.hpp"
#include "../data/checks.hpp"
#include "full_batch.hpp"
#include "settings.hpp"

namespace stoop {

template <class T>
struct Trainer<T>::Impl {
  Impl(Model<T>& trained, TrainerConfig settings)
      : model(trained),
        layers(trained.config().layers),
        config(std::move(settings)),
        graph(build_graph(model.config(), kAlignment / static_cast<Index>(sizeof(T)))),
        provider(select_gemm_provider()),
        ops(kernels_for(config.precision)) {
    check_settings(config);
    const Index size = parameter_count();
    for (int i = 0; i < state_count(config.optimizer); ++i) state[i].reset(size);
    if (config.ema) average.reset(size);
    if (is_full_batch(config.optimizer)) {
      full_batch = std::make_unique<FullBatchOptimizer<T>>(config.optimizer);
    }
    start_average();
  }

  Model<T>& model;
  const std::vector<Layer> layers;  // of the model when the plans were made
  TrainerConfig config;
  Graph graph;
  GemmProvider provider;
  const OpTable<T> ops;
  AlignedBuffer<T> state[kMostStates];
  AlignedBuffer<T> gradient;  // of checked steps
  AlignedBuffer<T> average;   // of the parameters, or the parameters while the average is in the model
  bool swapped = false;
  PlanCache<T> plans{ops};
  Plan evaluation;
  std::vector<std::int32_t> order;
  ReadAhead pages;              // of a mapped X
  std::vector<double> weights;  // of the samples of a call that is not `fit`
  AlignedBuffer<T> saved;       // what an update changes, as it was at the start of the epoch
  Index epoch = 0;
  Index steps = 0;
  TeamTuner tuner{1, 0.0};                            // for teams of up to tuned_limit and steps of tuned_flops
  std::unique_ptr<FullBatchOptimizer<T>> full_batch;  // where the optimizer is one
  double last_correct = 0.0;                          // samples, of the last evaluation for it
  int tuned_limit = 0;
  double tuned_flops = 0.0;

  void check_settings(const TrainerConfig& settings) const {
    check_config(settings, graph);
    check_numbers(ElementRange(sizeof(T)), settings);
  }

  Index parameter_count() const { return static_cast<Index>(model.parameter_block().size()); }
  LossKind loss() const { return kind_of(config.loss); }

  // Those in use, with products in bfloat16 where they are asked for; a precision that cannot be had is refused.
  static OpTable<T> kernels_for(Precision precision) {
    check_precision<T>(precision);
    OpTable<T> table = active_table<T>();
    if (precision == Precision::bfloat16) table.bfloat16 = &bfloat16_table(select_bfloat16());
    return table;
  }

  // What the user asks of the model, and second derivatives, are not rounded.
  GemmProvider provider_of(PlanKind kind) const {
    const bool trains = kind == PlanKind::training || kind == PlanKind::checked || kind == PlanKind::gradient;
    return trains && config.precision == Precision::bfloat16 ? GemmProvider::bfloat16 : provider;
  }

  PlanRequest plan_request(PlanKind kind, Index batch, bool class_targets) const {
    PlanRequest request;
    request.kind = kind;
    request.graph = &graph;
    request.loss = loss();
    request.class_targets = class_targets;
    request.batch = batch;
    request.element_size = sizeof(T);
    request.provider = provider_of(kind);
    request.table = product_table(ops.name);
    request.limit_norm = config.max_norm.has_value();
    return request;
  }

  int most_threads() const { return config.num_threads > 0 ? config.num_threads : get_num_threads(); }

  // Threads for batches of this many rows: as told, or as many as the work feeds.
  int threads_for(double flops) const {
    return config.num_threads > 0 ? config.num_threads : useful_threads(flops, get_num_threads());
  }

  // The executor for batches of up to `batch` rows, kept from call to call.
  TrainingExecutor<T>& executor(PlanKind kind, Index batch, const Targets<T>& y) {
    return plans.executor(plan_request(kind, batch, !y.has_values));
  }

  // What is asked about the objective without an update.
  enum class Question { gradient, curvature, loss, statistics };  // the last: of the layers, which keep them

  // The executor that answers it, with the layers behaving as `mode` says.
  TrainingExecutor<T>& executor(Question question, const GradientMode& mode, Index batch, const Targets<T>& y) {
    const bool curved = question == Question::curvature;
    PlanRequest request = plan_request(curved ? PlanKind::curvature : PlanKind::gradient, batch, !y.has_values);
    request.batch_statistics = mode.training;
    request.dropout = mode.dropout;
    request.backward = question != Question::loss;
    request.update_statistics = question == Question::statistics;
    return plans.executor(request);
  }

  // Rows of a walk where all of `rows` are one batch: layers that need them together get them together.
  Index walk_rows(Index rows, const GradientMode& mode) const {
    constexpr Index kWalkRows = 1024;
    return mode.training && has_node(graph, NodeKind::batch_norm) ? rows : std::min(rows, kWalkRows);
  }

  // The whole of x as one batch.
  TrainingResult ask(Question question, const GradientMode& mode, TrainingRun<T>& run, const Targets<T>& y) {
    run.batch = walk_rows(run.data.x.rows, mode);
    run.accumulate = block_count(run.data.x.rows, run.batch);
    run.stops_within = run.poller != nullptr;
    const TrainingResult result = execute(executor(question, mode, run.batch, y), run);
    if (result.interrupted) throw_interrupted("Trainer");
    refuse_bad_data("Trainer", run.data.x, result);
    return result;
  }

  void check_block(std::string_view where, const char* what, std::size_t size) const {
    if (static_cast<Index>(size) == parameter_count()) return;
    throw_value_error(where, std::string(what) + " has " + std::to_string(size) + " elements",
                      "expected " + std::to_string(parameter_count()), "give it the size of Model::parameter_block()");
  }

  // The variance of one sample is zero whatever it is.
  void check_batch(std::string_view where, Index rows, Index batch) const {
    if ((rows > 1 && batch > 1) || !has_node(graph, NodeKind::batch_norm)) return;
    throw_value_error(where, rows > 1 ? "batch_size=1 with a BatchNorm" : "one sample with a BatchNorm",
                      "expected at least two samples in a batch",
                      "give more samples, or use LayerNorm, which needs no batch");
  }

  // A model that was assigned other layers has left this trainer's plans behind.
  void check_layout(std::string_view where) const {
    if (model.config().layers == layers && model.input_dim() == graph.nodes.front().out_features) return;
    throw_value_error(where, "the model has other layers than when this trainer was made", "expected the same",
                      "make a new Trainer");
  }

  void check(std::string_view where, const InputView& x, const Targets<T>& y, Poller* poller = nullptr) const {
    check_layout(where);
    check_samples<T>(where, x, model.input_dim(), poller);
    check_targets(where, y, loss(), x.rows, model.output_dim());
    check_weights(where, y.weights, x.rows);
  }

  // What was found as it was read, by a run of training or of inference.
  template <class Result>
  void refuse_bad_data(std::string_view where, const InputView& x, const Result& result) const {
    refuse_bad_row<T>(where, x, result.non_finite_row);
    refuse_bad_label(where, result.bad_label, model.output_dim());
  }

  // `relative` gets the weights as the run needs them.
  TrainingRun<T> make_run(const InputView& x, const Targets<T>& y, Index batch, std::vector<double>& relative) {
    TrainingRun<T> run;
    run.data.x = with_stride(x);
    run.data.scale = static_cast<T>(model.config().input_scale);
    run.data.shift = static_cast<T>(model.config().input_shift);
    run.data.classes = y.has_values ? nullptr : y.classes.data();
    run.data.values = with_stride(y.values);
    run.data.weights = relative_weights(y.weights, relative);
    run.loss_numbers = numbers_of(config.loss);
    run.batch = batch;
    run.parameters = model.parameter_block().data();
    run.running = model.buffer_block().data();
    run.seed = config.seed;
    run.l1 = config.l1;
    run.l2 = config.l2;
    run.fixed_penalty = penalty(Weights::frozen);
    run.updates_done = steps;
    return run;
  }

  // A run that changes the parameters, but for its learning rates.
  TrainingRun<T> make_update_run(const InputView& x, const Targets<T>& y, Index batch, bool keeps_gradient,
                                 std::vector<double>& relative) {
    start_average();
    TrainingRun<T> run = make_run(x, y, batch, relative);
    for (int i = 0; i < kMostStates; ++i) run.state[i] = state[i].data();
    run.optimizer = &config.optimizer;
    run.clip_norm = config.clip_norm.value_or(0.0);
    run.clip_value = config.clip_value.value_or(0.0);
    run.max_norm = config.max_norm.value_or(0.0);
    run.average = average.data();
    run.average_decay = config.ema.value_or(0.0);
    if (keeps_gradient) gradient.reserve(parameter_count());
    if (keeps_gradient) run.gradient = gradient.data();
    return run;
  }

  // Until the first update the average is the parameters, whatever was done to them.
  void start_average() {
    const auto block = model.parameter_block();
    if (config.ema && steps == 0) std::copy(block.begin(), block.end(), average.data());
  }

  // The learning rates of the next updates, as many as `rates` has places.
  void tabulate(const std::function<void(Index, std::span<double>)>& custom, std::span<double> rates) const {
    if (custom) {
      custom(steps, rates);
    } else {
      schedule_of(config.optimizer).fill(steps, epoch, rates);
    }
    check_rates(rates, steps);
  }

  double penalty(Weights which) const { return penalty_of<T>(config, graph, model.parameter_block().data(), which); }

  // Of an update that cannot be made, or should not have been, when the parameters are the last good ones again.
  [[noreturn]] void refuse_update(std::string_view where, double rate, const TrainingResult& result,
                                  Index updates_before) const {
    if (result.too_long > 0.0)
      throw NonFiniteLossError(steps, epoch, cause_of_long_step(rate), where, long_step<T>(result.too_long));
    if (result.too_steep > 0.0)
      throw NonFiniteLossError(steps, epoch, cause_of_steep_gradient(rate, updates_before), where,
                               steep_gradient<T>(config.optimizer, result.too_steep));
    const std::string cause = cause_of_overflow<T>(config, graph, model.parameter_block().data(), rate, updates_before);
    throw NonFiniteLossError(steps, epoch, cause, where);
  }

  void check_not_swapped(std::string_view where) const {
    if (!swapped) return;
    throw_value_error(where, "the model holds the average of its parameters", "expected the parameters themselves",
                      "call swap_ema again before training goes on");
  }

  void tune_for(int limit, double flops) {
    constexpr double kNeverTuned = std::numeric_limits<double>::infinity();
    if (tuned_limit == limit && tuned_flops == flops) return;
    tuner = TeamTuner(limit, config.num_threads > 0 ? kNeverTuned : flops);
    tuned_limit = limit;
    tuned_flops = flops;
  }

  // Whose pages are asked for where X is mapped.
  void read_ahead(TrainingRun<T>& run) {
    run.read_ahead = run.data.x.mapped ? &pages : nullptr;
    if (run.data.x.mapped) pages.start(run.data.x, run.data.order, run.data.x.rows);
  }

  // The whole run, in segments between which the size of the team may change.
  TrainingResult execute(TrainingExecutor<T>& executor, TrainingRun<T>& run) {
    const double of_row = executor.plan().flops / static_cast<double>(executor.plan().batch);
    const double flops = of_row * static_cast<double>(run.batch);
    const int limit = threads_for(flops);
    tune_for(limit, flops);
    read_ahead(run);
    constexpr double kShort = 1e8;  // flops: some milliseconds at most, in which nobody need be asked
    const bool is_short = of_row * static_cast<double>(run.data.x.rows) < kShort && !run.data.x.mapped;
    if (run.stops_within && is_short) run.poller = nullptr;
    executor.reserve_threads(limit, run.stops_within ? run.poller : nullptr);
    const Index samples = run.data.x.rows, rows = run.batch * run.accumulate;  // of an update
    TrainingResult total;
    for (run.first = 0; run.first < samples && !total.stopped(); run.first = total.samples) {
      run.threads = tuner.threads();
      const Index segment = std::min(tuner.steps(), block_count(samples - run.first, rows));
      run.last = std::min(run.first + segment * rows, samples);
      const auto start = std::chrono::steady_clock::now();
      const Index done = total.steps;
      total = executor.run(run, total);
      tuner.record(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), total.steps - done,
                   executor.threads_used());
      run.updates_done += total.steps - done;
      run.learning_rates += run.learning_rates == nullptr ? 0 : total.steps - done;
    }
    run.learning_rates -= run.learning_rates == nullptr ? 0 : total.steps;
    return total;
  }

  // ---- trainer_state.cpp ----
  void check_state(const TrainingState<T>& given) const;
  // ---- trainer_rollback.cpp ----
  std::vector<std::span<T>> changed_blocks();
  void save();
  void restore();
  bool is_intact();
  bool has_infinite_state() const;
  // ---- trainer_full_batch.cpp ----
  History fit_full_batch(const InputView& x, const Targets<T>& y, const FitOptions<T>& options, Poller* poller);
  double step_full_batch(const InputView& x, const Targets<T>& y, double rate, Poller* poller);
  Objective<T> make_objective(const InputView& x, const Targets<T>& y, Poller* poller);
  std::optional<EpochResult> run_iteration(const InputView& x, const Targets<T>& y, const Objective<T>& objective,
                                           double rate, std::string_view where, bool& interrupted);
  // ---- trainer.cpp ----
  // An epoch that was interrupted before its end has no result.
  using RunOne = std::function<std::optional<EpochResult>(std::span<const double> rates, bool& interrupted)>;
  void validate(const FitOptions<T>& options, EpochResult& result, bool& interrupted);
  History run_epochs(const FitOptions<T>& options, Index updates, const RunOne& run_one);
  std::optional<EpochResult> run_epoch(TrainingExecutor<T>& executor, TrainingRun<T>& run, bool shuffled,
                                       bool& interrupted);
  Metrics evaluate(const InputView& x, const Targets<T>& y, Poller* poller);
};

}  // namespace stoop
