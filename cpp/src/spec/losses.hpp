// Everything that is known of each loss except its formula, which is in cpu/loss.inl.hpp.
#pragma once

#include <stoop/losses.hpp>

#include "spec.hpp"

namespace stoop::inline v0_1 {

template <>
struct Choices<OutputKind> {
  static constexpr const char* kNames[] = {"softmax", "sigmoid", "identity"};
  static constexpr const char* kWhat = "output";
};

// The condition for rows of targets.
enum class TargetValues {
  any,            // finite numbers
  not_negative,   // finite numbers >= 0
  labels,         // 0 or 1
  probabilities,  // from 0 to 1
  distributions,  // from 0 to 1, and each row sums to 1
};

// What a loss asks of the number of outputs, with the words of the message for another number.
struct OutputColumns {
  Index per_target = 1;  // for each column of targets
  Index least = 1;
  const char* expected = "expected at least one";
  const char* hint = "give the last Dense a unit for each column of y";
};

struct LossSpec {
  static constexpr bool kByRows = false;        // its formula is one of whole rows, not a mean over the columns
  static constexpr bool kTakesClasses = false;  // targets may be class indices
  static constexpr bool kHasAccuracy = false;   // outputs are compared with classes or labels
  static constexpr OutputKind kOutput = OutputKind::identity;
  static constexpr TargetValues kTargets = TargetValues::any;
  static constexpr OutputColumns kColumns{};
  static constexpr std::tuple<> kFields{};
  // Whether outputs must be above 0. Others give NaN, which ends the training.
  template <class Op>
  static constexpr bool takes_rates(const Op&) {
    return false;
  }
};

template <>
struct Spec<SoftmaxCrossEntropy> : LossSpec {
  static constexpr const char* kName = "softmax_cross_entropy";
  static constexpr const char* kClass = "SoftmaxCrossEntropy";
  static constexpr bool kByRows = true;
  static constexpr bool kTakesClasses = true;
  static constexpr bool kHasAccuracy = true;
  static constexpr OutputKind kOutput = OutputKind::softmax;
  static constexpr TargetValues kTargets = TargetValues::distributions;
  static constexpr OutputColumns kColumns{
      .least = 2,
      .expected = "expected an output for each class, since a single one is always right",
      .hint =
          "use binary_cross_entropy for two classes with one output, mse for values, or give the last Dense a unit "
          "for each class"};
  static constexpr std::tuple kFields{Field{"label_smoothing", &SoftmaxCrossEntropy::label_smoothing, from_up_to(0, 1),
                                            "0.1 is usual", Holds::below_one}};
};

template <>
struct Spec<BinaryCrossEntropy> : LossSpec {
  static constexpr const char* kName = "binary_cross_entropy";
  static constexpr const char* kClass = "BinaryCrossEntropy";
  static constexpr bool kHasAccuracy = true;
  static constexpr OutputKind kOutput = OutputKind::sigmoid;
  static constexpr TargetValues kTargets = TargetValues::probabilities;
};

template <>
struct Spec<MeanSquaredError> : LossSpec {
  static constexpr const char* kName = "mse";
  static constexpr const char* kClass = "MeanSquaredError";
};

template <>
struct Spec<MeanAbsoluteError> : LossSpec {
  static constexpr const char* kName = "mae";
  static constexpr const char* kClass = "MeanAbsoluteError";
};

template <>
struct Spec<Huber> : LossSpec {
  static constexpr const char* kName = "huber";
  static constexpr const char* kClass = "Huber";
  static constexpr std::tuple kFields{Field{"delta", &Huber::delta, above(0), "1 is usual", Holds::not_zero}};
};

template <>
struct Spec<Quantile> : LossSpec {
  static constexpr const char* kName = "quantile";
  static constexpr const char* kClass = "Quantile";
  static constexpr std::tuple kFields{Field{"q", &Quantile::q, inside(0, 1), "0.5 is the median", Holds::below_one}};
};

template <>
struct Spec<Poisson> : LossSpec {
  static constexpr const char* kName = "poisson";
  static constexpr const char* kClass = "Poisson";
  static constexpr TargetValues kTargets = TargetValues::not_negative;
  static constexpr std::tuple kFields{plain("log_input", &Poisson::log_input)};
  static constexpr bool takes_rates(const Poisson& poisson) { return !poisson.log_input; }
};

template <>
struct Spec<LogCosh> : LossSpec {
  static constexpr const char* kName = "log_cosh";
  static constexpr const char* kClass = "LogCosh";
};

template <>
struct Spec<Focal> : LossSpec {
  static constexpr const char* kName = "focal";
  static constexpr const char* kClass = "Focal";
  static constexpr bool kHasAccuracy = true;
  static constexpr OutputKind kOutput = OutputKind::sigmoid;
  static constexpr TargetValues kTargets = TargetValues::probabilities;
  static constexpr std::tuple kFields{Field{"gamma", &Focal::gamma, at_least(0), "2 is usual", Holds::size}};
};

// The prediction is the sign of an output. Its sigmoid orders samples, but it is not a probability that was fitted.
template <>
struct Spec<Hinge> : LossSpec {
  static constexpr const char* kName = "hinge";
  static constexpr const char* kClass = "Hinge";
  static constexpr bool kHasAccuracy = true;
  static constexpr OutputKind kOutput = OutputKind::sigmoid;
  static constexpr TargetValues kTargets = TargetValues::labels;
};

template <>
struct Spec<GaussianNLL> : LossSpec {
  static constexpr const char* kName = "gaussian_nll";
  static constexpr const char* kClass = "GaussianNLL";
  static constexpr bool kByRows = true;
  static constexpr OutputColumns kColumns{
      .per_target = 2,
      .least = 2,
      .expected = "expected an even number, for each target a mean and a log variance",
      .hint = "give the last Dense two units for each column of y"};
};

Numbers<Loss> numbers_of(const Loss& loss);
TargetValues targets_of(LossKind kind);
OutputColumns output_columns(LossKind kind);

}  // namespace stoop
