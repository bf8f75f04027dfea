// The elementary functions and the activations of the instruction set in use, against the standard library one
// precision up: float against double, double against long double (left out where that is no wider).
// Each test of precision prints the worst error it met and where.
#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "alternatives.hpp"
#include "cpu/select.hpp"
#include "spec/activations.hpp"

namespace stoop {
namespace {

template <class T>
using Wide = std::conditional_t<sizeof(T) == 4, double, long double>;
template <class T>
using Limits = std::numeric_limits<T>;

template <class T>
constexpr bool kWideIsWider = Limits<Wide<T>>::digits > Limits<T>::digits + 8;

// The distance in units of the last place that T has at the exact value; both finite, exact in the normal range.
template <class T>
double ulp_error(T value, Wide<T> exact) {
  int exponent = 0;
  std::frexp(exact, &exponent);
  return static_cast<double>(std::abs(std::ldexp(static_cast<Wide<T>>(value) - exact, Limits<T>::digits - exponent)));
}

// Below the normal range only the order of magnitude is promised, since numbers may be flushed to zero.
template <class T>
bool is_normal(Wide<T> exact) {
  return std::abs(exact) >= Limits<T>::min() && std::abs(exact) <= Limits<T>::max();
}

std::uint64_t scramble(std::uint64_t x) {  // splitmix64
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// About 2^20 finite numbers, as many of each sign and binary exponent, and 2^19 evenly between low and high.
template <class T>
std::vector<T> samples(double low, double high) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr int kMantissa = Limits<T>::digits - 1, kWidth = static_cast<int>(sizeof(T)) * 8;
  constexpr Bits kBinades = Bits{1} << (kWidth - kMantissa), kEach = (Bits{1} << 20) / kBinades;
  std::vector<T> x;
  for (Bits binade = 0; binade < kBinades; ++binade) {
    for (Bits i = 0; i < kEach; ++i) {
      const Bits mantissa = static_cast<Bits>(scramble(binade * kEach + i)) & ((Bits{1} << kMantissa) - 1);
      const Bits bits = binade << kMantissa | (i == 0 ? 0 : i == 1 ? (Bits{1} << kMantissa) - 1 : mantissa);
      T value;
      std::memcpy(&value, &bits, sizeof value);
      if (std::isfinite(value)) x.push_back(value);
    }
  }
  constexpr int kEven = 1 << 19;
  for (int i = 0; i <= kEven; ++i) x.push_back(static_cast<T>(low + (high - low) * i / kEven));
  return x;
}

// ---- elementary functions ----
struct ElementaryCase {
  Elementary kind;
  const char* name;
  double low, high;  // where most of the samples go
};

constexpr ElementaryCase kCases[] = {
    {Elementary::exp, "exp", -88.0, 89.0},        {Elementary::log, "log", 0.5, 2.0},
    {Elementary::log1p, "log1p", -1.0, 2.0},      {Elementary::expm1, "expm1", -5.0, 5.0},
    {Elementary::tanh, "tanh", -3.0, 3.0},        {Elementary::erf, "erf", -4.0, 4.0},
    {Elementary::sigmoid, "sigmoid", -40.0, 40.0}};

template <class W>
W exact_elementary(Elementary kind, W x) {
  switch (kind) {
    case Elementary::exp:
      return std::exp(x);
    case Elementary::log:
      return std::log(x);
    case Elementary::log1p:
      return std::log1p(x);
    case Elementary::expm1:
      return std::expm1(x);
    case Elementary::tanh:
      return std::tanh(x);
    case Elementary::erf:
      return std::erf(x);
    case Elementary::sigmoid:
      break;
  }
  return 1 / (1 + std::exp(-x));
}

template <class T>
std::vector<T> apply(Elementary kind, const std::vector<T>& x) {
  std::vector<T> y(x.size());
  active_table<T>().elementary[static_cast<int>(kind)](static_cast<Index>(x.size()), x.data(), y.data());
  return y;
}

// The worst error in ulp over the samples; what has no normal result is checked on the way.
template <class T>
double worst_error(const ElementaryCase& c) {
  const std::vector<T> x = samples<T>(c.low, c.high), y = apply(c.kind, x);
  double worst = 0.0;
  T where{};
  for (std::size_t i = 0; i < x.size(); ++i) {
    const Wide<T> exact = exact_elementary<Wide<T>>(c.kind, static_cast<Wide<T>>(x[i]));
    if (std::isnan(exact)) {
      EXPECT_TRUE(std::isnan(y[i])) << c.name << " of " << x[i];
    } else if (!is_normal<T>(exact)) {
      // Zero or denormal, or too large: the rounded value within the least normal number.
      const T rounded = static_cast<T>(exact);
      EXPECT_TRUE(y[i] == rounded || std::abs(y[i] - rounded) <= Limits<T>::min()) << c.name << " of " << x[i];
    } else if (const double error = ulp_error<T>(y[i], exact); !(error <= worst)) {
      worst = error;
      where = x[i];
    }
  }
  std::printf("    %-8s %-7s worst %.2f ulp at %.17g of %zu\n", c.name, sizeof(T) == 4 ? "float" : "double", worst,
              static_cast<double>(where), x.size());
  return worst;
}

template <class T>
class Math : public ::testing::Test {};
using Elements = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Math, Elements);

TYPED_TEST(Math, ElementaryFunctionsAreWithinThreeUlp) {
  using T = TypeParam;
  if (!kWideIsWider<T>) GTEST_SKIP() << "long double is no wider than double here";
  for (const ElementaryCase& c : kCases) {
    const double worst = worst_error<T>(c);
    this->RecordProperty(c.name, std::to_string(worst));
    EXPECT_LE(worst, 3.0) << c.name;
  }
}

TYPED_TEST(Math, LimitsAreExact) {
  using T = TypeParam;
  const T inf = Limits<T>::infinity(), most = Limits<T>::max();
  struct Limit {
    Elementary kind;
    T x, y;
  };
  const Limit limits[] = {
      {Elementary::exp, -inf, 0},       {Elementary::exp, -most, 0},    {Elementary::exp, 0, 1},
      {Elementary::exp, most, inf},     {Elementary::exp, inf, inf},    {Elementary::log, 0, -inf},
      {Elementary::log, T(-0.0), -inf}, {Elementary::log, 1, 0},        {Elementary::log, inf, inf},
      {Elementary::log1p, -1, -inf},    {Elementary::log1p, 0, 0},      {Elementary::log1p, inf, inf},
      {Elementary::expm1, -inf, -1},    {Elementary::expm1, -most, -1}, {Elementary::expm1, 0, 0},
      {Elementary::expm1, most, inf},   {Elementary::expm1, inf, inf},  {Elementary::tanh, -inf, -1},
      {Elementary::tanh, 0, 0},         {Elementary::tanh, inf, 1},     {Elementary::tanh, most, 1},
      {Elementary::erf, -inf, -1},      {Elementary::erf, 0, 0},        {Elementary::erf, inf, 1},
      {Elementary::erf, most, 1},       {Elementary::sigmoid, -inf, 0}, {Elementary::sigmoid, -most, 0},
      {Elementary::sigmoid, 0, T(0.5)}, {Elementary::sigmoid, most, 1}, {Elementary::sigmoid, inf, 1}};
  for (const Limit& limit : limits) {
    EXPECT_EQ(apply<T>(limit.kind, {limit.x})[0], limit.y)
        << kCases[static_cast<int>(limit.kind)].name << " of " << limit.x;
  }
}

TYPED_TEST(Math, NaNStaysNaNAndOutsideTheDomainIsNaN) {
  using T = TypeParam;
  const T nan = Limits<T>::quiet_NaN(), inf = Limits<T>::infinity();
  for (const ElementaryCase& c : kCases) {
    EXPECT_TRUE(std::isnan(apply<T>(c.kind, {nan})[0])) << c.name;
    EXPECT_TRUE(std::isnan(apply<T>(c.kind, {-nan})[0])) << c.name;
  }
  for (const T x : {T(-1), -Limits<T>::min(), -inf}) EXPECT_TRUE(std::isnan(apply<T>(Elementary::log, {x})[0])) << x;
  for (const T x : {T(-2), -inf}) EXPECT_TRUE(std::isnan(apply<T>(Elementary::log1p, {x})[0])) << x;
}

TYPED_TEST(Math, ElementaryFunctionsTakeAnyLengthInPlace) {
  using T = TypeParam;
  for (const ElementaryCase& c : kCases) {
    for (const std::size_t n : {0, 1, 3, 4, 7, 8, 15, 16, 17, 53}) {
      std::vector<T> x(n + 1, T(7));
      for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<T>(i + 1) / T(16);
      std::vector<T> y = x;
      active_table<T>().elementary[static_cast<int>(c.kind)](static_cast<Index>(n), y.data(), y.data());
      for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(y[i], apply<T>(c.kind, {x[i]})[0]) << c.name << " " << n;
      EXPECT_EQ(y[n], T(7)) << "written past the end";
    }
  }
}

// ---- activations ----

// f(x) and f'(x). One for each alternative of Activation; without one this file does not compile.
template <class W>
struct Exact {
  W value, derivative;
};

template <class W>
Exact<W> exact(const Identity&, W x) {
  return {x, 1};
}
template <class W>
Exact<W> exact(const ReLU&, W x) {
  return {x > 0 ? x : 0, static_cast<W>(x > 0 ? 1 : 0)};
}
template <class W>
Exact<W> exact(const LeakyReLU& op, W x) {
  const W slope = op.negative_slope;
  return {x > 0 ? x : slope * x, x > 0 ? 1 : slope};
}
template <class W>
Exact<W> exact(const Tanh&, W x) {
  return {std::tanh(x), 1 / (std::cosh(x) * std::cosh(x))};
}
template <class W>
Exact<W> exact(const Sigmoid&, W x) {
  const W s = 1 / (1 + std::exp(-x)), rest = 1 / (1 + std::exp(x));
  return {s, s * rest};
}
template <class W>
Exact<W> exact(const ELU& op, W x) {
  const W alpha = op.alpha;
  return {x > 0 ? x : alpha * std::expm1(x), x > 0 ? 1 : alpha * std::exp(x)};
}
template <class W>
Exact<W> exact(const GELU& op, W x) {
  if (op.approximate == GeluApproximation::tanh) {
    const W scale = std::sqrt(1 / (2 * std::atan(W(1)))), cubic = static_cast<W>(0.044715L);  // sqrt(2 / pi)
    const W u = scale * (x + cubic * x * x * x), s = 1 / (1 + std::exp(-2 * u)), rest = 1 / (1 + std::exp(2 * u));
    return {x * s, s + 2 * x * s * rest * scale * (1 + 3 * cubic * x * x)};
  }
  const W below = std::erfc(-x / std::sqrt(W(2))) / 2;
  return {x * below, below + x * std::exp(-x * x / 2) / std::sqrt(8 * std::atan(W(1)))};
}
template <class W>
Exact<W> exact(const SiLU&, W x) {
  const W s = 1 / (1 + std::exp(-x)), rest = 1 / (1 + std::exp(x));
  return {x * s, s * (1 + x * rest)};
}
template <class W>
Exact<W> exact(const Softplus&, W x) {
  return {std::fmax(x, W(0)) + std::log1p(std::exp(-std::abs(x))), 1 / (1 + std::exp(-x))};
}

template <class W>
Exact<W> exact(const SELU&, W x) {
  const W scale = static_cast<W>(1.0507009873554804934193349852946L);
  const W limit = scale * static_cast<W>(1.6732632423543772848170429916717L);
  return {x > 0 ? scale * x : limit * std::expm1(x), x > 0 ? scale : limit * std::exp(x)};
}
template <class W>
Exact<W> exact(const Mish&, W x) {
  const W w = std::tanh(std::log1p(std::exp(x)));
  return {x * w, w + x * (1 - w * w) / (1 + std::exp(-x))};
}
template <class W>
Exact<W> exact(const HardSwish&, W x) {
  const W middle = (2 * x + 3) / 6;
  return {x * std::fmin(std::fmax(x + 3, W(0)), W(6)) / 6, x <= -3 ? 0 : x >= 3 ? 1 : middle};
}
template <class W>
Exact<W> exact(const ReLU6&, W x) {
  return {std::fmin(std::fmax(x, W(0)), W(6)), static_cast<W>(x > 0 && x < 6 ? 1 : 0)};
}

// How far the kernel may be from that: units in the last place, and where it may be 0 for a value below `flushed` least
// normal numbers.
struct Precision {
  double ulps = 3.0;
  double flushed = 1.0;
};
template <class Op>
constexpr Precision precision(const Op&) {
  return {};
}
constexpr Precision precision(const GELU&) { return {.ulps = 8.0}; }
constexpr Precision precision(const SiLU&) { return {.flushed = 800.0}; }  // where exp(-x) overflows it is -0

// Every activation, with numbers that float holds and that are not its defaults.
std::vector<Activation> tried_activations() {
  std::vector<Activation> all = each_alternative<Activation>();
  for (Activation& activation : all) {
    if (auto* leaky = std::get_if<LeakyReLU>(&activation)) leaky->negative_slope = 0.0625;
    if (auto* elu = std::get_if<ELU>(&activation)) elu->alpha = 1.5;
  }
  all.push_back(GELU{.approximate = GeluApproximation::tanh});
  return all;
}

template <class W>
Exact<W> exact_of(const Activation& activation, W x) {
  return std::visit([x](const auto& op) { return exact<W>(op, x); }, activation);
}

std::string label(const Activation& activation) { return std::string(name_of(kind_of(activation))); }

template <class T>
std::vector<T> forward(const Activation& activation, const std::vector<T>& x) {
  std::vector<T> y(x.size());
  const Index n = static_cast<Index>(x.size());
  active_table<T>().activation_forward[static_cast<int>(kind_of(activation))](
      {1, n, x.data(), n, y.data(), n, numbers_of(activation)});
  return y;
}

template <class T>
std::vector<T> backward(const Activation& activation, const std::vector<T>& x, std::vector<T> grad) {
  const ActivationKind kind = kind_of(activation);
  const std::vector<T> saved = derivative_from_output(kind) ? forward(activation, x) : x;
  const Index n = static_cast<Index>(x.size());
  active_table<T>().activation_backward[static_cast<int>(kind)](
      {1, n, saved.data(), n, grad.data(), n, numbers_of(activation)});
  return grad;
}

TYPED_TEST(Math, ActivationsAreWithinAFewUlp) {
  using T = TypeParam;
  if (!kWideIsWider<T>) GTEST_SKIP() << "long double is no wider than double here";
  const std::vector<T> x = samples<T>(-20.0, 20.0);
  for (const Activation& activation : tried_activations()) {
    const Precision allowed = std::visit([](const auto& op) { return precision(op); }, activation);
    const Wide<T> flushed = static_cast<Wide<T>>(allowed.flushed) * static_cast<Wide<T>>(Limits<T>::min());
    const std::vector<T> y = forward(activation, x);
    double worst = 0.0;
    T where{};
    for (std::size_t i = 0; i < x.size(); ++i) {
      const Wide<T> value = exact_of<Wide<T>>(activation, x[i]).value;
      ASSERT_FALSE(std::isnan(y[i])) << label(activation) << " of " << x[i];
      if (!is_normal<T>(value) || (std::abs(value) < flushed && y[i] == 0)) {
        EXPECT_LE(std::abs(y[i] - value), flushed) << label(activation) << " of " << x[i];
      } else if (const double error = ulp_error<T>(y[i], value); !(error <= worst)) {
        worst = error;
        where = x[i];
      }
    }
    std::printf("    %-10s worst %.2f ulp at %.17g\n", label(activation).c_str(), worst, static_cast<double>(where));
    EXPECT_LE(worst, allowed.ulps) << label(activation);
  }
}

TYPED_TEST(Math, DerivativesAreWithinAFewUlpOfOne) {
  using T = TypeParam;
  if (!kWideIsWider<T>) GTEST_SKIP() << "long double is no wider than double here";
  const std::vector<T> x = samples<T>(-20.0, 20.0);
  for (const Activation& activation : tried_activations()) {
    const std::vector<T> grad = backward(activation, x, std::vector<T>(x.size(), T(-2)));
    double worst = 0.0;
    T where{};
    for (std::size_t i = 0; i < x.size(); ++i) {
      // The standard formulas overflow on the way to their limits, which are reached long before.
      const Wide<T> clamped = std::fmax(Wide<T>(-1000), std::fmin(Wide<T>(1000), static_cast<Wide<T>>(x[i])));
      const Wide<T> want = -2 * exact_of<Wide<T>>(activation, clamped).derivative;
      const double error = static_cast<double>(std::abs(grad[i] - want) / (2 * Limits<T>::epsilon()));
      if (!(error <= worst)) worst = error, where = x[i];
    }
    std::printf("    %-10s worst %.2f epsilon at %.17g\n", label(activation).c_str(), worst,
                static_cast<double>(where));
    EXPECT_LE(worst, 4.0) << label(activation);
  }
}

// Far out an activation is a straight line through 0 or a constant: f(far) tells which, and what follows at infinity.
template <class T>
T limit_of(const Activation& activation, T x) {
  const double far = std::signbit(x) ? -1e4 : 1e4;
  const double value = exact_of<double>(activation, far).value;
  return std::abs(value) > 100.0 ? static_cast<T>(value / far) * x : static_cast<T>(value);
}

TYPED_TEST(Math, ActivationsReachTheirLimits) {
  using T = TypeParam;
  const T inf = Limits<T>::infinity(), nan = Limits<T>::quiet_NaN(), most = Limits<T>::max();
  for (const Activation& activation : tried_activations()) {
    for (const T x : {inf, most, -inf}) {
      EXPECT_EQ(forward<T>(activation, {x})[0], limit_of<T>(activation, x)) << label(activation) << " of " << x;
    }
    EXPECT_TRUE(std::isnan(forward<T>(activation, {nan})[0])) << label(activation);
    for (const T x : {inf, most, -inf, -most}) {
      const T slope = static_cast<T>(exact_of<double>(activation, x > 0 ? 1000.0 : -1000.0).derivative);
      EXPECT_EQ(backward<T>(activation, {x}, {T(3)})[0], slope * T(3)) << label(activation) << " at " << x;
    }
  }
}

TYPED_TEST(Math, ActivationsKeepToTheirRows) {
  using T = TypeParam;
  constexpr Index kRows = 3, kStride = 64;
  for (const Activation& activation : tried_activations()) {
    const ActivationKind kind = kind_of(activation);
    const auto numbers = numbers_of(activation);
    for (const Index cols : {0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 53}) {
      std::vector<T> x(kRows * kStride), y(kRows * kStride, T(7)), grad(kRows * kStride, T(2));
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i % 23) / T(8) - T(1.3125);
      const int k = static_cast<int>(kind);
      active_table<T>().activation_forward[k]({kRows, cols, x.data(), kStride, y.data(), kStride, numbers});
      const T* saved = derivative_from_output(kind) ? y.data() : x.data();
      active_table<T>().activation_backward[k]({kRows, cols, saved, kStride, grad.data(), kStride, numbers});
      for (std::size_t i = 0; i < x.size(); ++i) {
        const bool inside = static_cast<Index>(i) % kStride < cols;
        EXPECT_EQ(y[i], inside ? forward<T>(activation, {x[i]})[0] : T(7)) << label(activation) << " " << cols;
        EXPECT_EQ(grad[i], inside ? backward<T>(activation, {x[i]}, {T(2)})[0] : T(2))
            << label(activation) << " " << cols;
      }
    }
  }
}

}  // namespace
}  // namespace stoop
