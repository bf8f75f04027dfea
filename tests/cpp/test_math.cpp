// The elementary functions of the instruction set in use, against the standard library one precision up (left out where
// long double is no wider than double). Each test of precision prints the worst error it met and where.
#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "cpu/select.hpp"
#include "ulps.hpp"

namespace stoop {
namespace {

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
    } else if (const double error = ulps_apart<T>(y[i], exact); !(error <= worst)) {
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

}  // namespace
}  // namespace stoop
