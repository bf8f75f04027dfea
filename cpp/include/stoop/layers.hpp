// Layers, activations and initialisers as plain data that can be compared. Nothing here computes; a plan is built from
// them once.
#pragma once

#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// ---- activations: each is a layer of its own and the `activation` of a Dense ----
// Every layer has `trainable`, even without parameters, so that programs can set it on all layers.
struct Identity {
  bool trainable = true;
  bool operator==(const Identity&) const = default;
};
struct ReLU {
  bool trainable = true;
  bool operator==(const ReLU&) const = default;
};
struct LeakyReLU {
  double negative_slope = 0.01;
  bool trainable = true;
  bool operator==(const LeakyReLU&) const = default;
};
struct Tanh {
  bool trainable = true;
  bool operator==(const Tanh&) const = default;
};
struct Sigmoid {
  bool trainable = true;
  bool operator==(const Sigmoid&) const = default;
};
struct ELU {
  double alpha = 1.0;  // the limit for very negative inputs is -alpha
  bool trainable = true;
  bool operator==(const ELU&) const = default;
};
// By erf, or by tanh, which is within 5e-4 of it.
enum class GeluApproximation { none, tanh };
struct GELU {
  GeluApproximation approximate = GeluApproximation::none;
  bool trainable = true;
  bool operator==(const GELU&) const = default;
};
struct SiLU {
  bool trainable = true;
  bool operator==(const SiLU&) const = default;
};
struct Softplus {
  bool trainable = true;
  bool operator==(const Softplus&) const = default;
};

// ELU with the alpha and the scale that keep mean 0 and variance 1 from layer to layer.
struct SELU {
  bool trainable = true;
  bool operator==(const SELU&) const = default;
};

struct Mish {
  bool trainable = true;
  bool operator==(const Mish&) const = default;
};

// SiLU with a sigmoid of three straight pieces.
struct HardSwish {
  bool trainable = true;
  bool operator==(const HardSwish&) const = default;
};

struct ReLU6 {
  bool trainable = true;
  bool operator==(const ReLU6&) const = default;
};

using Activation =
    std::variant<Identity, ReLU, LeakyReLU, Tanh, Sigmoid, ELU, GELU, SiLU, Softplus, SELU, Mish, HardSwish, ReLU6>;

// The place of an alternative in Activation, by which kernels are picked: kind_of<Tanh>().
enum class ActivationKind : int {};
template <AlternativeOf<Activation> Op>
consteval ActivationKind kind_of() {
  return static_cast<ActivationKind>(kIndexIn<Op, Activation>);
}
inline constexpr int kActivationCount = static_cast<int>(std::variant_size_v<Activation>);

// ---- initialisers: the variance each promises is given with fan_in = rows and fan_out = columns of the weight ----
namespace initializers {

struct Zeros {
  bool operator==(const Zeros&) const = default;
};
struct Ones {
  bool operator==(const Ones&) const = default;
};
struct Constant {
  double value = 1.0;  // of every element
  bool operator==(const Constant&) const = default;
};
struct Normal {
  double value = 1.0;  // N(0, value^2)
  bool operator==(const Normal&) const = default;
};
struct Uniform {
  double value = 1.0;  // U(-value, value)
  bool operator==(const Uniform&) const = default;
};

// Variance 2 / (fan_in + fan_out) (Glorot & Bengio 2010, eq. 16).
struct GlorotUniform {
  bool operator==(const GlorotUniform&) const = default;
};
struct GlorotNormal {
  bool operator==(const GlorotNormal&) const = default;
};

// Variance 2 / fan_in (He et al. 2015, eq. 10).
struct HeUniform {
  bool operator==(const HeUniform&) const = default;
};
struct HeNormal {
  bool operator==(const HeNormal&) const = default;
};

// Variance 1 / fan_in (LeCun et al. 1998, section 4.6).
struct LecunUniform {
  bool operator==(const LecunUniform&) const = default;
};
struct LecunNormal {
  bool operator==(const LecunNormal&) const = default;
};

// Rows or columns, whichever are fewer, are orthogonal and `value` long; variance value^2 / max(fan_in, fan_out) (Saxe,
// McClelland & Ganguli 2014).
struct Orthogonal {
  double value = 1.0;
  bool operator==(const Orthogonal&) const = default;
};

}  // namespace initializers

using Initializer = std::variant<initializers::Zeros, initializers::Ones, initializers::Constant, initializers::Normal,
                                 initializers::Uniform, initializers::GlorotUniform, initializers::GlorotNormal,
                                 initializers::HeUniform, initializers::HeNormal, initializers::LecunUniform,
                                 initializers::LecunNormal, initializers::Orthogonal>;

