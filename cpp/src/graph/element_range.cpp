#include "element_range.hpp"

#include <cmath>
#include <limits>
#include <optional>
#include <variant>

#include <stoop/error.hpp>

namespace stoop {
namespace {

constexpr std::string_view kOffIsZero = "0 turns it off";

}  // namespace

ElementRange::ElementRange(Index element_size) {
  const bool single = element_size == sizeof(float);
  type_ = single ? "float32" : "float64";
  least_ = single ? static_cast<double>(std::numeric_limits<float>::min()) : std::numeric_limits<double>::min();
  most_ = single ? static_cast<double>(std::numeric_limits<float>::max()) : std::numeric_limits<double>::max();
  below_one_ = single ? static_cast<double>(std::nextafter(1.0f, 0.0f)) : std::nextafter(1.0, 0.0);
}

void ElementRange::refuse(const Option& option, std::string_view becomes, const std::string& expected) const {
  throw_value_error(
      option.where,
      option.name + "=" + number_text(option.value) + " with " + type_ + ", where " + std::string(becomes), expected,
      option.hint);
}

void ElementRange::refuse_vanishing(const Option& option) const {
  if (option.value == 0.0 || std::abs(option.value) >= least_) return;
  refuse(option, "it is 0", "expected at least " + number_text(least_));
}

void ElementRange::refuse_unheld(const Option& option) const {
  const double size = std::abs(option.value);
  if (option.value == 0.0 || (size >= least_ && size <= most_)) return;
  refuse(option, size < least_ ? "it is 0" : "it is infinite",
         "expected " + number_text(least_) + " to " + number_text(most_));
}

void ElementRange::refuse_vanishing_square(const Option& option) const {
  const double least = std::sqrt(least_);
  if (option.value >= least && option.value <= most_) return;
  refuse(option,
         option.value > most_    ? "it is infinite"
         : option.value < least_ ? "it is 0"
                                 : "its square is 0",
         "expected " + number_text(least) + " to " + number_text(most_));
}

void ElementRange::refuse_one(const Option& option) const {
  if (option.value >= 1.0 || option.value < below_one_ + 0.5 * (1.0 - below_one_)) return;
  refuse(option, "it is 1", "expected at most " + number_text(below_one_));
}

namespace {

// "layer 0.1 has eps": of the layer that a parameter belongs to.
std::string of_layer(const Graph& graph, int parameter, std::string_view option) {
  const std::string& name = graph.parameters[static_cast<std::size_t>(parameter)].info.name;
  return "layer " + name.substr(0, name.rfind('.')) + " has " + std::string(option);
}

// An eps of a normalisation stands beside a variance; of one that is 0 nothing else would keep 0/0 away.
void check_node(const ElementRange& range, const Graph& graph, const Node& node) {
  if (node.kind == NodeKind::batch_norm || node.kind == NodeKind::layer_norm) {
    const bool batch = node.kind == NodeKind::batch_norm;
    const char* where = batch ? "BatchNorm" : "LayerNorm";
    range.refuse_unheld({where, of_layer(graph, node.weight, "eps"), node.eps, "1e-5 is usual"});
    if (batch) range.refuse_one({where, of_layer(graph, node.weight, "momentum"), node.momentum, "0.9 is usual"});
  }
  if (node.kind == NodeKind::dense) {
    range.refuse_vanishing({"Dense", of_layer(graph, node.weight, "l1"), node.l1.value_or(0.0), kOffIsZero});
    range.refuse_vanishing({"Dense", of_layer(graph, node.weight, "l2"), node.l2.value_or(0.0), kOffIsZero});
  }
  if (node.kind == NodeKind::activation || node.kind == NodeKind::dense) {
    const bool leaky = std::holds_alternative<LeakyReLU>(node.activation);
    range.refuse_unheld({leaky ? "LeakyReLU" : "ELU", leaky ? "negative_slope" : "alpha", parameter_of(node.activation),
                         leaky ? "0.01 is usual" : "1 is usual"});
  }
}

}  // namespace

void check_numbers(const ElementRange& range, const Graph& graph) {
  for (const Node& node : graph.nodes) check_node(range, graph, node);
  for (const GraphParameter& parameter : graph.parameters) {
    const Initializer& initializer = parameter.initializer;
    range.refuse_unheld({name_of(initializer.kind), "the value for " + parameter.info.name, initializer.value,
                         "give the constant, the standard deviation, the limit or the gain"});
  }
}

// An eps stands beside the root of squared gradients: one whose own square vanishes would be left alone with gradients
// whose squares do, and make their updates as long as 1/eps.
void check_numbers(const ElementRange& range, const Optimizer& optimizer, std::string_view where) {
  const auto check = [&](const auto& of) {
    const auto factor = [&](const char* name, double value) { range.refuse_one({where, name, value, "0.9 is usual"}); };
    if constexpr (requires { of.eps; }) range.refuse_vanishing_square({where, "eps", of.eps, "1e-8 is usual"});
    if constexpr (requires { of.momentum; }) factor("momentum", of.momentum);
    if constexpr (requires { of.dampening; }) factor("dampening", of.dampening);
    if constexpr (requires { of.rho; }) factor("rho", of.rho);
    if constexpr (requires { of.beta1; }) factor("beta1", of.beta1);
    if constexpr (requires { of.beta2; }) factor("beta2", of.beta2);
    if constexpr (requires { of.weight_decay; }) {
      range.refuse_vanishing({where, "weight_decay", of.weight_decay, kOffIsZero});
    }
  };
  std::visit(check, optimizer);
  // A schedule may well come down to nothing.
  if (const auto* constant = std::get_if<schedules::Constant>(&schedule_of(optimizer).held().schedule)) {
    range.refuse_vanishing({where, "learning_rate", constant->lr, "0.001 to 0.1 is usual"});
  }
}

void check_numbers(const ElementRange& range, const TrainerConfig& config) {
  constexpr std::string_view kWhere = "Trainer", kNoLimit = "leave it out to set no limit";
  check_numbers(range, config.optimizer, kWhere);
  const auto limit = [&](const char* name, const std::optional<double>& value) {
    range.refuse_vanishing({kWhere, name, value.value_or(0.0), kNoLimit});
  };
  limit("clip_norm", config.clip_norm);
  limit("clip_value", config.clip_value);
  limit("max_norm", config.max_norm);
  range.refuse_vanishing({kWhere, "l1", config.l1, kOffIsZero});
  range.refuse_vanishing({kWhere, "l2", config.l2, kOffIsZero});
  range.refuse_one({kWhere, "ema", config.ema.value_or(0.0), "0.999 is usual, leave it out to keep no average"});
  if (const auto* huber = std::get_if<Huber>(&config.loss)) {
    range.refuse_vanishing({"Huber", "delta", huber->delta, "1 is usual"});
  } else if (const auto* softmax = std::get_if<SoftmaxCrossEntropy>(&config.loss)) {
    range.refuse_one({"SoftmaxCrossEntropy", "label_smoothing", softmax->label_smoothing, "0.1 is usual"});
  }
}

}  // namespace stoop
