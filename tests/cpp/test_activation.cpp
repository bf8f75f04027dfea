// The activations of the instruction set in use and their derivatives, against the standard library one precision up (left
// out where long double is no wider than double). Each test of precision prints the worst error it met and where.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "alternatives.hpp"
#include "cpu/select.hpp"
#include "spec/activations.hpp"
#include "ulps.hpp"

namespace stoop {
namespace {

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
constexpr Precision precision(const GELU& op) {
  return {.ulps = 8.0, .flushed = op.approximate == GeluApproximation::tanh ? 32.0 : 1.0};  // where exp(2u) is flushed
}
constexpr Precision precision(const Mish&) { return {.ulps = 5.0}; }
constexpr Precision precision(const SiLU&) { return {.flushed = 800.0}; }  // where exp(-x) overflows it is -0

// How many more units there may be at x. The argument 2u of exp has six roundings of half an epsilon, which make 12|u| units
// of the result; an exp that is denormal has few digits.
template <class T, class Op>
double more_ulps(const Op&, T, double) {
  return 0.0;
}
template <class T>
double more_ulps(const GELU& op, T x, double) {
  const double wide = x;
  return op.approximate == GeluApproximation::tanh ? 12.0 * std::abs(0.798 * (wide + 0.044715 * wide * wide * wide))
                                                   : 0.0;
}
template <class T>
double more_ulps(const Mish&, T, double value) {
  return std::abs(value) < 800.0 * static_cast<double>(Limits<T>::min()) ? 100.0 : 0.0;
}

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

template <class T>
class Activations : public ::testing::Test {};
using Elements = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Activations, Elements);

TYPED_TEST(Activations, ActivationsAreWithinAFewUlp) {
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
      if (std::isfinite(value) && std::abs(value) > static_cast<Wide<T>>(Limits<T>::max())) {
        EXPECT_EQ(y[i], std::copysign(Limits<T>::infinity(), static_cast<T>(value))) << label(activation);
        continue;
      }
      const double more =
          std::visit([&](const auto& op) { return more_ulps(op, x[i], static_cast<double>(value)); }, activation);
      if (!is_normal<T>(value) || (std::abs(value) < flushed && y[i] == 0)) {
        EXPECT_LE(std::abs(y[i] - value), flushed) << label(activation) << " of " << x[i];
      } else if (const double error = ulps_apart<T>(y[i], value) - more; !(error <= worst)) {
        worst = error;
        where = x[i];
      }
    }
    std::printf("    %-10s worst %.2f ulp at %.17g\n", label(activation).c_str(), worst, static_cast<double>(where));
    EXPECT_LE(worst, allowed.ulps) << label(activation);
  }
}

TYPED_TEST(Activations, DerivativesAreWithinAFewUlpOfOne) {
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

TYPED_TEST(Activations, ActivationsReachTheirLimits) {
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

TYPED_TEST(Activations, ActivationsKeepToTheirRows) {
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
