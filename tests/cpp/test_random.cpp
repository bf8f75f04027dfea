// Counter-based random numbers: known answers, ranges, uniform permutations and the variances initialisers promise.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "data/shuffle.hpp"
#include "model/initialize.hpp"
#include "base/philox.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

using Words = std::array<std::uint32_t, 4>;

// Random123's kat_vectors for philox4x32 with 10 rounds.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox(0, {0, 0, 0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~std::uint64_t{0}, {~0u, ~0u, ~0u, ~0u}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0a4093822, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Draw, EveryArgumentMatters) {
  const auto draws = {draw(1, Stream::shuffle, 2, 3),    draw(std::uint64_t{1} << 32, Stream::shuffle, 2, 3),
                      draw(1, Stream::initialize, 2, 3), draw(1, Stream::shuffle, 3, 3),
                      draw(1, Stream::shuffle, 2, 4),    draw(1, Stream::shuffle, 2, (std::uint64_t{1} << 32) + 3)};
  const std::set<std::array<std::uint64_t, 2>> distinct(draws);
  EXPECT_EQ(distinct.size(), draws.size());
  EXPECT_EQ(draw(1, Stream::shuffle, 2, 3), *draws.begin());
}

TEST(UnitInterval, IsOpenAtBothEnds) {
  EXPECT_GT(to_unit_interval(0), 0.0);
  EXPECT_LT(to_unit_interval(~std::uint64_t{0}), 1.0);
  EXPECT_NEAR(to_unit_interval(std::uint64_t{1} << 63), 0.5, 1e-15);
}

TEST(UnitInterval, IsUniform) {
  constexpr int kCount = 200000, kBins = 20;
  std::vector<int> bins(kBins);
  for (int i = 0; i < kCount / 2; ++i) {
    for (const std::uint64_t bits : draw(7, Stream::initialize, 0, static_cast<std::uint64_t>(i))) {
      ++bins[static_cast<std::size_t>(to_unit_interval(bits) * kBins)];
    }
  }
  double chi_square = 0.0;
  const double expected = static_cast<double>(kCount) / kBins;
  for (const int n : bins) chi_square += (n - expected) * (n - expected) / expected;
  EXPECT_LT(chi_square, 43.8);  // 19 degrees of freedom: exceeded once in 1000 seeds
}

TEST(Bounded, ReachesBothEndsAndStaysBelow) {
  for (const std::uint64_t bound : {std::uint64_t{1}, std::uint64_t{10}, std::uint64_t{1} << 31}) {
    EXPECT_EQ(to_bounded(0, bound), 0u);
    EXPECT_EQ(to_bounded(~std::uint64_t{0}, bound), bound - 1);
  }
}

std::vector<std::int32_t> permutation(std::uint64_t seed, Index epoch, std::size_t n) {
  std::vector<std::int32_t> order(n, -1);
  shuffle(seed, epoch, order);
  return order;
}

TEST(Shuffle, IsAPermutation) {
  for (const std::size_t n : {0, 1, 2, 3, 4, 10, 999, 1000}) {
    for (Index epoch = 0; epoch < 20; ++epoch) {
      std::vector<std::int32_t> order = permutation(5, epoch, n);
      std::sort(order.begin(), order.end());
      for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(order[i], static_cast<std::int32_t>(i)) << "of " << n;
    }
  }
}

TEST(Shuffle, IsAFunctionOfSeedAndEpoch) {
  const auto order = permutation(1, 1, 100);
  EXPECT_EQ(order, permutation(1, 1, 100));
  EXPECT_NE(order, permutation(1, 2, 100));
  EXPECT_NE(order, permutation(2, 1, 100));
  EXPECT_NE(permutation(0, 0, 100), permutation(std::uint64_t{1} << 32, 0, 100));
}

// Each of the n! orders as often as any other, from one epoch to the next and from one seed to the next.
void expect_uniform(std::size_t n, std::size_t factorial, double limit, bool over_seeds) {
  constexpr int kPerOrder = 1000;
  std::map<std::vector<std::int32_t>, int> counts;
  for (std::size_t i = 0; i < kPerOrder * factorial; ++i) {
    ++counts[over_seeds ? permutation(i, 3, n) : permutation(3, static_cast<Index>(i), n)];
  }
  EXPECT_EQ(counts.size(), factorial);
  double chi_square = 0.0;
  for (const auto& [order, count] : counts)
    chi_square += static_cast<double>((count - kPerOrder) * (count - kPerOrder)) / kPerOrder;
  EXPECT_LT(chi_square, limit) << n << " elements, over " << (over_seeds ? "seeds" : "epochs");
}

