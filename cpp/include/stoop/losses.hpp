// Losses as plain data. The value is the mean over the samples of a batch; if weights are given, it is the weighted mean
// (divided by the sum of the weights). The element-wise losses are means over the output columns as well.
#pragma once

#include <string_view>
#include <variant>

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// -sum_j t_j log softmax(z)_j (Bridle 1990). Targets: class indices, or rows of probabilities. With label smoothing
// t is (1 - label_smoothing) * t + label_smoothing / columns (Szegedy et al. 2016, section 7).
struct SoftmaxCrossEntropy {
  double label_smoothing = 0.0;
};

// On logits: max(z, 0) - z*t + log(1 + exp(-|z|)). Targets: values in [0, 1], several columns for multi-label.
struct BinaryCrossEntropy {};

// (output - target)^2.
struct MeanSquaredError {};

// |output - target|, with gradient 0 where they are equal.
struct MeanAbsoluteError {};

// d = output - target: d^2/2 for |d| <= delta, else delta * (|d| - delta/2) (Huber 1964).
struct Huber {
  double delta = 1.0;
};

// d = target - output: q * d for d > 0, else (q - 1) * d, with gradient 0 where they are equal (Koenker & Bassett 1978).
struct Quantile {
  double q = 0.5;
};

// The negative log-likelihood of counts but for a term of the targets alone (Cameron & Trivedi 1998, section 3.2). Outputs
// are logs of rates: exp(z) - t*z; with log_input false the rates themselves: z - t*log(z + 1e-8). Targets: >= 0.
struct Poisson {
  bool log_input = true;
};

// log(cosh(output - target)): d^2/2 near 0, |d| - log(2) far from it.
struct LogCosh {};

// Binary cross-entropy on logits times (1 - p)^gamma, p the probability that the outputs give the label (Lin et al. 2017,
// eq. 4, without alpha). Targets: values in [0, 1], several columns for multi-label.
struct Focal {
  double gamma = 2.0;
};

// max(0, 1 - s*z), s = 2t - 1: -1 for the label 0 and 1 for the label 1, with gradient 0 where it is 0 (Vapnik 1995; Cortes
// & Vapnik 1995, section 3). Targets: labels 0 and 1, several columns for multi-label.
struct Hinge {};

// Half of v + (m - t)^2 * exp(-v), m a mean and v the log of a variance (Nix & Weigend 1994, eq. 5): the negative
// log-likelihood but for log(2 pi)/2. Outputs: all means, then all log variances; a column of targets for each mean.
struct GaussianNLL {};

using Loss = std::variant<SoftmaxCrossEntropy, BinaryCrossEntropy, MeanSquaredError, MeanAbsoluteError, Huber, Quantile,
                          Poisson, LogCosh, Focal, Hinge, GaussianNLL>;

// The place of an alternative in Loss, by which kernels are picked: kind_of<Huber>().
enum class LossKind : int {};
template <AlternativeOf<Loss> Op>
consteval LossKind kind_of() {
  return static_cast<LossKind>(kIndexIn<Op, Loss>);
}
inline constexpr int kLossCount = static_cast<int>(std::variant_size_v<Loss>);

STOOP_API std::string_view name_of(LossKind kind);
STOOP_API LossKind kind_of(const Loss& loss);
STOOP_API bool takes_classes(LossKind kind);  // targets may be class indices
STOOP_API bool takes_labels(
    LossKind kind);  // targets are labels or probabilities from 0 to 1, a column for each output
STOOP_API bool has_accuracy(LossKind kind);                    // outputs are compared with classes or labels
STOOP_API Index target_columns(LossKind kind, Index outputs);  // of rows of targets

// Throws ValueError for a number outside its range.
STOOP_API void validate(const Loss& loss);
STOOP_API Loss loss_from_name(std::string_view name,
                              std::string_view where = "loss");  // ValueError with the nearest valid name

// The meaning of the outputs.
enum class OutputKind {
  softmax,  // logits of classes that exclude each other: their softmax is the probabilities
  sigmoid,  // one logit for each label: its sigmoid is the probability of the label; a single column is the second class
  identity,  // values
};
inline constexpr int kOutputKindCount = 3;
STOOP_API std::string_view name_of(OutputKind output);  // "softmax", "sigmoid", "identity"
STOOP_API OutputKind output_from_name(std::string_view name, std::string_view where = "output");
STOOP_API OutputKind output_of(LossKind loss);  // the meaning that a loss gives to the outputs

}  // namespace stoop
