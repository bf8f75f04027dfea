// Losses of STOOP_ISA against the plain formulas in a wider type: value, gradient, ties, extremes.
#include <gtest/gtest.h>

#include "test_helpers.hpp"

namespace stoop {
namespace {

// Outputs of a network with targets, rows `ld` elements apart; the gap holds a canary in the gradient.
template <class T>
struct LossProblem {
  Index rows, cols, ld;
  std::vector<T> output, targets, grad;
  std::vector<std::int32_t> classes;
  std::vector<double> weights{};  // none: all 1
  double loss = -1.0, correct = -1.0;

  LossProblem(Index r, Index c, Index gap, double scale)
      : rows(r),
        cols(c),
        ld(c + gap),
        output(numbers<T>(r * ld, 21, scale)),
        targets(numbers<T>(r * ld, 22, scale)),
        grad(output.size(), T(77)) {
    for (Index i = 0; i < r; ++i) classes.push_back(static_cast<std::int32_t>((i * 7 + 3) % c));
  }
  LossProblem(const std::vector<T>& row, std::int32_t target)
      : rows(1),
        cols(static_cast<Index>(row.size())),
        ld(cols),
        output(row),
        targets(row),
        grad(row.size(), T(77)),
        classes{target} {}

  void run(const OpTable<T>& table, LossKind kind, bool with_gradient = true) {
    LossArgs<T> args{};
    args.rows = rows, args.cols = cols;
    args.output = output.data(), args.ld_output = ld;
    args.classes = classes.data();
    args.targets = targets.data(), args.ld_targets = ld;
    args.grad = with_gradient ? grad.data() : nullptr, args.ld_grad = ld;
    args.weights = weights.empty() ? nullptr : weights.data();
    args.grad_scale = T(0.25);
    args.numbers = {kind == kind_of<Huber>() ? 1.0 : 0.0};
    args.loss = &loss, args.correct = &correct;
    table.loss[static_cast<int>(kind)](args);
  }
  Wide<T> z(Index i, Index j) const { return output[static_cast<std::size_t>(i * ld + j)]; }
  Wide<T> t(Index i, Index j) const { return targets[static_cast<std::size_t>(i * ld + j)]; }
  T g(Index i, Index j) const { return grad[static_cast<std::size_t>(i * ld + j)]; }
  Index label(Index i) const { return classes[static_cast<std::size_t>(i)]; }

  // Row i's log(sum(exp(z))), shifted by `largest`, its largest element.
  Wide<T> log_sum(Index i, Wide<T> largest) const {
    Wide<T> sum = 0;
    for (Index j = 0; j < cols; ++j) sum += std::exp(z(i, j) - largest);
    return std::log(sum) + largest;
  }
  Index argmax(Index i) const {
    Index best = 0;
    for (Index j = 1; j < cols; ++j) best = z(i, j) > z(i, best) ? j : best;
    return best;
  }
};

template <class T>
class Losses : public ::testing::Test {
 protected:
  static constexpr LossKind kSoftmax = kind_of<SoftmaxCrossEntropy>(), kMse = kind_of<MeanSquaredError>();