// ---- layers ----
// Those with parameters have two factors. lr_scale multiplies the learning rate of what they hold, and decay_scale the
// optimizer's weight decay and the trainer's l1 and l2, where the layer has none of its own. A Residual's count for all inside,
// as further factors. With 0 the parameters stay, as with a learning rate of 0, but have gradients and optimizer state.
// output = activation(input @ weight + bias), weight (in_features, units), bias (units).
struct Dense {
  Index units = 0;
  Activation activation = Identity{};
  std::optional<bool> use_bias{};            // unset: true, but false directly before a BatchNorm
  std::optional<Initializer> kernel_init{};  // unset: HeNormal before a ReLU-like activation, else GlorotUniform
  Initializer bias_init{};
  bool trainable = true;             // false: the parameters stay as they are
  std::optional<double> l1{}, l2{};  // of this weight; unset: those of the trainer
  double lr_scale = 1.0, decay_scale = 1.0;
  bool operator==(const Dense&) const = default;
};

// gamma * (input - mean) / sqrt(variance + eps) + beta for each column (Ioffe & Szegedy 2015, algorithms 1 and 2).
// In training mean and biased variance are those of the batch; running = momentum*running + (1-momentum)*batch.
struct BatchNorm {
  double momentum = 0.9;
  double eps = 1e-5;
  bool trainable = true;
  double lr_scale = 1.0, decay_scale = 1.0;
  bool operator==(const BatchNorm&) const = default;
};

// The same for each row, without running statistics (Ba, Kiros & Hinton 2016, eq. 3 and 4).
struct LayerNorm {
  double eps = 1e-5;
  bool trainable = true;
  double lr_scale = 1.0, decay_scale = 1.0;
  bool operator==(const LayerNorm&) const = default;
};

// In training each element is zeroed with probability `rate` and the others are divided by 1 - rate
// (Srivastava et al. 2014, inverted); the identity at inference.
struct Dropout {
  double rate = 0.5;
  bool trainable = true;
  bool operator==(const Dropout&) const = default;
};

struct Residual;

// Shifts and scales the columns of X, by statistics of the rows that Model::adapt or the first fit is given; the first layer
// of a model. standard: mean 0 and standard deviation 1; robust: median 0 and quartiles 1 apart; minmax: from 0 to 1.
enum class NormalizationKind { standard, robust, minmax };
// What becomes of a NaN in X: it is refused, or the mean of its column stands for it.
enum class MissingValues { error, mean };
// z = (x - shift) * scale of the column, and with a clip c then z / sqrt(1 + (z/c)^2) (Holzmueller, Grinsztajn & Steinwart
// 2024, section 3). Buffers "0.shift", "0.scale", "0.shift_rest" (what the element type cuts off the shift) and, where NaN
// is allowed, "0.missing" (the z of one).
struct Normalization {
  NormalizationKind kind = NormalizationKind::standard;
  std::optional<double> clip{};
  MissingValues missing = MissingValues::error;
  bool trainable = true;
  bool operator==(const Normalization&) const = default;
};

// Encodes the columns of X, which may be numbers or codes of categories; the first layer of a model. The output has the columns
// in the order of X, each replaced by its encoding:
//   ple       the piecewise-linear encoding of a number (Gorishniy, Rubachev & Babenko 2022, eq. 1), whose bins end at quantiles
//             of the training rows; with 0 bins the number itself, scaled as a Normalization does
//   periodic  ReLU(linear(cos(2 pi c z), sin(2 pi c z))), z the scaled number, with frequencies c and a linear layer for each
//             column (the same, eq. 2)
//   ple_linear  z w + e V + b, e the piecewise-linear encoding and z the scaled number, with w, V and b of each column; V starts
//             at zero (the package rtdl_num_embeddings, PiecewiseLinearEmbeddings of version "B")
//   none      the number itself, scaled
//   a category of at most `one_hot` codes: an indicator of each code; another: a row of a table, whose rows of each column are
//   the known codes, then one for missing codes (NaN or -1) and one for unknown ones
enum class ColumnEncoding { ple, periodic, none, ple_linear };
struct Columns {
  std::vector<std::vector<Index>> categories;  // {column of X, number of known codes}, in the order of the columns
  ColumnEncoding encoding = ColumnEncoding::ple;
  std::vector<Index> bins = {48};  // one for all, or one for each column of numbers
  Index frequencies = 48;
  double frequency_scale = 0.01;  // the standard deviation of the first frequencies
  Index embedding_dim = 8;
  Index one_hot = 9;
  NormalizationKind kind = NormalizationKind::robust;
  std::optional<double> clip = 3.0;
  bool lazy = false;  // optimizers update those rows of the table alone whose gradient is not zero
  bool trainable = true;
  double lr_scale = 1.0, decay_scale = 1.0;
  bool operator==(const Columns&) const = default;
};

