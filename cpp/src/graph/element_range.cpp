#include "element_range.hpp"

#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>
#include <variant>

#include <stoop/error.hpp>

#include "../spec/fields.hpp"
#include "../spec/initializers.hpp"
#include "../spec/layers.hpp"
#include "../spec/losses.hpp"
#include "../spec/optimizers.hpp"

namespace stoop::inline v0_1 {
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

void ElementRange::refuse(Holds holds, const Option& option) const {
  switch (holds) {
    case Holds::anything:
      return;
    case Holds::not_zero:
      return refuse_vanishing(option);
    case Holds::size:
      return refuse_unheld(option);
    case Holds::size_of_square:
      return refuse_vanishing_square(option);
    case Holds::below_one:
      return refuse_one(option);
  }
}

namespace {

// All numbers of a layer, activation, loss or optimizer. `of` stands before their keys, as in "layer 0.1 has ".
template <class Op>
void check_held(const ElementRange& range, const Op& op, std::string_view where, const std::string& of = "") {
  for_each_field<Op>([&](const auto& field) {
    if (field.holds == Holds::anything) return;
    if constexpr (kIsNumber<std::remove_cvref_t<decltype(op.*field.member)>>) {
      const std::optional<double> value = op.*field.member;
      range.refuse(field.holds, {where, of + field.key, value.value_or(0.0), field.hint});
    }
  });
}

void check_layers(const ElementRange& range, const std::vector<Layer>& layers, const std::string& prefix) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string path = prefix + std::to_string(i), of = "layer " + path + " has ";
    const auto check = [&]<class Op>(const Op& op) { check_held(range, op, Spec<Op>::kClass, of); };
    std::visit(check, layers[i]);
    if (const auto* dense = std::get_if<Dense>(&layers[i])) std::visit(check, dense->activation);
    if (const auto* dense = std::get_if<MemberDense>(&layers[i])) std::visit(check, dense->activation);
    if (const auto* block = std::get_if<Residual>(&layers[i])) check_layers(range, block->layers, path + ".");
  }
}

}  // namespace

void check_numbers(const ElementRange& range, const ModelConfig& config, const Graph& graph) {
  check_layers(range, config.layers, "");
  for (const Node& node : graph.nodes) {  // whose factors are products of those of several layers
    if (!node.has_parameters()) continue;
    constexpr const char* kHint = "give factors nearer to 1";
    range.refuse_unheld({"Model", node.layer + " has, with the layers around it, lr_scale", node.factors.rate, kHint});
    range.refuse_unheld(
        {"Model", node.layer + " has, with the layers around it, decay_scale", node.factors.decay, kHint});
  }
  for (const GraphParameter& parameter : graph.parameters) {
    const auto check = [&]<class Op>([[maybe_unused]] const Op& op) {
      for_each_field<Op>([&](const auto& field) {
        range.refuse(field.holds,
                     {Spec<Op>::kName, "the value for " + parameter.info.name, op.*field.member, field.hint});
      });
    };
    std::visit(check, parameter.initializer);
  }
}

void check_numbers(const ElementRange& range, const Optimizer& optimizer, std::string_view where) {
  std::visit([&](const auto& op) { check_held(range, op, where); }, optimizer);
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
  std::visit([&]<class Op>(const Op& loss) { check_held(range, loss, Spec<Op>::kClass); }, config.loss);
}

void check_factors(const ElementRange& range, const TrainerConfig& config, const Graph& graph) {
  const auto* rate = std::get_if<schedules::Constant>(&schedule_of(config.optimizer).held().schedule);
  const auto decay_of = [](const auto& of) {
    if constexpr (requires { of.weight_decay; }) return of.weight_decay;
    return 0.0;
  };
  const double decay = std::visit(decay_of, config.optimizer);
  for (const Node& node : graph.nodes) {
    if (!node.has_parameters() || node.factors == Factors{}) continue;
    const auto check = [&](const char* name, double value, double factor) {
      range.refuse_unheld(
          {"Trainer", std::string(name) + " of " + node.layer, value * factor, "give factors nearer to 1"});
    };
    if (rate != nullptr) check("learning_rate * lr_scale", rate->lr, node.factors.rate);
    check("weight_decay * decay_scale", decay, node.factors.decay);
    check("l1 * decay_scale", config.l1, node.factors.decay);
    check("l2 * decay_scale", config.l2, node.factors.decay);
  }
}

}  // namespace stoop
