// What is known of each loss beyond its formula, which is in cpu/loss.inl.hpp.
#pragma once

#include <stoop/losses.hpp>

#include "spec.hpp"

namespace stoop {

// What rows of targets must be.
enum class TargetValues { any, probabilities, distributions };  // any finite numbers; in [0, 1]; that sum to 1

struct LossSpec {
  static constexpr bool kByRows = false;        // its formula is one of whole rows, not a mean over the columns
  static constexpr bool kTakesClasses = false;  // targets may be class indices
  static constexpr bool kHasAccuracy = false;   // outputs are compared with classes or labels
  static constexpr OutputKind kOutput = OutputKind::identity;
  static constexpr TargetValues kTargets = TargetValues::any;
  static constexpr std::tuple<> kFields{};
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

Numbers<Loss> numbers_of(const Loss& loss);
TargetValues targets_of(LossKind kind);

}  // namespace stoop