// The first values of vectors that scale the columns: 1 or -1, draws from N(0, 1), or 1.
enum class ScaleInit { random_signs, normal, ones };

// Makes k members of the value: rows of width d become k rows each, of which row m is row * scale[m] (+ bias[m]), scale and bias
// (k, d) (Gorishniy, Kotelnikov & Babenko 2025, section 3.3). A value that has k members already is scaled member by member.
// All layers that follow work on the rows of every member, the loss is the mean of the members' losses, and a prediction
// is what they say together (OutputKind).
struct Members {
  Index k = 0;
  std::optional<ScaleInit> init{};  // unset: random_signs
  bool bias = false;
  bool trainable = true;
  double lr_scale = 1.0, decay_scale = 1.0;
  bool operator==(const Members&) const = default;
};

// A Dense for each member: weight (k, in_features, units), bias (k, units). With `shared` there is one weight for all of them:
// activation((x * input_scale[m]) @ weight * output_scale[m] + bias[m]) (Wen, Tran & Ba 2020, eq. 5), weight
// (in_features, units), input_scale (k, in_features), output_scale and bias (k, units).
struct MemberDense {
  Index units = 0;
  Activation activation = Identity{};
  bool shared = false;
  std::optional<Index> members{};            // of a value that has none yet: k; else unset
  std::optional<bool> use_bias{};            // as in Dense
  std::optional<Initializer> kernel_init{};  // as in Dense, of each member's weight
  Initializer bias_init{};
  std::optional<ScaleInit> scale_init{};  // of input_scale; unset: random_signs where `members` is given, else ones
  bool trainable = true;
  std::optional<double> l1{}, l2{};  // of this weight; unset: those of the trainer
  double lr_scale = 1.0, decay_scale = 1.0;
  bool operator==(const MemberDense&) const = default;
};

// output = input * scale, scale (features), which starts as ones.
struct FeatureScale {
  bool trainable = true;
  double lr_scale = 1.0, decay_scale = 1.0;
  bool operator==(const FeatureScale&) const = default;
};

// Each alternative of Activation is a layer too.
template <class... Ops>
std::variant<Dense, Ops..., BatchNorm, LayerNorm, Dropout, Residual, Normalization, Columns, Members, MemberDense,
             FeatureScale>
layers_with(const std::variant<Ops...>&);
using Layer = decltype(layers_with(Activation()));

// output = input + f(input), where f is the layers in order. If the widths differ, the input goes through a Dense without
// bias, named "projection" (He et al. 2016, eq. 1 and 2).
struct Residual {
  std::vector<Layer> layers;
  bool trainable = true;  // false: all parameters inside stay as they are, and those of the projection
  double lr_scale = 1.0, decay_scale = 1.0;
  STOOP_API bool operator==(const Residual& other) const;
};

// Limits of a model. Files that hold more are refused as well.
inline constexpr int kMostNestedResiduals = 6;  // a Residual within a Residual counts as 2
inline constexpr Index kMostLayers = 100'000;   // those within a Residual count too
inline constexpr Index kMostMembers = 1024;

// ---- names, one table each ----
STOOP_API std::string_view name_of(ActivationKind kind);
STOOP_API std::string_view name_of(const Initializer& initializer);
STOOP_API std::string_view name_of(const Layer& layer);
STOOP_API ActivationKind kind_of(const Activation& activation);
STOOP_API bool is_relu_like(ActivationKind kind);            // He initialisation suits it
STOOP_API bool derivative_from_output(ActivationKind kind);  // else its kernel needs the input

// Throws ValueError with the nearest valid name; `where` is what the message opens with.
STOOP_API Activation activation_from_name(std::string_view name, std::string_view where = "activation");
STOOP_API Initializer initializer_from_name(std::string_view name, std::string_view where = "initializer");

STOOP_API Layer layer_from_name(std::string_view name, std::string_view where = "layer");

// The activation a layer is, if it is one.
STOOP_API std::optional<Activation> as_activation(const Layer& layer);

}  // namespace stoop
