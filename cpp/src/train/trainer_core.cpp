#include "trainer_core.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include <stoop/error.hpp>
#include <stoop/runtime.hpp>

#include "../data/checks.hpp"
#include "../graph/element_range.hpp"
#include "../run/exchange.hpp"

namespace stoop::inline v0_1 {
namespace {

template <class T>
Device<T> device_for(Precision precision, const World& world) {
  check_precision<T>(precision);
  Device<T> device = make_device<T>(precision);
  device.world = world;
  return device;
}

[[noreturn]] void throw_lost(std::string_view where) {
  throw std::runtime_error(format_error(where, "another process of this training cannot be reached",
                                        "expected all of them to make each update", "start them again"));
}

[[noreturn]] void throw_other_rate(std::string_view where) {
  throw_value_error(where, "another process has another learning rate", "expected the same in all of them",
                    "a function of one's own must return the same everywhere");
}

}  // namespace

template <class T>
TrainerCore<T>::TrainerCore(Model<T>& trained, TrainerConfig settings, const World& world)
    : model(trained),
      layers(trained.config().layers),
      config(std::move(settings)),
      graph(build_graph(model.config(), kAlignment / static_cast<Index>(sizeof(T)))),
      device(device_for<T>(config.precision, world)) {
  check_world();
  check_settings(config);
  const Index size = parameter_count();
  for (int i = 0; i < state_count(config.optimizer); ++i) state.optimizer[i].reset(size);
  if (config.ema) state.average.reset(size);
  if (is_full_batch(config.optimizer)) {
    full_batch = std::make_unique<FullBatchOptimizer<T>>(config.optimizer);
  }
  bind_model("Trainer");
  start_average();
}

template <class T>
void TrainerCore<T>::check_settings(const TrainerConfig& settings) const {
  check_config(settings, graph);
  check_lazy(settings, graph, device.world.shards > 1);
  check_numbers(ElementRange(sizeof(T)), settings);
  check_factors(ElementRange(sizeof(T)), settings, graph);
}

template <class T>
void TrainerCore<T>::check_world() const {
  const World& world = device.world;
  const auto is_power = [](int number) { return number > 0 && std::has_single_bit(static_cast<unsigned>(number)); };
  const int size = world.collectives.size;
  if (!is_power(size)) {
    throw_value_error("Trainer", std::to_string(size) + " processes", "expected 1, 2, 4, 8 or another power of two",
                      "start as many, or train with some of them");
  }
  if (!is_power(world.shards) || size > world.shards) {
    throw_value_error("Trainer", std::to_string(world.shards) + " shards for " + std::to_string(size) + " processes",
                      "expected powers of two, and a shard for each process at least", "give 8 shards, for example");
  }
}

template <class T>
void TrainerCore<T>::bind_model(std::string_view where) {
  if (model.config().layers != layers || model.input_dim() != graph.nodes.front().out_features) {
    throw_value_error(where, "the model has other layers than when this trainer was made", "expected the same",
                      "make a new Trainer");
  }
  state.parameters = model.parameter_block();
  state.running = model.buffer_block();
}

template <class T>
void TrainerCore<T>::bind_adapted_model(std::string_view where) {
  bind_model(where);
  check_adapted(where, scaled({}).map, model.input_dim());
}

template <class T>
std::optional<ColumnStatistics> TrainerCore<T>::lacking_statistics(std::string_view where, const Dataset<T>& data,
                                                                   Poller* poller) const {
  if (is_adapted()) return std::nullopt;
  return input_statistics({where, most_threads(), poller}, data.as_they_lie(), graph);
}

template <class T>
void TrainerCore<T>::check_not_swapped(std::string_view where) const {
  if (!state.swapped) return;
  throw_value_error(where, "the model holds the average of its parameters", "expected the parameters themselves",
                    "call swap_ema again before training goes on");
}

template <class T>
void TrainerCore<T>::check_not_alone(std::string_view where) const {
  if (!is_alone) return;
  throw_value_error(where, "an update in one process of several", "expected all of them to make it",
                    "leave it out of functions that run in one process");
}

template <class T>
void TrainerCore<T>::check_block(std::string_view where, const char* what, std::size_t size) const {
  if (static_cast<Index>(size) == parameter_count()) return;
  throw_value_error(where, std::string(what) + " has " + std::to_string(size) + " elements",
                    "expected " + std::to_string(parameter_count()), "give it the size of Model::parameter_block()");
}

template <class T>
void TrainerCore<T>::check_batch(std::string_view where, Index rows, Index batch) const {
  if ((rows > 1 && batch > 1) || !has_batch_norm()) return;
  throw_value_error(where, rows > 1 ? "batch_size=1 with a BatchNorm" : "one sample with a BatchNorm",
                    "expected at least two samples in a batch",
                    "give more samples, or use LayerNorm, which needs no batch");
}

template <class T>
int TrainerCore<T>::num_threads() const {
  const int most = granted_threads();
  return most == 1 ? 1 : most > 0 ? std::min(config.num_threads, most) : config.num_threads;
}

template <class T>
int TrainerCore<T>::most_threads() const {
  if (const int asked = num_threads(); asked > 0) return asked;
  return granted_threads() > 0 ? granted_threads() : get_num_threads();
}

template <class T>
PlanRequest TrainerCore<T>::plan_request(PlanKind kind, Index batch, bool class_targets) const {
  PlanRequest request;
  request.kind = kind;
  request.graph = &runners->graph;
  request.loss = loss();
  request.class_targets = class_targets;
  request.batch = batch;
  request.apply_updates = needs_norms(config.optimizer);
  request.limit_norm = config.max_norm.has_value();
  request.lazy_tables = device.world.shards == 1 && updates_lazily(config, graph);
  return request;
}

template <class T>
Executor<T>& TrainerCore<T>::executor(PlanKind kind, Index batch, bool class_targets) {
  return runners->plans.executor(plan_request(kind, batch, class_targets));
}

template <class T>
SampleRows<T> TrainerCore<T>::scaled(SampleRows<T> rows) const {
  rows.map = input_map<T>(model.config(), graph, state.running.data());
  return rows;
}

template <class T>
TrainingRun<T> TrainerCore<T>::make_run(const SampleRows<T>& data, Index batch) {
  TrainingRun<T> run;
  static_cast<StateView<T>&>(run) = state.view();
  run.data = scaled(data);
  run.loss_numbers = numbers_of(config.loss);
  run.batch = batch;
  run.seed = config.seed;
  run.l1 = config.l1;
  run.l2 = config.l2;
  run.fixed_penalty = penalty(Weights::frozen);
  run.first_update = state.steps;
  run.num_threads = num_threads();
  run.most_threads = most_threads();
  return run;
}

template <class T>
TrainingRun<T> TrainerCore<T>::make_update_run(const SampleRows<T>& data, Index batch, bool keeps_gradient) {
  start_average();
  if (keeps_gradient) state.gradient.reserve(parameter_count());
  TrainingRun<T> run = make_run(data, batch);
  run.optimizer = &config.optimizer;
  run.clip_norm = config.clip_norm.value_or(0.0);
  run.clip_value = config.clip_value.value_or(0.0);
  run.max_norm = config.max_norm.value_or(0.0);
  run.average_decay = config.ema.value_or(0.0);
  return run;
}

template <class T>
void TrainerCore<T>::read_ahead(TrainingRun<T>& run) {
  if (!run.data.x.mapped) return;
  run.read_ahead = &pages;
  InputView whole = run.data.x;
  if (run.data.stored > 0) whole.rows = run.data.stored;
  pages.start(whole, run.data.order, run.data.x.rows);
}

template <class T>
void TrainerCore<T>::set_rates(Index first, std::span<double> rates) const {
  schedule_of(config.optimizer).fill(first, state.epoch, rates);
  check_rates(rates, first);
}

template <class T>
void TrainerCore<T>::prepare_updates(Index first, std::span<double> rates) {
  set_rates(first, rates);
  model.set_output_by_training(output_of(loss()));
}

template <class T>
void TrainerCore<T>::start_average() {
  if (config.ema && state.steps == 0) {
    std::copy(state.parameters.begin(), state.parameters.end(), state.average.data());
  }
}

// Layers that need all rows together get them together. Otherwise the walk goes by parts, to save memory.
template <class T>
Answer TrainerCore<T>::ask(std::string_view where, Question question, const GradientMode& mode, TrainingRun<T>& run) {
  constexpr Index kPart = 1024;
  const Index rows = run.data.x.rows;
  run.batch = mode.training && has_batch_norm() ? rows : std::min(rows, kPart);
  run.accumulate = block_count(rows, run.batch);
  run.stops_within = run.poller != nullptr;
  if (question == Question::curvature) check_curvature(where, graph);
  const PlanKind kind = question == Question::curvature ? PlanKind::curvature : PlanKind::gradient;
  PlanRequest request = plan_request(kind, run.batch, run.data.classes != nullptr);
  request.batch_statistics = mode.training;
  request.dropout = mode.dropout;
  request.backward = question != Question::loss;
  request.update_statistics = question == Question::statistics;
  read_ahead(run);
  Answer answer;
  const RunEnd end = runners->plans.executor(request).run(run, answer.sums, rows);
  if (end.status == RunStatus::interrupted) throw_interrupted(where);
  refuse_bad_data(where, run.data.x, end);
  answer.finite = end.status == RunStatus::done;
  answer.sums.loss_sum += end.refused_loss;
  answer.sums.weight_sum += end.refused_weight;
  last_fault = end.fault;
  return answer;
}

template <class T>
Metrics TrainerCore<T>::evaluate(std::string_view where, const Dataset<T>& data, Poller* poller,
                                 std::span<double> losses) {
  InferenceRun<T> run;
  run.parameters = state.parameters.data();
  run.running = state.running.data();
  run.loss_numbers = numbers_of(config.loss);
  run.data = scaled(data.as_they_lie());
  run.losses = losses.empty() ? nullptr : losses.data();
  run.num_threads = num_threads();
  run.most_threads = most_threads();
  run.poller = poller;
  run.is_alone = is_alone;
  PlanRequest request = plan_request(PlanKind::evaluation, 0, false);
  if (graph.members() > 1) request.output = model.output().value_or(output_of(loss()));
  const InferenceResult result = runners->evaluation(request).run(run);
  if (result.lost) throw_lost(where);
  if (result.interrupted) throw_interrupted(where);
  refuse_bad_row<T>(where, data.x(), result.non_finite_row, missing_values(graph));
  refuse_bad_label(where, result.bad_label, model.output_dim());
  for (double& loss : losses) loss = std::ldexp(loss, data.weight_exponent());
  return {result.loss_sum / data.weight() + penalty(Weights::all),
          accuracy_of(result.correct, data, nullptr, data.rows())};
}

template <class T>
Wish TrainerCore<T>::agreed_wish(std::string_view where, Wish own) const {
  if (world().collectives.size == 1) return own;  // without the memory of a message, in each epoch
  std::vector<Wish> wishes;
  if (!gather(world().collectives, own, wishes)) throw_lost(where);
  return *std::max_element(wishes.begin(), wishes.end());
}

template <class T>
double TrainerCore<T>::accuracy_of(double correct, const Dataset<T>& data, const std::int32_t* samples,
                                   Index count) const {
  return has_accuracy(loss()) ? correct / data.counted(samples, count) : std::numeric_limits<double>::quiet_NaN();
}

template <class T>
void TrainerCore<T>::refuse_bad_data(std::string_view where, const InputView& x, const RunEnd& end) const {
  if (end.status == RunStatus::lost) throw_lost(where);
  if (end.status == RunStatus::other_rate) throw_other_rate(where);
  refuse_bad_row<T>(where, x, end.bad_row, missing_values(graph));
  refuse_bad_label(where, end.bad_label, model.output_dim());
}

template <class T>
void TrainerCore<T>::refuse_update(std::string_view where, double rate, const RunEnd& end, Index updates_before) const {
  const auto refuse = [&](const std::string& cause, const std::string& what) {
    throw NonFiniteLossError(state.steps, state.epoch, cause, where, what, layer_of(end.fault));
  };
  if (end.too_long > 0.0) refuse(cause_of_long_step(rate), long_step<T>(end.too_long));
  if (end.too_steep > 0.0) {
    refuse(cause_of_steep_gradient(rate, updates_before), steep_gradient<T>(config.optimizer, end.too_steep));
  }
  const std::string cause = cause_of_overflow<T>(config, graph, model.parameter_block().data(), rate, updates_before);
  throw NonFiniteLossError(state.steps, state.epoch, cause, where, "the loss or its gradient is not finite",
                           layer_of(end.fault));
}

template <class T>
std::string TrainerCore<T>::layer_of(const Fault& fault) const {
  if (fault.at_loss) return "the loss (" + std::string(name_of(loss())) + ")";
  return fault.node == kNone ? std::string() : graph.nodes[static_cast<std::size_t>(fault.node)].layer;
}

// A gradient that is not finite spoils the parameters of its layer and of those before it. If all are finite, an update was too
// long, and its layer has the largest.
template <class T>
Fault TrainerCore<T>::fault_of_state() const {
  const std::span<const T> parameters = state.parameters;
  std::vector<std::span<const T>> arrays = {parameters};
  for (const AlignedBuffer<T>& array : state.optimizer) arrays.emplace_back(array.data(), array.size());
  Fault fault;
  T largest = T(0);
  for (const std::span<const T> array : arrays) {
    for (int i = static_cast<int>(graph.nodes.size()) - 1; !array.empty() && i > 0; --i) {
      const Node& node = graph.nodes[static_cast<std::size_t>(i)];
      for (const int parameter : node.parameters()) {
        if (parameter == kNone) continue;
        const ParameterInfo& info = graph.parameters[static_cast<std::size_t>(parameter)].info;
        const std::span<const T> elements =
            array.subspan(static_cast<std::size_t>(info.offset), static_cast<std::size_t>(info.rows * info.cols));
        if (!is_finite(elements)) return {.node = i};
        if (array.data() != parameters.data()) continue;
        for (const T element : elements) {
          if (std::abs(element) > largest) fault.node = i;
          largest = std::max(largest, std::abs(element));
        }
      }
    }
  }
  return fault;
}

template struct TrainerCore<float>;
template struct TrainerCore<double>;

}  // namespace stoop
