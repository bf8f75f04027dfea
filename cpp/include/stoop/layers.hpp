// Layers, activations and initialisers as plain data. Nothing here computes: the plan reads these once.
#pragma once

#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include <stoop/types.hpp>

namespace stoop {

// ---- activations: each is a layer of its own and the `activation` of a Dense ----
struct Identity {};
struct ReLU {};
struct LeakyReLU {
  double negative_slope = 0.01;
};
struct Tanh {};
struct Sigmoid {};

using Activation = std::variant<Identity, ReLU, LeakyReLU, Tanh, Sigmoid>;

// The same order as the alternatives of Activation; kernels are picked by it.
enum class ActivationKind { identity, relu, leaky_relu, tanh, sigmoid };
inline constexpr int kActivationCount = static_cast<int>(std::variant_size_v<Activation>);

// ---- initialisers: the variance each promises is given with fan_in = rows and fan_out = columns of the weight ----
enum class InitializerKind {
  zeros,
  ones,
  constant,        // every element is `value`
  normal,          // N(0, value^2)
  uniform,         // U(-value, value)
  glorot_uniform,  // variance 2 / (fan_in + fan_out)   Glorot & Bengio 2010, eq. 16
  glorot_normal,
  he_uniform,  // variance 2 / fan_in                He et al. 2015, eq. 10
  he_normal,
  lecun_uniform,  // variance 1 / fan_in                LeCun et al. 1998, section 4.6
  lecun_normal,
};

struct Initializer {
  InitializerKind kind = InitializerKind::zeros;
  double value = 0.0;  // of constant (the value), normal (its standard deviation) and uniform (its limit)
};

// ---- layers ----
// output = activation(input @ weight + bias), weight (in_features, units), bias (units).
struct Dense {
  Index units = 0;
  Activation activation = Identity{};
  std::optional<bool> use_bias{};            // unset: true
  std::optional<Initializer> kernel_init{};  // unset: he_normal before a ReLU-like activation, else glorot_uniform
  Initializer bias_init{};
};

using Layer = std::variant<Dense, Identity, ReLU, LeakyReLU, Tanh, Sigmoid>;

// ---- names, one table each ----
std::string_view name_of(ActivationKind kind);
std::string_view name_of(InitializerKind kind);
ActivationKind kind_of(const Activation& activation);
double parameter_of(const Activation& activation);  // negative_slope of LeakyReLU, else 0
bool is_relu_like(ActivationKind kind);

// Throws ValueError with the nearest valid name; `where` is what the message opens with.
Activation activation_from_name(std::string_view name, std::string_view where = "activation");
InitializerKind initializer_kind_from_name(std::string_view name, std::string_view where = "initializer");

// The activation a layer is, if it is one.
std::optional<Activation> as_activation(const Layer& layer);

}  // namespace stoop
