// What the outputs of several members say as a whole: means and spreads, row by row.
#pragma once

#include <algorithm>
#include <cmath>

#include <stoop/ensemble.hpp>

#include "../base/ranges.hpp"

namespace stoop::inline v0_1 {

// What is averaged. `two_classes`: of one logit, the probabilities of both classes. `gaussian`: means, and the variance of
// the mixture.
enum class SummaryKind { outputs, softmax, sigmoid, two_classes, gaussian };

// Writes rows of a mean and of a spread over members. All sums go in the order of the members, in float64, so that a row
// does not depend on who computes it.
template <class T>
class Summary {
 public:
  // A spread without memory is not computed.
  Summary(SummaryKind kind, MatrixView<T> mean, MatrixView<T> spread) : kind_(kind), mean_(mean), spread_(spread) {}

  // Returns the same for outputs whose row 0 is row `first` of the results.
  Summary from(Index first) const {
    Summary later = *this;
    later.mean_.data += first * mean_.row_stride();
    if (spread_.data != nullptr) later.spread_.data += first * spread_.row_stride();
    return later;
  }

  // Takes rows of the outputs, which become probabilities where these are averaged.
  void take(const MemberOutputs<T>& outputs, Range rows) const noexcept {
    for (Index row = rows.begin; row < rows.end; ++row) {
      T* const first = outputs.data + row * outputs.row_stride;
      for (Index i = 0; i < outputs.members; ++i) make_probabilities(first + i * outputs.member_stride, outputs.cols);
      T* const mean = mean_.data + row * mean_.row_stride();
      T* const spread = spread_.data == nullptr ? nullptr : spread_.data + row * spread_.row_stride();
      if (kind_ == SummaryKind::two_classes) {
        take_two_classes(outputs, first, mean, spread);
      } else if (kind_ == SummaryKind::gaussian) {
        take_gaussian(outputs, first, mean, spread);
      } else {
        for (Index column = 0; column < outputs.cols; ++column) {
          const auto value = [&](Index i) { return double{first[i * outputs.member_stride + column]}; };
          take_values(outputs.members, value, mean + column, spread == nullptr ? nullptr : spread + column);
        }
      }
    }
  }

 private:
  static double sigmoid(double logit) { return 1.0 / (1.0 + std::exp(-logit)); }

  void make_probabilities(T* outputs, Index cols) const noexcept {
    if (kind_ == SummaryKind::sigmoid)
      std::transform(outputs, outputs + cols, outputs, [](T x) { return static_cast<T>(sigmoid(x)); });
    if (kind_ != SummaryKind::softmax) return;
    const T largest = *std::max_element(outputs, outputs + cols);
    T sum = T(0);
    for (Index i = 0; i < cols; ++i) {
      outputs[i] = std::exp(outputs[i] - largest);
      sum += outputs[i];
    }
    for (Index i = 0; i < cols; ++i) outputs[i] /= sum;
  }

  template <class Value>
  static double mean_of(Index members, const Value& value) noexcept {
    double sum = 0.0;
    for (Index i = 0; i < members; ++i) sum += value(i);
    return sum / static_cast<double>(members);
  }

  // Writes the mean and, if asked for, the standard deviation.
  template <class Value>
  static void take_values(Index members, const Value& value, T* mean, T* deviation) noexcept {
    const double average = mean_of(members, value);
    *mean = static_cast<T>(average);
    if (deviation == nullptr) return;
    const double variance = mean_of(members, [&](Index i) { return (value(i) - average) * (value(i) - average); });
    *deviation = static_cast<T>(std::sqrt(variance));
  }

  // The probability of the first class is not 1 minus the other, which would lose small ones.
  static void take_two_classes(const MemberOutputs<T>& outputs, const T* logits, T* mean, T* deviation) noexcept {
    for (const int column : {0, 1}) {
      const auto value = [&](Index i) {
        const double logit = logits[i * outputs.member_stride];
        return sigmoid(column == 0 ? -logit : logit);
      };
      take_values(outputs.members, value, mean + column, deviation == nullptr ? nullptr : deviation + column);
    }
  }

  static void take_gaussian(const MemberOutputs<T>& outputs, const T* first, T* mean, T* variance) noexcept {
    const Index targets = outputs.cols / 2;
    for (Index column = 0; column < targets; ++column) {
      const T* const means = first + column;
      const auto mean_value = [&](Index i) { return double{means[i * outputs.member_stride]}; };
      const double average = mean_of(outputs.members, mean_value);
      mean[column] = static_cast<T>(average);
      variance[column] = static_cast<T>(mean_of(outputs.members, [&](Index i) {
        const double deviation = mean_value(i) - average;
        return std::exp(double{means[i * outputs.member_stride + targets]}) + deviation * deviation;
      }));
    }
  }

  SummaryKind kind_;
  MatrixView<T> mean_, spread_;
};

}  // namespace stoop
