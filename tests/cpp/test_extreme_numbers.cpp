// Kernels of STOOP_ISA at the ends of what the element type holds, against plain loops in a wider type: rows that are
// equal, huge, tiny or nearly equal, sums of squares that T does not hold, losses beyond it.
#include <gtest/gtest.h>

#include "run/rates.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

template <class T>
class ExtremeNumbers : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ExtremeNumbers, ElementTypes);

template <class T>
constexpr T kLargest = std::numeric_limits<T>::max();
// A number whose square overflows T, and one whose square vanishes.
template <class T>
constexpr T kHuge = sizeof(T) == 4 ? T(1e20) : T(1e160);
template <class T>
constexpr T kTiny = sizeof(T) == 4 ? T(1e-25) : T(1e-170);

using Exact = long double;

// ---- layer normalisation ----

template <class T>
struct Rows {
  static constexpr Index kCount = 6;  // four together, and two alone
  Index cols;
  T eps = T(1e-5);
  std::vector<T> input, grad, gamma, beta, output, grad_input, statistics, grad_gamma;

  explicit Rows(Index c)
      : cols(c),
        input(static_cast<std::size_t>(kCount * c)),
        grad(numbers<T>(kCount * c, 2)),
        gamma(numbers<T>(c, 3)),
        beta(numbers<T>(c, 4)),
        output(input.size()),
        grad_input(input.size()),
        statistics(static_cast<std::size_t>(kRowStatistics * kCount)),
        grad_gamma(gamma.size()) {}

  void run() {
    LayerNormArgs<T> args{};
    args.rows = kCount, args.cols = cols;
    args.input = input.data(), args.ld_input = cols;
    args.gamma = gamma.data(), args.beta = beta.data();
    args.output = output.data(), args.ld_output = cols;
    args.statistics = statistics.data(), args.ld_statistics = kRowStatistics;
    args.eps = eps;
    table_under_test<T>().layer_norm_forward(args);
    args.grad = grad.data(), args.ld_grad = cols;
    args.output = grad_input.data();
    table_under_test<T>().layer_norm_backward(args);
    args.grad_gamma = grad_gamma.data();
    table_under_test<T>().layer_norm_gamma(args);
  }

  std::size_t at(Index i, Index j) const { return static_cast<std::size_t>(i * cols + j); }

  // Differences from the first element, since even a mean in long double would be wrong by a unit in its last place.
  void expect_right(const char* what) const {
    SCOPED_TRACE(testing::Message() << what << ", " << cols << " columns");
    const Exact n = static_cast<Exact>(cols);
    std::vector<Exact> want_gamma(gamma.size());
    for (Index i = 0; i < kCount; ++i) {
      Exact mean = 0, variance = 0, mean_grad = 0, slope = 0;
      const auto difference = [&](Index j) { return Exact(input[at(i, j)]) - Exact(input[at(i, 0)]); };
      for (Index j = 0; j < cols; ++j) mean += difference(j) / n;
      for (Index j = 0; j < cols; ++j) variance += (difference(j) - mean) * (difference(j) - mean) / n;
      const Exact inverse = 1 / std::sqrt(variance + Exact(eps));
      const auto xhat = [&](Index j) { return (difference(j) - mean) * inverse; };
      const auto g = [&](Index j) { return Exact(grad[at(i, j)]) * gamma[static_cast<std::size_t>(j)]; };
      for (Index j = 0; j < cols; ++j) mean_grad += g(j) / n, slope += g(j) * xhat(j) / n;
      const double tolerance = 64.0 * std::sqrt(static_cast<double>(cols) + 8.0) * kEpsilon<T>;
      for (Index j = 0; j < cols; ++j) {
        const auto column = static_cast<std::size_t>(j);
        EXPECT_NEAR(double(output[at(i, j)]), double(xhat(j) * gamma[column] + beta[column]), tolerance) << i;
        const Exact want = (g(j) - mean_grad - xhat(j) * slope) * inverse;
        const double held = std::abs(double(want)) < 1e-37 && sizeof(T) == 4 ? 1e-37 : 0.0;
        EXPECT_NEAR(double(grad_input[at(i, j)]), double(want), tolerance * double(inverse) * 4.0 + held) << i;
        want_gamma[column] += grad[at(i, j)] * xhat(j);
      }
    }
    for (Index j = 0; j < cols; ++j) {
      const auto column = static_cast<std::size_t>(j);
      EXPECT_NEAR(double(grad_gamma[column]), double(want_gamma[column]), 400.0 * std::sqrt(double(n)) * kEpsilon<T>)
          << j;
    }
  }
};

