#include "settings.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <stoop/error.hpp>
#include <stoop/runtime.hpp>

#include "../data/checks.hpp"
#include "../spec/activations.hpp"
#include "../spec/losses.hpp"

namespace stoop::inline v0_1 {
namespace {

template <class T>
constexpr const char* kTypeName = sizeof(T) == 4 ? "float32" : "float64";

void check_number(bool valid, const char* name, double value, std::string_view expected, std::string_view hint) {
  if (!valid) throw_value_error("Trainer", std::string(name) + "=" + number_text(value), expected, hint);
}

void check_penalty(const char* name, double value) {
  check_number(value >= 0.0 && std::isfinite(value), name, value, "expected a finite number >= 0",
               "0 turns the penalty off");
}

void check_limit(const char* name, const std::optional<double>& value) {
  if (!value) return;
  check_number(*value > 0.0 && std::isfinite(*value), name, *value, "expected a finite number > 0",
               "leave it out to set no limit");
}

// LBFGS and NewtonCG compare values and gradients of one function from update to update.
void check_full_batch(const TrainerConfig& config, const Graph& graph) {
  if (!is_full_batch(config.optimizer)) return;
  const auto refuse = [&](const std::string& given) {
    throw_value_error("Trainer", given + " with the optimizer " + std::string(name_of(config.optimizer)),
                      "expected a function that stays the same while it is minimised",
                      "leave it out, or use an optimizer of mini-batches such as Adam");
  };
  if (has_node(graph, NodeKind::dropout)) refuse("a Dropout");
  for (const Node& node : graph.nodes) {
    if (!node.has_parameters() || !node.trainable || node.factors.rate == 1.0) continue;
    throw_value_error("Trainer",
                      "lr_scale=" + number_text(node.factors.rate) + " at " + node.layer + " with the optimizer " +
                          std::string(name_of(config.optimizer)),
                      "expected 1, since a line search finds one step for all parameters",
                      "leave lr_scale out, or use an optimizer of mini-batches such as Adam");
  }
  if (config.clip_norm) refuse("clip_norm");
  if (config.clip_value) refuse("clip_value");
  if (config.max_norm) refuse("max_norm");
  if (config.accumulate > 1) refuse("accumulate=" + std::to_string(config.accumulate));
  if (config.precision == Precision::bfloat16) refuse("precision bfloat16, whose rounding has steps,");
}

}  // namespace

void check_outputs(const TrainerConfig& config, const Graph& graph) {
  const LossKind loss = kind_of(config.loss);
  const OutputColumns columns = output_columns(loss);
  const Index outputs = graph.output_dim();
  if (outputs >= columns.least && outputs % columns.per_target == 0) return;
  throw_value_error(
      "Trainer",
      std::to_string(outputs) + (outputs == 1 ? " output with " : " outputs with ") + std::string(name_of(loss)),
      columns.expected, columns.hint);
}

void check_config(const TrainerConfig& config, const Graph& graph) {
  check_outputs(config, graph);
  check_full_batch(config, graph);
  validate(config.optimizer);
  validate(config.loss);
  check_penalty("l1", config.l1);
  check_penalty("l2", config.l2);
  check_limit("clip_norm", config.clip_norm);
  check_limit("clip_value", config.clip_value);
  check_limit("max_norm", config.max_norm);
  check_number(config.accumulate >= 1, "accumulate", static_cast<double>(config.accumulate), "expected at least 1",
               "give the number of batches that make an update");
  if (config.ema) {
    check_number(*config.ema >= 0.0 && *config.ema < 1.0, "ema", *config.ema, "expected 0 <= ema < 1",
                 "0.999 is usual, leave it out to keep no average");
  }
  if (config.num_threads < 0 || config.num_threads > kMostThreads) {
    throw_value_error("Trainer", "num_threads=" + std::to_string(config.num_threads),
                      "expected 1 to " + std::to_string(kMostThreads), "leave it out to let the work decide");
  }
}

void check_lazy(const TrainerConfig& config, const Graph& graph, bool is_shared) {
  if (!graph.columns || !graph.columns->layer.lazy || graph.columns->table_rows == 0) return;
  const auto refuse = [](const std::string& given, const char* expected) {
    throw_value_error("Trainer", given + " with Columns(lazy=True)", expected,
                      "make the layer without lazy, or use Adam or SGD in one process");
  };
  if (needs_norms(config.optimizer)) {
    refuse("the optimizer " + std::string(name_of(config.optimizer)),
           "expected one that needs no norm of the whole table");
  }
  if (is_shared) refuse("several processes or shards", "expected one process");
}

// Without momentum, penalties and averages a row without a gradient stays as it is.
bool updates_lazily(const TrainerConfig& config, const Graph& graph) {
  if (!graph.columns || graph.columns->table_rows == 0 || is_full_batch(config.optimizer)) return false;
  if (graph.columns->layer.lazy) return true;
  const Node& node = graph.nodes[1];
  const bool has_penalty = penalties_of(config, node).any();
  const bool is_plain = std::holds_alternative<SGD>(config.optimizer) && state_count(config.optimizer) == 0;
  return is_plain && !has_penalty && !config.ema;
}

void check_curvature(std::string_view where, const Graph& graph) {
  if (!graph.columns || graph.columns->layer.encoding != ColumnEncoding::periodic ||
      graph.columns->number_layers == 0 || !graph.columns->layer.trainable)
    return;
  throw_value_error(where, "second derivatives of periodic columns", "expected a model without",
                    "use encoding=\"ple\", an optimizer such as Adam or LBFGS, or trainable=False");
}

template <class T>
void check_precision(Precision precision) {
  if (precision == Precision::float32 || name_of(precision) == kTypeName<T>) return;
  const bool halved = precision == Precision::bfloat16;
  if (halved && sizeof(T) == sizeof(float)) return;
  throw_value_error("Trainer", "precision " + in_quotes(name_of(precision)) + " with a model of " + kTypeName<T>,
                    halved ? "expected a model of float32" : "expected \"float32\" or \"bfloat16\"",
                    halved ? "make the model in float32, or leave precision out" : "make the model in float64");
}

bool needs_all_gradients(const TrainerConfig& config) { return config.clip_norm.has_value() || config.accumulate > 1; }

std::vector<bool> trained_elements(const Graph& graph) {
  std::vector<bool> trained(static_cast<std::size_t>(graph.parameter_elements), false);
  for (const Node& node : graph.nodes) {
    for (const int parameter : node.parameters()) {
      if (parameter == kNone || !node.trainable) continue;
      const ParameterInfo& info = graph.parameters[static_cast<std::size_t>(parameter)].info;
      const auto first = trained.begin() + info.offset;
      std::fill(first, first + info.rows * info.cols, true);
    }
  }
  return trained;
}

Penalties penalties_of(const TrainerConfig& config, const Node& node) {
  return {node.l1.value_or(config.l1 * node.factors.decay), node.l2.value_or(config.l2 * node.factors.decay)};
}

namespace {

// Calls visit(elements, l1, l2) for the weights of a node that penalties apply to.
template <class T, class Visit>
void each_penalized(const TrainerConfig& config, const Graph& graph, const Node& node, const T* parameters,
                    const Visit& visit) {
  const Penalties penalties = penalties_of(config, node);
  for (const int parameter : node.parameters()) {
    if (parameter == kNone) continue;
    const ParameterInfo& info = graph.parameters[static_cast<std::size_t>(parameter)].info;
    if (!info.regularized) continue;
    visit(std::span<const T>(parameters + info.offset, static_cast<std::size_t>(info.rows * info.cols)), penalties.l1,
          penalties.l2);
  }
}

}  // namespace

template <class T>
double penalty_of(const TrainerConfig& config, const Graph& graph, const T* parameters, Weights which) {
  double total = 0.0;
  for (const Node& node : graph.nodes) {
    if (which == Weights::frozen && node.trainable) continue;
    each_penalized(config, graph, node, parameters, [&](std::span<const T> weight, double l1, double l2) {
      if (l1 == 0.0 && l2 == 0.0) return;
      double squares = 0.0, magnitudes = 0.0;
      for (const T element : weight) {
        const double w = static_cast<double>(element);
        squares += w * w;
        magnitudes += std::abs(w);
      }
      total += 0.5 * l2 * squares + l1 * magnitudes;
    });
  }
  return total;
}

void check_rates(std::span<const double> rates, Index first) {
  for (std::size_t i = 0; i < rates.size(); ++i) {
    if (std::isfinite(rates[i]) && rates[i] >= 0.0) continue;
    throw_value_error(
        "learning_rate",
        "the schedule gives " + number_text(rates[i]) + " for update " + std::to_string(first + static_cast<Index>(i)),
        "expected a finite number >= 0", "check the function");
  }
}

namespace {

// Returns "l2=1e+300" if a penalty or its gradient leaves the range of T, else nothing.
template <class T>
std::string overflowing_penalty(const TrainerConfig& config, const Graph& graph, const T* parameters) {
  constexpr double kLargest = static_cast<double>(std::numeric_limits<T>::max());
  std::string found;
  for (const Node& node : graph.nodes) {
    each_penalized(config, graph, node, parameters, [&](std::span<const T> weight, double l1, double l2) {
      double largest = 1.0;
      for (const T element : weight) largest = std::max(largest, std::abs(static_cast<double>(element)));
      const auto elements = static_cast<double>(weight.size());
      const bool l1_overflows = l1 > kLargest || !std::isfinite(l1 * largest * elements);
      const bool l2_overflows = l2 * largest > kLargest || !std::isfinite(l2 * largest * largest * elements);
      if (found.empty() && l1_overflows) found = "l1=" + number_text(l1);
      if (found.empty() && l2_overflows) found = "l2=" + number_text(l2);
    });
  }
  return found;
}

// Returns whether outputs at or below 0 are possible where the loss takes none of these.
bool may_lack_rates(const Loss& loss, const Graph& graph) {
  const bool takes_rates = std::visit([]<class Op>(const Op& op) { return Spec<Op>::takes_rates(op); }, loss);
  const auto last = std::find_if(graph.nodes.rbegin(), graph.nodes.rend(),
                                 [](const Node& node) { return node.kind != NodeKind::dropout; });
  const auto is_positive = []<class Op>(const Op&) { return is_within(at_least(0), Spec<Op>::kOutputs.low); };
  return takes_rates && !std::visit(is_positive, last->activation);
}

}  // namespace

template <class T>
std::string cause_of_overflow(const TrainerConfig& config, const Graph& graph, const T* parameters,
                              double learning_rate, Index steps) {
  for (const GraphParameter& parameter : graph.parameters) {
    const ParameterInfo& info = parameter.info;
    const auto size = static_cast<std::size_t>(info.rows * info.cols);
    if (!is_finite(std::span<const T>(parameters + info.offset, size))) {
      return "the parameter " + info.name + " was NaN or infinite before this update: set it to good values";
    }
  }
  const std::string penalty = overflowing_penalty(config, graph, parameters);
  if (!penalty.empty()) return penalty + " makes the penalty overflow " + kTypeName<T> + ": lower it";
  if (may_lack_rates(config.loss, graph)) {
    return "an output was not above 0, which " + std::string(name_of(kind_of(config.loss))) +
           " takes for a rate: end the model with a softplus, or train on logs of rates";
  }
  if (steps == 0 && !takes_classes(kind_of(config.loss))) {
    return "the first outputs or y are too large for this loss: standardise X and y, or start from smaller weights";
  }
  if (steps == 0) return "the first outputs already overflow: standardise X, or start from smaller weights";
  return "the learning rate " + number_text(learning_rate) +
         " is probably too large for this model: lower it, or standardise X";
}

template <class T>
std::string long_step(double length) {
  return "the learning rate times the norm of the gradient is " + number_text(length) + ", too near to the largest " +
         kTypeName<T>;
}

std::string cause_of_long_step(double learning_rate) {
  return "the learning rate " + number_text(learning_rate) + " is too large, or the loss too steep: lower it, or " +
         "standardise X and y";
}

template <class T>
std::string steep_gradient(const Optimizer& optimizer, double norm) {
  const std::string name(name_of(optimizer));
  return "the gradient, of norm " + number_text(norm) + ", has an element whose square is beyond " + kTypeName<T> +
         ", and " + name + ", which divides by the root of such squares, would never move that parameter again";
}

std::string cause_of_steep_gradient(double learning_rate, Index steps) {
  const std::string remedy = "standardise X and y, or limit the gradient (clip_norm, clip_value)";
  if (steps == 0) return "X, y or the parameters are too large: " + remedy;
  return "the learning rate " + number_text(learning_rate) + " is probably too large: lower it, " + remedy;
}

template std::string steep_gradient<float>(const Optimizer&, double);
template std::string steep_gradient<double>(const Optimizer&, double);
template std::string long_step<float>(double);
template std::string long_step<double>(double);
template void check_precision<float>(Precision);
template void check_precision<double>(Precision);
template std::string cause_of_overflow(const TrainerConfig&, const Graph&, const float*, double, Index);
template std::string cause_of_overflow(const TrainerConfig&, const Graph&, const double*, double, Index);
template double penalty_of(const TrainerConfig&, const Graph&, const float*, Weights);
template double penalty_of(const TrainerConfig&, const Graph&, const double*, Weights);

}  // namespace stoop
