// The names of activations, initialisers and losses, one table each, and what follows from a kind alone.
// Kinds and alternatives of a variant share their order: a kind is the index of its alternative.
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include <stoop/error.hpp>
#include <stoop/layers.hpp>
#include <stoop/losses.hpp>
#include <stoop/trainer.hpp>

namespace stoop {
namespace {

using namespace std::string_view_literals;

constexpr std::array kActivationNames = {"identity"sv, "relu"sv, "leaky_relu"sv, "tanh"sv,    "sigmoid"sv,
                                         "elu"sv,      "gelu"sv, "silu"sv,       "softplus"sv};
constexpr std::array kLayerNames = {"dense"sv,      "identity"sv,   "relu"sv,    "leaky_relu"sv, "tanh"sv,
                                    "sigmoid"sv,    "elu"sv,        "gelu"sv,    "silu"sv,       "softplus"sv,
                                    "batch_norm"sv, "layer_norm"sv, "dropout"sv, "residual"sv};
constexpr std::array kInitializerNames = {
    "zeros"sv,         "ones"sv,       "constant"sv,  "normal"sv,        "uniform"sv,      "glorot_uniform"sv,
    "glorot_normal"sv, "he_uniform"sv, "he_normal"sv, "lecun_uniform"sv, "lecun_normal"sv, "orthogonal"sv,
};
constexpr std::array kLastBatchNames = {"keep"sv, "drop"sv, "merge"sv};
constexpr std::array kPrecisionNames = {"float32"sv, "float64"sv, "bfloat16"sv};
constexpr std::array kOutputNames = {"softmax"sv, "sigmoid"sv, "identity"sv};
constexpr std::array kLossNames = {"softmax_cross_entropy"sv, "binary_cross_entropy"sv, "mse"sv, "mae"sv, "huber"sv};
static_assert(kActivationNames.size() == kActivationCount);
static_assert(kInitializerNames.size() == static_cast<std::size_t>(InitializerKind::orthogonal) + 1);
static_assert(kLayerNames.size() == std::variant_size_v<Layer>);
static_assert(kLossNames.size() == kLossCount);

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
  if (!valid) throw_value_error(where, std::string(name) + " is " + number_text(value), expected, hint);
}

}  // namespace

std::string_view name_of(ActivationKind kind) { return name_in(kActivationNames, kind); }
std::string_view name_of(InitializerKind kind) { return name_in(kInitializerNames, kind); }
std::string_view name_of(LossKind kind) { return name_in(kLossNames, kind); }

std::string_view name_of(Precision precision) { return name_in(kPrecisionNames, precision); }
std::string_view name_of(OutputKind output) { return name_in(kOutputNames, output); }

ActivationKind kind_of(const Activation& activation) { return static_cast<ActivationKind>(activation.index()); }
LossKind kind_of(const Loss& loss) { return static_cast<LossKind>(loss.index()); }

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

Precision precision_from_name(std::string_view name, std::string_view where) {
  return static_cast<Precision>(find_name(kPrecisionNames, where, "precision", name));
}

LastBatch last_batch_from_name(std::string_view name, std::string_view where) {
  return static_cast<LastBatch>(find_name(kLastBatchNames, where, "last_batch", name));
}

OutputKind output_from_name(std::string_view name, std::string_view where) {
  return static_cast<OutputKind>(find_name(kOutputNames, where, "output", name));
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

bool Residual::operator==(const Residual& other) const {
  return layers == other.layers && trainable == other.trainable;
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

OutputKind output_of(LossKind loss) {
  if (loss == LossKind::softmax_cross_entropy) return OutputKind::softmax;
  return loss == LossKind::binary_cross_entropy ? OutputKind::sigmoid : OutputKind::identity;
}

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

}  // namespace stoop