template <class T>
void fill(Rows<T>& rows, T (*value)(Index i, Index j)) {
  for (Index i = 0; i < Rows<T>::kCount; ++i) {
    for (Index j = 0; j < rows.cols; ++j) rows.input[rows.at(i, j)] = value(i, j);
  }
}

constexpr Index kColumns[] = {1, 2, 3, 7, 12, 16, 37, 100, 530, 1030};

TYPED_TEST(ExtremeNumbers, EqualElementsOfARowBecomeZeros) {
  using T = TypeParam;
  const T values[] = {T(10000) / 3, T(123456.7), T(1e7) / 3, T(1e-3) / 3, kHuge<T> / 3, -kLargest<T>, T(1) / 3, T(0)};
  for (const Index cols : kColumns) {
    for (const T value : values) {
      Rows<T> rows(cols);
      std::fill(rows.input.begin(), rows.input.end(), value);
      std::fill(rows.beta.begin(), rows.beta.end(), T(0));
      rows.run();
      for (const T y : rows.output) ASSERT_NEAR(double(y), 0.0, 64.0 * kEpsilon<T>) << value << ", " << cols;
      rows.expect_right("equal");
    }
  }
}

TYPED_TEST(ExtremeNumbers, RowsOfAnySizeAreNormalised) {
  using T = TypeParam;
  const auto varied = [](Index i, Index j) { return T((7 * i + 3 * j * j + 5 * j) % 11 - 4) / T(4); };
  for (const Index cols : kColumns) {
    for (const T size : {T(1), kHuge<T>, kLargest<T> / 4, T(1e-30), T(1e15), std::sqrt(kLargest<T>) / 8}) {
      Rows<T> rows(cols);
      for (Index i = 0; i < rows.kCount; ++i) {
        for (Index j = 0; j < cols; ++j) rows.input[rows.at(i, j)] = size * varied(i, j);
      }
      rows.run();
      rows.expect_right(testing::PrintToString(size).c_str());
    }
  }
}

TYPED_TEST(ExtremeNumbers, RowsOfMixedSizesAreNormalised) {
  using T = TypeParam;
  for (const Index cols : kColumns) {
    Rows<T> rows(cols);
    fill<T>(rows, [](Index i, Index j) {
      if (j == i) return i % 2 == 0 ? kLargest<T> : -kLargest<T>;  // also the first element, and none in the last row
      return j % 3 == 0 ? T(1) : T(j % 7) * kTiny<T>;
    });
    rows.run();
    rows.expect_right("mixed");
    fill<T>(rows, [](Index i, Index j) { return (i + j) % 2 == 0 ? kLargest<T> : -kLargest<T>; });
    rows.run();
    rows.expect_right("both ends");
  }
}

// The mean lies between two neighbouring numbers.
TYPED_TEST(ExtremeNumbers, RowsThatDifferInTheLastDigitAreNormalised) {
  using T = TypeParam;
  for (const Index cols : kColumns) {
    for (const T size : {sizeof(T) == 4 ? T(1e8) : T(1e17), kHuge<T>, kLargest<T> / 2}) {
      Rows<T> rows(cols);
      const T next = std::nextafter(size, kLargest<T>);
      for (Index i = 0; i < rows.kCount; ++i) {
        for (Index j = 0; j < cols; ++j) rows.input[rows.at(i, j)] = (i + j) % 3 == 0 ? next : size;
      }
      rows.run();
      rows.expect_right("neighbours");
    }
  }
}

TYPED_TEST(ExtremeNumbers, ARowThatIsNotFiniteStaysSo) {
  using T = TypeParam;
  for (const T bad : {std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()}) {
    Rows<T> rows(37);
    fill<T>(rows, [](Index, Index j) { return T(j); });
    rows.input[rows.at(2, 5)] = bad;
    rows.run();
    EXPECT_TRUE(std::isnan(rows.output[rows.at(2, 5)]));
    EXPECT_TRUE(std::isfinite(rows.output[rows.at(1, 5)]));
    EXPECT_TRUE(std::isfinite(rows.output[rows.at(3, 5)]));
  }
}

// ---- sums of squares ----

template <class T>
struct Sums {
  double weight = -1.0, grad = -1.0, norm = -1.0;