// The limits are exceeded once in 1000 choices of the seed: 5, 23 and 119 degrees of freedom.
TEST(Shuffle, EveryOrderIsEquallyLikely) {
  for (const bool over_seeds : {false, true}) {
    expect_uniform(3, 6, 20.5, over_seeds);
    expect_uniform(4, 24, 49.7, over_seeds);
    expect_uniform(5, 120, 173.6, over_seeds);
  }
}

using namespace initializers;

struct Promise {
  Initializer initializer;
  double variance;
  double limit;  // of the absolute value
};

constexpr Index kFanIn = 1250, kFanOut = 800;  // 10^6 draws

std::vector<double> drawn(const Initializer& initializer, std::uint64_t seed, std::uint32_t which) {
  std::vector<double> values(kFanIn * kFanOut);
  initialize(initializer, seed, which, kFanIn, kFanOut, values.data());
  return values;
}

TEST(Initialize, KeepsThePromisedVariance) {
  constexpr double kNone = HUGE_VAL, kGlorot = 2.0 / (kFanIn + kFanOut), kHe = 2.0 / kFanIn, kLecun = 1.0 / kFanIn;
  const Promise promises[] = {
      {Normal{0.25}, 0.0625, kNone},
      {Uniform{0.3}, 0.03, 0.3},
      {GlorotUniform{}, kGlorot, std::sqrt(3.0 * kGlorot)},
      {GlorotNormal{}, kGlorot, kNone},
      {HeUniform{}, kHe, std::sqrt(3.0 * kHe)},
      {HeNormal{}, kHe, kNone},
      {LecunUniform{}, kLecun, std::sqrt(3.0 * kLecun)},
      {LecunNormal{}, kLecun, kNone},
      {Orthogonal{1.5}, 1.5 * 1.5 / kFanIn, kNone},
  };
  for (const Promise& promise : promises) {
    SCOPED_TRACE(std::string(name_of(promise.initializer)));
    const std::vector<double> values = drawn(promise.initializer, 11, 0);
    double sum = 0.0, squares = 0.0, largest = 0.0, fourth = 0.0;
    for (const double value : values) {
      sum += value;
      squares += value * value;
      fourth += value * value * value * value;
      largest = std::max(largest, std::abs(value));
    }
    const double n = static_cast<double>(values.size()), variance = squares / n;
    EXPECT_NEAR(sum / n, 0.0, 4.0 * std::sqrt(promise.variance / n));
    EXPECT_NEAR(variance / promise.variance, 1.0, 4.0 * std::sqrt(2.0 / n));
    EXPECT_LE(largest, promise.limit);
    // The kurtosis tells a normal (3) from a uniform (1.8) distribution.
    EXPECT_NEAR(fourth / n / (variance * variance), promise.limit == kNone ? 3.0 : 1.8, 0.03);
  }
}

// The Gram matrix of the rows or columns, whichever are fewer, is gain^2 times the identity.
template <class T>
void expect_orthogonal(Index rows, Index cols, double gain, double tolerance) {
  std::vector<T> weight(static_cast<std::size_t>(rows * cols));
  initialize(Orthogonal{gain}, 5, 2, rows, cols, weight.data());
  const Index count = std::min(rows, cols), length = std::max(rows, cols);
  const Index next = rows <= cols ? cols : 1, step = rows <= cols ? 1 : cols;  // from vector to vector, within one
  double worst = 0.0;
  for (Index a = 0; a < count; ++a) {
    for (Index b = 0; b <= a; ++b) {
      double product = 0.0;
      for (Index i = 0; i < length; ++i) {
        product += static_cast<double>(weight[static_cast<std::size_t>(a * next + i * step)]) *
                   static_cast<double>(weight[static_cast<std::size_t>(b * next + i * step)]);
      }
      worst = std::max(worst, std::abs(product - (a == b ? gain * gain : 0.0)));
    }
  }
  EXPECT_LT(worst, tolerance * gain * gain) << rows << " x " << cols;
}

