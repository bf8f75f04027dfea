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

namespace stoop::inline v0_1 {

template <>
struct Choices<LastBatch> {
  static constexpr const char* kNames[] = {"keep", "drop", "merge"};
  static constexpr const char* kWhat = "last_batch";
};
template <>
struct Choices<StopReason> {
  static constexpr const char* kNames[] = {"epochs", "max_time", "interrupted", "callback"};
  static constexpr const char* kWhat = "stop_reason";
};
template <>
struct Choices<Precision> {
  static constexpr const char* kNames[] = {"float32", "float64", "bfloat16"};
  static constexpr const char* kWhat = "precision";
};

std::string_view name_of(ActivationKind kind) { return kNamesOf<Activation>[static_cast<std::size_t>(kind)]; }
std::string_view name_of(LossKind kind) { return kNamesOf<Loss>[static_cast<std::size_t>(kind)]; }

std::string_view name_of(Precision precision) { return name_of_choice(precision); }
std::string_view name_of(LastBatch last_batch) { return name_of_choice(last_batch); }
std::string_view name_of(StopReason reason) { return name_of_choice(reason); }
std::string_view name_of(OutputKind output) { return name_of_choice(output); }

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
  return choice_named<Precision>(name, where);
}

LastBatch last_batch_from_name(std::string_view name, std::string_view where) {
  return choice_named<LastBatch>(name, where);
}

OutputKind output_from_name(std::string_view name, std::string_view where) {
  return choice_named<OutputKind>(name, where);
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
  return layers == other.layers && trainable == other.trainable && lr_scale == other.lr_scale &&
         decay_scale == other.decay_scale;
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