  double root() const { return norm >= 0.0 || std::isnan(norm) ? norm : std::sqrt(grad); }
};

template <class T>
Sums<T> update_sums(const Optimizer& optimizer, std::vector<T> weight, std::vector<T> grad, T l2, double clip = 0.0) {
  Sums<T> sums;
  std::vector<T> states[kMostStates];
  UpdateArgs<T> args{};
  args.n = static_cast<Index>(weight.size());
  args.weight = weight.data(), args.grad = grad.data();
  for (int s = 0; s < state_count(optimizer); ++s) {
    states[s].resize(weight.size());
    args.state[s] = states[s].data();
  }
  args.l2 = l2;
  AnyRates rates;
  set_rates(args, rates, optimizer, learning_rate_of(optimizer), 1);
  if (clip > 0.0) set_scale(args, 1.0, clip);
  args.weight_sum_of_squares = &sums.weight, args.grad_sum_of_squares = &sums.grad, args.grad_norm = &sums.norm;
  table_under_test<T>().update[optimizer.index()](args);
  return sums;
}

TYPED_TEST(ExtremeNumbers, TheNormOfAGradientOfAnySize) {
  using T = TypeParam;
  for (const Index n : {1, 5, 64, 1025, 3000}) {
    for (const T size : {T(1), kHuge<T>, kTiny<T>, kLargest<T> / 128, T(0)}) {
      const std::vector<T> grad(static_cast<std::size_t>(n), size), weight(grad.size(), T(0));
      const double want = double(size) * std::sqrt(double(n));
      EXPECT_NEAR(update_sums<T>(SGD{.learning_rate = 0.0}, weight, grad, T(0)).root(), want, 1e-5 * want) << size;
      EXPECT_NEAR(update_sums<T>(Adam{}, weight, grad, T(0)).root(), want, 1e-5 * want) << size;
      std::vector<T> regularized = grad;
      double weights = 0.0, magnitudes = 0.0;
      Sums<T> sums;
      table_under_test<T>().regularize(
          {n, weight.data(), regularized.data(), T(0), T(0), T(0), &weights, &magnitudes, &sums.grad, &sums.norm});
      EXPECT_NEAR(sums.root(), want, 1e-5 * want) << size;
      if (sizeof(T) == 8) continue;
      EXPECT_NEAR(sums.grad, want * want, 1e-5 * want * want) << size;
    }
    for (const T bad : {std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()}) {
      std::vector<T> grad(static_cast<std::size_t>(n), kHuge<T>), weight(grad.size(), T(0));
      grad.back() = bad;
      const Sums<T> sums = update_sums<T>(SGD{}, weight, grad, T(0));
      EXPECT_FALSE(std::isfinite(sums.grad)) << n;
      EXPECT_FALSE(std::isfinite(sums.root())) << n;
    }
  }
}

TYPED_TEST(ExtremeNumbers, TheSquaresOfHugeWeights) {
  using T = TypeParam;
  if (sizeof(T) == 8) return;  // their squares are beyond double, too
  const std::vector<T> weight(100, kHuge<T>), grad(100, T(1));
  const double want = 100.0 * double(kHuge<T>) * double(kHuge<T>);
  EXPECT_NEAR(update_sums<T>(SGD{.learning_rate = 0.0}, weight, grad, T(0.1)).weight, want, 1e-5 * want);
}

TYPED_TEST(ExtremeNumbers, AScaleThatTheTypeDoesNotHold) {
  using T = TypeParam;
  const T size = kLargest<T> / 2;
  const double norm = 2.0 * (sizeof(T) == 4 ? double(size) : 4e307);  // of four such
  const std::vector<T> grad(4, sizeof(T) == 4 ? size : T(4e307)), weight(4, T(0));
  EXPECT_NEAR(update_sums<T>(SGD{}, weight, grad, T(0), norm).root(), 1.0, 1e-5);
}

