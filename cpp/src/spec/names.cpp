// Looks up names and properties of kinds in the Spec of each alternative.
// A kind is the index of its alternative in its variant.
#include <array>
#include <cstddef>
#include <type_traits>
#include <utility>

#include <stoop/error.hpp>
#include <stoop/trainer.hpp>

#include "activations.hpp"
#include "fields.hpp"
#include "initializers.hpp"
#include "layers.hpp"
#include "losses.hpp"

namespace stoop {
namespace {

using namespace std::string_view_literals;

constexpr std::array kLastBatchNames = {"keep"sv, "drop"sv, "merge"sv};
constexpr std::array kPrecisionNames = {"float32"sv, "float64"sv, "bfloat16"sv};
constexpr std::array kOutputNames = {"softmax"sv, "sigmoid"sv, "identity"sv};

template <class Kind, std::size_t size>
std::string_view name_in(const std::array<std::string_view, size>& names, Kind kind) {
  return names[static_cast<std::size_t>(kind)];
}

// Returns the position of `name`, exactly as written in the table.
template <std::size_t size>
std::size_t find_name(const std::array<std::string_view, size>& names, std::string_view where, std::string_view what,
                      std::string_view name) {
  for (std::size_t i = 0; i < size; ++i) {
    if (names[i] == name) return i;
  }
  throw_unknown_name(where, what, name, names);
}

}  // namespace

std::string_view name_of(ActivationKind kind) { return name_in(kNamesOf<Activation>, kind); }
std::string_view name_of(LossKind kind) { return name_in(kNamesOf<Loss>, kind); }

std::string_view name_of(Precision precision) { return name_in(kPrecisionNames, precision); }
std::string_view name_of(OutputKind output) { return name_in(kOutputNames, output); }

ActivationKind kind_of(const Activation& activation) { return static_cast<ActivationKind>(activation.index()); }
LossKind kind_of(const Loss& loss) { return static_cast<LossKind>(loss.index()); }

Activation activation_from_name(std::string_view name, std::string_view where) {
  return alternative_named<Activation>(name, where, "activation");
}

std::string_view name_of(const Layer& layer) { return kNamesOf<Layer>[layer.index()]; }

Layer layer_from_name(std::string_view name, std::string_view where) {
  return alternative_named<Layer>(name, where, "layer");
}

std::string_view name_of(const Initializer& initializer) { return kNamesOf<Initializer>[initializer.index()]; }

Initializer initializer_from_name(std::string_view name, std::string_view where) {
  return alternative_named<Initializer>(name, where, "initializer");
}

Loss loss_from_name(std::string_view name, std::string_view where) {
  return alternative_named<Loss>(name, where, "loss");
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

bool derivative_from_output(ActivationKind kind) {
  return trait_of<Activation>(kind, []<class Op>(TypeOf<Op>) { return Spec<Op>::kSaves == Saves::output; });
}

bool is_relu_like(ActivationKind kind) {
  return trait_of<Activation>(kind, []<class Op>(TypeOf<Op>) { return Spec<Op>::kReluLike; });
}

bool sign_gives_derivative(ActivationKind kind) {
  return trait_of<Activation>(kind, []<class Op>(TypeOf<Op>) { return Spec<Op>::kSignGivesDerivative; });
}

Numbers<Activation> numbers_of(const Activation& activation) { return numbers_in(activation); }

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

bool takes_classes(LossKind kind) {
  return trait_of<Loss>(kind, []<class Op>(TypeOf<Op>) { return Spec<Op>::kTakesClasses; });
}

bool has_accuracy(LossKind kind) {
  return trait_of<Loss>(kind, []<class Op>(TypeOf<Op>) { return Spec<Op>::kHasAccuracy; });
}

OutputKind output_of(LossKind kind) {
  return trait_of<Loss>(kind, []<class Op>(TypeOf<Op>) { return Spec<Op>::kOutput; });
}

TargetValues targets_of(LossKind kind) {
  return trait_of<Loss>(kind, []<class Op>(TypeOf<Op>) { return Spec<Op>::kTargets; });
}

OutputColumns output_columns(LossKind kind) {
  return trait_of<Loss>(kind, []<class Op>(TypeOf<Op>) { return Spec<Op>::kColumns; });
}

Index target_columns(LossKind kind, Index outputs) { return outputs / output_columns(kind).per_target; }

bool takes_labels(LossKind kind) {
  const TargetValues targets = targets_of(kind);
  return targets == TargetValues::labels || targets == TargetValues::probabilities;
}

Numbers<Loss> numbers_of(const Loss& loss) { return numbers_in(loss); }

void validate(const Loss& loss) {
  std::visit([](const auto& alternative) { check_fields(alternative); }, loss);
}

}  // namespace stoop
