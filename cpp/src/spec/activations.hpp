// Everything that is known of each activation except its formula, which is in cpu/activation.inl.hpp.
#pragma once

#include <stoop/layers.hpp>

#include "spec.hpp"

namespace stoop::inline v0_1 {

// The values from which the derivative is computed. They are the output if it determines the derivative, because the epilogue
// of a product may then overwrite its input.
enum class Saves { output, input };

struct ActivationSpec {
  static constexpr Saves kSaves = Saves::output;
  static constexpr bool kReluLike = false;             // He initialisation is used before it
  static constexpr bool kSignGivesDerivative = false;  // the sign of the output gives it: f is linear on each side of 0
  // The range of the outputs where it ends at 0 or on both sides: a loss that takes logits is not at ease with these.
  static constexpr Bounds kOutputs = any_number();
  static constexpr Key kTrainable = Key::if_changed;
  static constexpr std::tuple<> kFields{};
};

template <>
struct Spec<Identity> : ActivationSpec {
  static constexpr const char* kName = "identity";
  static constexpr const char* kClass = "Identity";
  static constexpr bool kSignGivesDerivative = true;
};

template <>
struct Spec<ReLU> : ActivationSpec {
  static constexpr const char* kName = "relu";
  static constexpr const char* kClass = "ReLU";
  static constexpr Bounds kOutputs = at_least(0);
  static constexpr bool kReluLike = true;
  static constexpr bool kSignGivesDerivative = true;
};

// The derivatives of LeakyReLU and ELU are found from the sign of the output, which a negative number would invert.
template <>
struct Spec<LeakyReLU> : ActivationSpec {
  static constexpr const char* kName = "leaky_relu";
  static constexpr const char* kClass = "LeakyReLU";
  static constexpr bool kReluLike = true;
  static constexpr bool kSignGivesDerivative = true;
  static constexpr std::tuple kFields{
      Field{"negative_slope", &LeakyReLU::negative_slope, at_least(0), "0.01 is usual", Holds::size}};
};

template <>
struct Spec<Tanh> : ActivationSpec {
  static constexpr const char* kName = "tanh";
  static constexpr const char* kClass = "Tanh";
  static constexpr Bounds kOutputs = between(-1, 1);
};

template <>
struct Spec<Sigmoid> : ActivationSpec {
  static constexpr const char* kName = "sigmoid";
  static constexpr const char* kClass = "Sigmoid";
  static constexpr Bounds kOutputs = between(0, 1);
};

template <>
struct Spec<ELU> : ActivationSpec {
  static constexpr const char* kName = "elu";
  static constexpr const char* kClass = "ELU";
  static constexpr bool kReluLike = true;
  static constexpr std::tuple kFields{Field{"alpha", &ELU::alpha, at_least(0), "1 is usual", Holds::size}};
};

template <>
struct Choices<GeluApproximation> {
  static constexpr const char* kNames[] = {"none", "tanh"};
  static constexpr const char* kWhat = "approximation";
};

template <>
struct Spec<GELU> : ActivationSpec {
  static constexpr const char* kName = "gelu";
  static constexpr const char* kClass = "GELU";
  static constexpr Saves kSaves = Saves::input;
  static constexpr bool kReluLike = true;
  static constexpr std::tuple kFields{choice("approximate", &GELU::approximate, "\"none\" is exact", Key::if_changed)};
};

template <>
struct Spec<SiLU> : ActivationSpec {
  static constexpr const char* kName = "silu";
  static constexpr const char* kClass = "SiLU";
  static constexpr Saves kSaves = Saves::input;
  static constexpr bool kReluLike = true;
};

template <>
struct Spec<Softplus> : ActivationSpec {
  static constexpr const char* kName = "softplus";
  static constexpr const char* kClass = "Softplus";
  static constexpr Bounds kOutputs = above(0);
};

template <>
struct Spec<SELU> : ActivationSpec {
  static constexpr const char* kName = "selu";
  static constexpr const char* kClass = "SELU";
};

template <>
struct Spec<Mish> : ActivationSpec {
  static constexpr const char* kName = "mish";
  static constexpr const char* kClass = "Mish";
  static constexpr Saves kSaves = Saves::input;
  static constexpr bool kReluLike = true;
};

template <>
struct Spec<HardSwish> : ActivationSpec {
  static constexpr const char* kName = "hard_swish";
  static constexpr const char* kClass = "HardSwish";
  static constexpr Saves kSaves = Saves::input;
  static constexpr bool kReluLike = true;
};

template <>
struct Spec<ReLU6> : ActivationSpec {
  static constexpr const char* kName = "relu6";
  static constexpr const char* kClass = "ReLU6";
  static constexpr Bounds kOutputs = between(0, 6);
  static constexpr bool kReluLike = true;
};

Numbers<Activation> numbers_of(const Activation& activation);
bool sign_gives_derivative(ActivationKind kind);

}  // namespace stoop
