// The names of activations, initialisers, losses and optimizers, one table each, and what follows from a kind alone.
// Kinds and alternatives of a variant share their order: a kind is the index of its alternative.
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include <stoop/error.hpp>
#include <stoop/layers.hpp>
#include <stoop/losses.hpp>
#include <stoop/optimizers.hpp>

namespace stoop {
namespace {

using namespace std::string_view_literals;

constexpr std::array kActivationNames = {"identity"sv, "relu"sv, "leaky_relu"sv, "tanh"sv,
                                         "sigmoid"sv,  "elu"sv,  "gelu"sv,       "silu"sv, "softplus"sv};
constexpr std::array kLayerNames = {
    "dense"sv, "identity"sv, "relu"sv,     "leaky_relu"sv, "tanh"sv,       "sigmoid"sv, "elu"sv,
    "gelu"sv,  "silu"sv,     "softplus"sv, "batch_norm"sv, "layer_norm"sv, "dropout"sv, "residual"sv};
constexpr std::array kInitializerNames = {
    "zeros"sv,         "ones"sv,       "constant"sv,  "normal"sv,        "uniform"sv,      "glorot_uniform"sv,
    "glorot_normal"sv, "he_uniform"sv, "he_normal"sv, "lecun_uniform"sv, "lecun_normal"sv,
};
constexpr std::array kLossNames = {"softmax_cross_entropy"sv, "binary_cross_entropy"sv, "mse"sv, "mae"sv, "huber"sv};
constexpr std::array kOptimizerNames = {"sgd"sv, "adam"sv};

static_assert(kActivationNames.size() == kActivationCount);
static_assert(kInitializerNames.size() == static_cast<std::size_t>(InitializerKind::lecun_normal) + 1);
static_assert(kLayerNames.size() == std::variant_size_v<Layer>);
static_assert(kLossNames.size() == kLossCount);
static_assert(kOptimizerNames.size() == kOptimizerCount);

template <class Kind, std::size_t size>
std::string_view name_in(const std::array<std::string_view, size>& names, Kind kind) {
  return names[static_cast<std::size_t>(kind)];
}

// The position of `name`, exactly as written in the table.
template <std::size_t size>
std::size_t find_name(const std::array<std::string_view, size>& names, std::string_view where, std::string_view what,
                      std::string_view name) {
  for (std::size_t i = 0; i < size; ++i) {
    if (names[i] == name) return i;
  }
  throw_unknown_name(where, what, name, names);
}

// The alternative of that index with its default values.
template <class Variant>
Variant make_alternative(std::size_t index) {
  Variant result;
  [&]<std::size_t... i>(std::index_sequence<i...>) {
    ((i == index ? static_cast<void>(result.template emplace<i>()) : void()), ...);
  }(std::make_index_sequence<std::variant_size_v<Variant>>());
  return result;
}

void check(bool valid, std::string_view where, std::string_view name, double value, std::string_view expected,
           std::string_view hint) {
  if (valid) return;
  std::array<char, 32> text;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  static_cast<void>(error);  // the shortest form of a double has at most 24 characters
  throw_value_error(where, std::string(name) + " is " + std::string(text.data(), end), expected, hint);
}

void check_learning_rate(std::string_view where, double value) {
  check(std::isfinite(value) && value >= 0, where, "learning_rate", value, "expected a finite number, at least 0",
        "try 0.01 for sgd or 0.001 for adam");
}

void check_range(const SGD& sgd) {
  check_learning_rate("SGD", sgd.learning_rate);
  check(sgd.momentum >= 0 && sgd.momentum < 1, "SGD", "momentum", sgd.momentum, "expected 0 <= momentum < 1",
        "0.9 is usual");
  check(sgd.dampening >= 0 && sgd.dampening <= 1, "SGD", "dampening", sgd.dampening, "expected 0 <= dampening <= 1",
        "use 0, or the momentum for an exponentially weighted average of the gradients");
  if (!sgd.nesterov) return;
  check(sgd.momentum > 0, "SGD", "nesterov is set and momentum", sgd.momentum, "expected momentum > 0",
        "give a momentum, or leave nesterov out");
  check(sgd.dampening == 0, "SGD", "nesterov is set and dampening", sgd.dampening, "expected dampening == 0",
        "leave out one of the two");
}

void check_range(const Adam& adam) {
  check_learning_rate("Adam", adam.learning_rate);
  check(adam.beta1 >= 0 && adam.beta1 < 1, "Adam", "beta1", adam.beta1, "expected 0 <= beta1 < 1", "0.9 is usual");
  check(adam.beta2 >= 0 && adam.beta2 < 1, "Adam", "beta2", adam.beta2, "expected 0 <= beta2 < 1", "0.999 is usual");
  check(std::isfinite(adam.eps) && adam.eps > 0, "Adam", "eps", adam.eps, "expected a finite number above 0",
        "1e-8 is usual");
}

}  // namespace

std::string_view name_of(ActivationKind kind) { return name_in(kActivationNames, kind); }
std::string_view name_of(InitializerKind kind) { return name_in(kInitializerNames, kind); }
std::string_view name_of(LossKind kind) { return name_in(kLossNames, kind); }
std::string_view name_of(OptimizerKind kind) { return name_in(kOptimizerNames, kind); }

ActivationKind kind_of(const Activation& activation) { return static_cast<ActivationKind>(activation.index()); }
LossKind kind_of(const Loss& loss) { return static_cast<LossKind>(loss.index()); }
OptimizerKind kind_of(const Optimizer& optimizer) { return static_cast<OptimizerKind>(optimizer.index()); }

Activation activation_from_name(std::string_view name, std::string_view where) {
  return make_alternative<Activation>(find_name(kActivationNames, where, "activation", name));
}

std::string_view name_of(const Layer& layer) { return kLayerNames[layer.index()]; }

Layer layer_from_name(std::string_view name, std::string_view where) {
  return make_alternative<Layer>(find_name(kLayerNames, where, "layer", name));
}

InitializerKind initializer_kind_from_name(std::string_view name, std::string_view where) {
  return static_cast<InitializerKind>(find_name(kInitializerNames, where, "initializer", name));
}

Loss loss_from_name(std::string_view name, std::string_view where) {
  return make_alternative<Loss>(find_name(kLossNames, where, "loss", name));
}

Optimizer optimizer_from_name(std::string_view name, std::string_view where) {
  return make_alternative<Optimizer>(find_name(kOptimizerNames, where, "optimizer", name));
}

double parameter_of(const Activation& activation) {
  if (const auto* leaky = std::get_if<LeakyReLU>(&activation)) return leaky->negative_slope;
  if (const auto* elu = std::get_if<ELU>(&activation)) return elu->alpha;
  return 0.0;
}

bool derivative_from_output(ActivationKind kind) {
  return kind != ActivationKind::gelu && kind != ActivationKind::silu;
}

bool is_relu_like(ActivationKind kind) {
  return kind == ActivationKind::relu || kind == ActivationKind::leaky_relu || kind == ActivationKind::elu ||
         kind == ActivationKind::gelu || kind == ActivationKind::silu;
}

std::optional<Activation> as_activation(const Layer& layer) {
  return std::visit(
      [](const auto& alternative) -> std::optional<Activation> {
        if constexpr (std::is_convertible_v<decltype(alternative), Activation>) {
          return Activation(alternative);
        } else {
          return std::nullopt;
        }
      },
      layer);
}

bool takes_classes(LossKind kind) { return kind == LossKind::softmax_cross_entropy; }

bool has_accuracy(LossKind kind) {
  return kind == LossKind::softmax_cross_entropy || kind == LossKind::binary_cross_entropy;
}

double parameter_of(const Loss& loss) {
  if (const auto* softmax = std::get_if<SoftmaxCrossEntropy>(&loss)) return softmax->label_smoothing;
  if (const auto* huber = std::get_if<Huber>(&loss)) return huber->delta;
  return 0.0;
}

void validate(const Loss& loss) {
  if (const auto* softmax = std::get_if<SoftmaxCrossEntropy>(&loss)) {
    check(softmax->label_smoothing >= 0 && softmax->label_smoothing < 1, "SoftmaxCrossEntropy", "label_smoothing",
          softmax->label_smoothing, "expected 0 <= label_smoothing < 1", "0.1 is usual");
  } else if (const auto* huber = std::get_if<Huber>(&loss)) {
    check(std::isfinite(huber->delta) && huber->delta > 0, "Huber", "delta", huber->delta,
          "expected a finite number above 0", "1 is usual");
  }
}

double learning_rate_of(const Optimizer& optimizer) {
  return std::visit([](const auto& alternative) { return alternative.learning_rate; }, optimizer);
}

int state_count(const Optimizer& optimizer) {
  const auto* sgd = std::get_if<SGD>(&optimizer);
  if (sgd == nullptr) return 2;
  return sgd->momentum != 0 ? 1 : 0;
}

void validate(const Optimizer& optimizer) {
  std::visit([](const auto& alternative) { check_range(alternative); }, optimizer);
}

}  // namespace stoop
