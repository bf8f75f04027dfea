#include "settings.hpp"

#include <algorithm>
#include <cmath>

#include <stoop/error.hpp>
#include <stoop/runtime.hpp>

namespace stoop {
namespace {

void check_number(bool valid, const char* name, double value, std::string_view expected, std::string_view hint) {
  if (!valid) throw_value_error("Trainer", std::string(name) + "=" + std::to_string(value), expected, hint);
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
  const OptimizerKind kind = kind_of(config.optimizer);
  if (!is_full_batch(kind)) return;
  const auto refuse = [&](const std::string& given) {
    throw_value_error("Trainer", given + " with the optimizer " + std::string(name_of(kind)),
                      "expected a function that stays the same while it is minimised",
                      "leave it out, or use an optimizer of mini-batches such as Adam");
  };
  if (has_node(graph, NodeKind::dropout)) refuse("a Dropout");
  if (config.clip_norm) refuse("clip_norm");
  if (config.clip_value) refuse("clip_value");
  if (config.max_norm) refuse("max_norm");
  if (config.accumulate > 1) refuse("accumulate=" + std::to_string(config.accumulate));
}

}  // namespace

void check_config(const TrainerConfig& config, const Graph& graph) {
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

bool needs_all_gradients(const TrainerConfig& config) { return config.clip_norm.has_value() || config.accumulate > 1; }

std::vector<bool> trained_elements(const Graph& graph) {
  std::vector<bool> trained(static_cast<std::size_t>(graph.parameter_elements), false);
  for (const Node& node : graph.nodes) {
    for (const int parameter : {node.weight, node.bias}) {
      if (parameter == kNone || !node.trainable) continue;
      const ParameterInfo& info = graph.parameters[static_cast<std::size_t>(parameter)].info;
      const auto first = trained.begin() + info.offset;
      std::fill(first, first + info.rows * info.cols, true);
    }
  }
  return trained;
}

template <class T>
double penalty_of(const TrainerConfig& config, const Graph& graph, const T* parameters, Weights which) {
  double total = 0.0;
  for (const Node& node : graph.nodes) {
    if (node.kind != NodeKind::dense || (which == Weights::frozen && node.trainable)) continue;
    const double l1 = node.l1.value_or(config.l1), l2 = node.l2.value_or(config.l2);
    if (l1 == 0.0 && l2 == 0.0) continue;
    const T* weight = parameters + graph.parameters[static_cast<std::size_t>(node.weight)].info.offset;
    double squares = 0.0, magnitudes = 0.0;
    for (Index i = 0; i < node.in_features * node.out_features; ++i) {
      const double w = static_cast<double>(weight[i]);
      squares += w * w;
      magnitudes += std::abs(w);
    }
    total += 0.5 * l2 * squares + l1 * magnitudes;
  }
  return total;
}

void check_rates(std::span<const double> rates, Index first) {
  for (std::size_t i = 0; i < rates.size(); ++i) {
    if (std::isfinite(rates[i]) && rates[i] >= 0.0) continue;
    throw_value_error("learning_rate",
                      "the schedule gives " + std::to_string(rates[i]) + " for update " +
                          std::to_string(first + static_cast<Index>(i)),
                      "expected a finite number >= 0", "check the function");
  }
}

std::string cause_of_overflow(double learning_rate, Index steps) {
  if (steps == 0) return "the first outputs already overflow: standardise X, or start from smaller weights";
  return "the learning rate " + std::to_string(learning_rate) +
         " is probably too large for this model: lower it, or standardise X";
}

template double penalty_of(const TrainerConfig&, const Graph&, const float*, Weights);
template double penalty_of(const TrainerConfig&, const Graph&, const double*, Weights);

}  // namespace stoop