TYPED_TEST(ExtremeNumbers, ColumnsOfAnySizeAreLimited) {
  using T = TypeParam;
  for (const Index cols : {1, 3, 16, 37, 70}) {
    constexpr Index kRows = 131;
    for (const double limit : {1.0, double(kTiny<T>)}) {
      const T sizes[] = {T(1), kHuge<T>, kLargest<T> / 64, T(4) * kTiny<T>, T(0), kTiny<T> / 64};
      std::vector<T> weight(static_cast<std::size_t>(kRows * cols));
      for (Index i = 0; i < kRows; ++i) {
        for (Index j = 0; j < cols; ++j) weight[static_cast<std::size_t>(i * cols + j)] = sizes[j % 6];
      }
      table_under_test<T>().limit_norm({kRows, cols, weight.data(), cols, limit});
      for (Index j = 0; j < cols; ++j) {
        const double norm = double(sizes[j % 6]) * std::sqrt(double(kRows));
        const double want = (norm > limit ? limit / norm : 1.0) * double(sizes[j % 6]);
        const double got = double(weight[static_cast<std::size_t>(65 * cols + j)]);
        EXPECT_NEAR(got, norm > limit ? limit / std::sqrt(double(kRows)) : want, 1e-5 * limit) << j << ", " << limit;
      }
    }
  }
}

// ---- losses ----

template <class T>
double loss_of(const Loss& loss, std::vector<T> outputs, const std::vector<T>& targets,
               std::vector<T>* grad = nullptr) {
  double value = -1.0, correct = -1.0;
  std::vector<T> gradient(outputs.size());
  LossArgs<T> args{};
  args.rows = 1, args.cols = static_cast<Index>(outputs.size());
  args.output = outputs.data(), args.ld_output = args.cols;
  args.targets = targets.data(), args.ld_targets = args.cols;
  args.grad = gradient.data(), args.ld_grad = args.cols;
  args.grad_scale = T(1), args.numbers = numbers_of(loss);
  args.loss = &value, args.correct = &correct;
  table_under_test<T>().loss[static_cast<int>(kind_of(loss))](args);
  if (grad != nullptr) *grad = gradient;
  return value;
}

TYPED_TEST(ExtremeNumbers, LogitsThatSpanMoreThanTheType) {
  using T = TypeParam;
  const T big = kLargest<T>;
  std::vector<T> grad;
  for (const Index cols : {2, 5, 40}) {
    std::vector<T> logits(static_cast<std::size_t>(cols), -big), hot(logits.size(), T(0));
    logits[1] = big, hot[1] = T(1);
    EXPECT_EQ(loss_of<T>(SoftmaxCrossEntropy{}, logits, hot, &grad), 0.0);
    for (const T g : grad) EXPECT_EQ(g, T(0));
    std::swap(hot[0], hot[1]);
    const double span = 2.0 * double(big);  // infinite in double, of doubles
    EXPECT_EQ(loss_of<T>(SoftmaxCrossEntropy{}, logits, hot, &grad), span);
    EXPECT_EQ(grad[0], T(-1));
    EXPECT_EQ(grad[1], T(1));
    hot[0] = hot[1] = T(0.5);
    EXPECT_EQ(loss_of<T>(SoftmaxCrossEntropy{}, logits, hot, &grad), double(big));
    hot[0] = T(0), hot[1] = T(1);
    const double smoothed = loss_of<T>(SoftmaxCrossEntropy{.label_smoothing = 0.25}, logits, hot, &grad);
    const double want = 0.25 * (double(cols) - 1.0) / double(cols) * 2.0;
    EXPECT_NEAR(smoothed / double(big), want, 1e-6);
  }
}

TYPED_TEST(ExtremeNumbers, LossesBeyondTheTypeThatDoubleHolds) {
  using T = TypeParam;
  const T big = kLargest<T>, half = kLargest<T> / 4;
  std::vector<T> grad;
  EXPECT_EQ(loss_of<T>(BinaryCrossEntropy{}, {big, -big, big, -big}, {T(1), T(0), T(1), T(0)}), 0.0);
  if (sizeof(T) == 8) return;
  EXPECT_EQ(loss_of<T>(MeanAbsoluteError{}, std::vector<T>(5, half), std::vector<T>(5, -half), &grad),
            2.0 * double(half));
  EXPECT_EQ(loss_of<T>(MeanAbsoluteError{}, {big, big}, {-big, -big}, &grad), 2.0 * double(big));
  EXPECT_EQ(grad[0], T(0.5));
  EXPECT_EQ(loss_of<T>(Huber{}, {big, T(0)}, {-big, T(0)}, &grad), double(big));
  EXPECT_EQ(grad[0], T(0.5));
  EXPECT_EQ(loss_of<T>(BinaryCrossEntropy{}, {big, big}, {T(0), T(0)}, &grad), double(big));
}

}  // namespace
}  // namespace stoop