  // The loss of one row of logits.
  static LossProblem<T> softmax(const std::vector<T>& logits, std::int32_t target) {
    LossProblem<T> problem(logits, target);
    problem.run(table_under_test<T>(), kSoftmax);
    return problem;
  }
  static void expect_gap_untouched(const LossProblem<T>& p) {
    for (Index i = 0; i < p.rows * p.ld; ++i) {
      if (i % p.ld < p.cols) continue;
      ASSERT_EQ(p.grad[static_cast<std::size_t>(i)], T(77)) << "gap written";
    }
  }
};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Losses, ElementTypes);

constexpr Index kWidths[] = {1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 53, 64, 79, 131};

TYPED_TEST(Losses, SoftmaxCrossEntropyValueAndGradient) {
  using T = TypeParam;
  for (const Index cols : kWidths) {
    for (const Index rows : {0, 1, 5}) {
      for (const Index gap : {0, 3}) {
        LossProblem<T> p(rows, cols, gap, 4.0), by_scalar = p;
        p.run(table_under_test<T>(), this->kSoftmax);
        by_scalar.run(op_table<T>(Isa::scalar), this->kSoftmax);
        Wide<T> loss = 0;
        double correct = 0.0;
        const double tolerance = (10.0 + static_cast<double>(cols)) * kEpsilon<T>;
        for (Index i = 0; i < rows; ++i) {
          const Wide<T> log_sum = p.log_sum(i, p.z(i, p.argmax(i)));
          loss += log_sum - p.z(i, p.label(i));
          correct += p.argmax(i) == p.label(i) ? 1.0 : 0.0;
          for (Index j = 0; j < cols; ++j) {
            const Wide<T> want = (std::exp(p.z(i, j) - log_sum) - (j == p.label(i) ? 1 : 0)) / 4;
            ASSERT_NEAR(p.g(i, j), static_cast<double>(want), tolerance) << rows << " x " << cols;
            ASSERT_NEAR(p.g(i, j), by_scalar.g(i, j), tolerance);
          }
        }
        ASSERT_NEAR(p.loss, static_cast<double>(loss), static_cast<double>(rows) * tolerance) << rows << " x " << cols;
        ASSERT_EQ(p.correct, correct);
        this->expect_gap_untouched(p);
      }
    }
  }
}

TYPED_TEST(Losses, MeanSquaredErrorValueAndGradient) {
  using T = TypeParam;
  for (const Index cols : kWidths) {
    for (const Index rows : {0, 1, 5}) {
      for (const Index gap : {0, 3}) {
        LossProblem<T> p(rows, cols, gap, 2.0), by_scalar = p;
        p.run(table_under_test<T>(), this->kMse);
        by_scalar.run(op_table<T>(Isa::scalar), this->kMse);
        Wide<T> loss = 0;
        for (Index i = 0; i < rows; ++i) {
          for (Index j = 0; j < cols; ++j) {
            const Wide<T> difference = p.z(i, j) - p.t(i, j);
            loss += difference * difference / cols;
            const double want = static_cast<double>(2 * difference / cols / 4);
            ASSERT_NEAR(p.g(i, j), want, 4 * kEpsilon<T>) << rows << " x " << cols;
            ASSERT_NEAR(p.g(i, j), by_scalar.g(i, j), 4 * kEpsilon<T>);
          }
        }
        const double tolerance = (static_cast<double>(cols) + 4.0) * kEpsilon<T> * static_cast<double>(loss);
        ASSERT_NEAR(p.loss, static_cast<double>(loss), tolerance) << rows << " x " << cols;
        this->expect_gap_untouched(p);
      }
    }
  }
}

// Beyond delta = 1 and within it, and where nothing is wrong; every row with a weight of its own.
TYPED_TEST(Losses, AbsoluteErrorAndHuberValueAndGradient) {
  using T = TypeParam;
  constexpr Index kRows = 5;
  for (const Index cols : kWidths) {
    for (const LossKind kind : {kind_of<MeanAbsoluteError>(), kind_of<Huber>()}) {
      LossProblem<T> p(kRows, cols, 3, 2.0);
      p.weights = {0.5, 2.0, 0.0, 1.0, 3.0};
      for (std::size_t i = 0; i < p.output.size(); i += 3) p.output[i] = p.targets[i];
      p.run(table_under_test<T>(), kind);
      Wide<T> loss = 0;
      for (Index i = 0; i < kRows; ++i) {
        const Wide<T> weight = p.weights[static_cast<std::size_t>(i)];
        for (Index j = 0; j < cols; ++j) {
          const Wide<T> d = p.z(i, j) - p.t(i, j), size = std::abs(d), sign = (d > 0) - (d < 0);
          const bool linear = kind == kind_of<MeanAbsoluteError>() || size > 1;
          loss += weight *
                  (kind == kind_of<MeanAbsoluteError>() ? size
                   : linear                             ? size - Wide<T>(0.5)
                                                        : d * d / 2) /
                  cols;
          const double want = static_cast<double>(weight * (linear ? sign : d) / cols / 4);
          ASSERT_NEAR(p.g(i, j), want, 8 * kEpsilon<T>) << name_of(kind) << ", " << cols << " columns";
        }
      }
      const double tolerance = (static_cast<double>(cols) + 4.0) * kEpsilon<T> * static_cast<double>(loss);
      ASSERT_NEAR(p.loss, static_cast<double>(loss), tolerance) << name_of(kind) << ", " << cols << " columns";
      this->expect_gap_untouched(p);
    }
  }
}

TYPED_TEST(Losses, AbsoluteErrorOfNaNIsNaN) {
  using T = TypeParam;
  for (const LossKind kind : {kind_of<MeanAbsoluteError>(), kind_of<Huber>()}) {
    LossProblem<T> p(1, 21, 0, 2.0);
    p.output[18] = kNaN<T>;
    p.run(table_under_test<T>(), kind);
    EXPECT_TRUE(std::isnan(p.loss)) << name_of(kind);
    EXPECT_TRUE(std::isnan(p.g(0, 18))) << name_of(kind);
  }
}

TYPED_TEST(Losses, TheValueIsTheSameWithoutAGradient) {
  using T = TypeParam;
  for (const LossKind kind :
       {this->kSoftmax, kind_of<BinaryCrossEntropy>(), this->kMse, kind_of<MeanAbsoluteError>()}) {
    LossProblem<T> with(5, 77, 0, 3.0), without = with;
    with.run(table_under_test<T>(), kind);
    without.run(table_under_test<T>(), kind, false);
    EXPECT_EQ(with.loss, without.loss);
    EXPECT_EQ(with.correct, without.correct);
    EXPECT_EQ(without.grad, std::vector<T>(without.grad.size(), T(77)));
  }
}

TYPED_TEST(Losses, LogitsOfTenThousand) {
  using T = TypeParam;
  const auto right = this->softmax({T(1e4), T(-1e4), T(0)}, 0);
  EXPECT_EQ(right.loss, 0.0);
  EXPECT_EQ(right.grad, (std::vector<T>{0, 0, 0}));
  const auto wrong = this->softmax({T(1e4), T(-1e4), T(0)}, 1);
  EXPECT_EQ(wrong.loss, 2e4);
  EXPECT_EQ(wrong.grad, (std::vector<T>{T(0.25), T(-0.25), 0}));
  const auto negative = this->softmax({T(-1e4), T(-1e4 - 1)}, 0);
  EXPECT_NEAR(negative.loss, std::log1p(std::exp(-1.0)), 10 * kEpsilon<T>);
}

TYPED_TEST(Losses, EqualLogitsAndTiesGoToTheFirst) {
  using T = TypeParam;
  for (const Index cols : kWidths) {
    for (std::int32_t target = 0; target < cols; ++target) {
      const auto p = this->softmax(std::vector<T>(static_cast<std::size_t>(cols), T(3)), target);
      ASSERT_NEAR(p.loss, std::log(static_cast<double>(cols)), 10 * kEpsilon<T> * static_cast<double>(cols));
      ASSERT_EQ(p.correct, target == 0 ? 1.0 : 0.0) << "class " << target << " of " << cols;
      for (Index j = 0; j < cols; ++j) {
        ASSERT_NEAR(p.g(0, j), (1.0 / static_cast<double>(cols) - (j == target ? 1.0 : 0.0)) / 4.0, 4 * kEpsilon<T>);
      }
    }
  }
}

// Outputs of three values only, so that most rows have ties.
TYPED_TEST(Losses, CorrectCountsTheArgmaxWithTheFirstOfEquals) {
  using T = TypeParam;
  for (const Index cols : kWidths) {
    LossProblem<T> p(40, cols, 1, 1.5);
    for (T& value : p.output) value = std::round(value);
    p.run(table_under_test<T>(), this->kSoftmax, false);
    double correct = 0.0;
    for (Index i = 0; i < p.rows; ++i) correct += p.argmax(i) == p.label(i) ? 1.0 : 0.0;
    EXPECT_EQ(p.correct, correct) << cols << " columns";
  }
}

TYPED_TEST(Losses, OneColumnIsCertain) {
  const auto p = this->softmax({TypeParam(-123)}, 0);
  EXPECT_EQ(p.loss, 0.0);
  EXPECT_EQ(p.correct, 1.0);
  EXPECT_EQ(p.g(0, 0), TypeParam(0));
}

// What stops a training run: wherever it stands, a NaN or infinity in the outputs shows in the loss.
TYPED_TEST(Losses, NonFiniteOutputsGiveANonFiniteLoss) {
  using T = TypeParam;
  for (const Index cols : kWidths) {
    for (Index at = 0; at < cols; ++at) {
      for (const T bad : {kNaN<T>, kInfinity<T>}) {
        std::vector<T> row = numbers<T>(cols, 9);
        row[static_cast<std::size_t>(at)] = bad;
        ASSERT_FALSE(std::isfinite(this->softmax(row, 0).loss)) << bad << " at " << at << " of " << cols;
        LossProblem<T> p(row, 0);
        std::fill(p.targets.begin(), p.targets.end(), T(0));
        p.run(table_under_test<T>(), this->kMse);
        ASSERT_FALSE(std::isfinite(p.loss)) << bad << " at " << at << " of " << cols;
      }
    }
  }
}

TYPED_TEST(Losses, AnImpossibleOtherClassIsNoHarm) {
  using T = TypeParam;
  const auto p = this->softmax({T(1), -kInfinity<T>, T(1)}, 0);
  EXPECT_NEAR(p.loss, std::log(2.0), 4 * kEpsilon<T>);
  EXPECT_EQ(p.g(0, 1), T(0));
}

}  // namespace
}  // namespace stoop