TEST(Initialize, OrthogonalOfAnyShape) {
  const std::pair<Index, Index> shapes[] = {{1, 1}, {1, 7}, {7, 1}, {2, 2}, {5, 3}, {3, 5}, {65, 64}, {300, 40}};
  for (const auto& [rows, cols] : shapes) {
    expect_orthogonal<float>(rows, cols, 1.0, 1e-5);
    expect_orthogonal<double>(rows, cols, 1.0, 1e-12);
    expect_orthogonal<double>(rows, cols, 3.0, 1e-12);
  }
  expect_orthogonal<float>(1000, 300, 1.0, 1e-5);
  expect_orthogonal<double>(300, 1000, 1.0, 1e-12);
  expect_orthogonal<double>(256, 256, 1.0, 1e-12);
}

// Every rotation and reflection is as likely as any other: E[trace] = 0, E[trace^2] = 1, and half are reflections. An
// orthogonalisation without the right signs favours some.
TEST(Initialize, OrthogonalIsUniformOverTheGroup) {
  constexpr int kSeeds = 20000;
  double trace_sum = 0.0, trace_squares = 0.0, determinants = 0.0;
  for (int seed = 0; seed < kSeeds; ++seed) {
    double q[9];
    initialize(Orthogonal{}, static_cast<std::uint64_t>(seed), 0, 3, 3, q);
    const double trace = q[0] + q[4] + q[8];
    trace_sum += trace;
    trace_squares += trace * trace;
    determinants +=
        q[0] * (q[4] * q[8] - q[5] * q[7]) - q[1] * (q[3] * q[8] - q[5] * q[6]) + q[2] * (q[3] * q[7] - q[4] * q[6]);
  }
  const double error = 1.0 / std::sqrt(double{kSeeds});
  EXPECT_NEAR(trace_sum / kSeeds, 0.0, 5.0 * error);
  EXPECT_NEAR(trace_squares / kSeeds, 1.0, 10.0 * error);  // the fourth moment of the trace is 3
  EXPECT_NEAR(determinants / kSeeds, 0.0, 5.0 * error);
}

TEST(Initialize, OrthogonalIsAFunctionOfItsSeedAndTheGainScalesIt) {
  const std::vector<double> values = drawn(Orthogonal{}, 1, 0);
  EXPECT_EQ(values, drawn(Orthogonal{1.0}, 1, 0));
  EXPECT_NE(values, drawn(Orthogonal{}, 2, 0));
  EXPECT_NE(values, drawn(Orthogonal{}, 1, 1));
  const std::vector<double> doubled = drawn(Orthogonal{2.0}, 1, 0);
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(doubled[i], 2.0 * values[i]);
}

TEST(Initialize, ConstantsAreExact) {
  for (const double value : drawn(Zeros{}, 1, 0)) ASSERT_EQ(value, 0.0);
  for (const double value : drawn(Ones{}, 1, 0)) ASSERT_EQ(value, 1.0);
  for (const double value : drawn(Constant{-0.1}, 1, 0)) ASSERT_EQ(value, -0.1);
}

TEST(Initialize, SeedsAndParametersDifferAndFloatIsDoubleRounded) {
  const Initializer normal = HeNormal{};
  const std::vector<double> values = drawn(normal, 1, 0);
  EXPECT_EQ(values, drawn(normal, 1, 0));
  EXPECT_NE(values, drawn(normal, 2, 0));
  EXPECT_NE(values, drawn(normal, 1, 1));
  std::vector<float> rounded(values.size());
  initialize(normal, 1, 0, kFanIn, kFanOut, rounded.data());
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(rounded[i], static_cast<float>(values[i]));
}

TEST(Initialize, AnOddNumberOfElementsIsFilledExactly) {
  std::vector<float> values(8, 99.0f);
  initialize(Normal{1.0}, 1, 0, 7, 1, values.data());
  EXPECT_EQ(values[7], 99.0f);
  EXPECT_EQ(std::count(values.begin(), values.end(), 99.0f), 1);
}

}  // namespace
}  // namespace stoop
