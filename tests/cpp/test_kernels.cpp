// Elementwise kernels of STOOP_ISA against the plain formulas in long double and against the scalar text, for lengths
// around the vector widths of every instruction set (4 to 16 floats) and pointers off their alignment.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "test_helpers.hpp"

namespace stoop {
namespace {

constexpr Index kLongest = 3 * 16 + 5;  // 3L + 5 of the widest vectors: all shorter lengths are tried too
constexpr Index kShifts[] = {0, 1, 3};

template <class T>
class Kernels : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Kernels, ElementTypes);

template <class T>
const OpTable<T>& scalar() {
  return op_table<T>(Isa::scalar);
}

// An array of `size` elements in memory that ends with it, `shift` elements off alignment, after a canary.
template <class T>
struct Shifted {
  std::vector<T> memory;
  Index shift;

  Shifted(const std::vector<T>& values, Index by) : memory(static_cast<std::size_t>(by), T(77)), shift(by) {
    memory.insert(memory.end(), values.begin(), values.end());
  }
  T* data() { return memory.data() + shift; }
  T operator[](Index i) const { return memory[static_cast<std::size_t>(shift + i)]; }
  bool canary_alive() const {
    return std::all_of(memory.begin(), memory.begin() + shift, [](T x) { return x == T(77); });
  }
};

// ---- activations ----

constexpr double kSlope = 0.125;

template <class T>
std::vector<T> activated(const OpTable<T>& table, ActivationKind kind, const std::vector<T>& x) {
  std::vector<T> y(x.size());
  const Index n = static_cast<Index>(x.size());
  table.activation_forward[static_cast<int>(kind)]({1, n, x.data(), n, y.data(), n, {{static_cast<T>(kSlope)}}});
  return y;
}

template <class T>
std::vector<T> gated(const OpTable<T>& table, ActivationKind kind, const std::vector<T>& y, std::vector<T> grad) {
  const Index n = static_cast<Index>(y.size());
  table.activation_backward[static_cast<int>(kind)]({1, n, y.data(), n, grad.data(), n, {{static_cast<T>(kSlope)}}});
  return grad;
}

// Worst distance from f, in ulps, where the result is a normal number.
template <class T>
double worst_ulp(ActivationKind kind, const std::vector<T>& x) {
  const std::vector<T> y = activated(table_under_test<T>(), kind, x);
  double worst = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const Wide<T> want = activate<Wide<T>>(kind, x[i], static_cast<Wide<T>>(kSlope));
    const bool normal = std::abs(want) >= std::numeric_limits<T>::min();
    const double error = ulp_error(y[i], want);
    worst = std::max(worst, normal ? error : std::min(error, 1.0));
    EXPECT_TRUE(normal || std::abs(y[i] - want) <= 2 * std::numeric_limits<T>::min()) << x[i];
  }
  return worst;
}

// Numbers of both signs, of every size down to the smallest normal numbers.
template <class T>
std::vector<T> wide_sample(double largest) {
  std::vector<T> x = numbers<T>(200000, 3, largest);
  for (const T value : numbers<T>(200000, 4)) {
    const double size = std::ldexp(1.0, static_cast<int>(-30.0 * std::abs(static_cast<double>(value))));
    x.push_back(static_cast<T>(static_cast<double>(value) * size * largest));
  }
  return x;
}

// Worst errors measured over these samples, in ulps, alike to two digits on scalar, AVX2 and AVX-512:
//   float   tanh 2.5, sigmoid 2.2, softmax of two (exp and a division) 1.9
//   double  tanh 2.5, sigmoid 2.0, softmax of two (exp and a division) 2.4
TYPED_TEST(Kernels, TanhAndSigmoidAreWithinFourUlps) {
  const double tanh_error = worst_ulp<TypeParam>(kind_of<Tanh>(), wide_sample<TypeParam>(22.0));
  const double reach = sizeof(TypeParam) == 4 ? 100.0 : 750.0;
  const double sigmoid_error = std::max(worst_ulp<TypeParam>(kind_of<Sigmoid>(), wide_sample<TypeParam>(reach)),
                                        worst_ulp<TypeParam>(kind_of<Sigmoid>(), wide_sample<TypeParam>(20.0)));
  this->RecordProperty("tanh_ulp", std::to_string(tanh_error));
  this->RecordProperty("sigmoid_ulp", std::to_string(sigmoid_error));
  EXPECT_LE(tanh_error, 4.0);
  EXPECT_LE(sigmoid_error, 4.0);
}

// exp itself has no entry in the table; softmax of (0, x) is exp(x) / (1 + exp(x)), at most one rounding more.
TYPED_TEST(Kernels, ExpIsWithinFourUlps) {
  using T = TypeParam;
  std::vector<T> logits;
  for (const T x : wide_sample<T>(sizeof(T) == 4 ? 87.0 : 708.0)) logits.insert(logits.end(), {T(0), -std::abs(x)});
  const Index rows = static_cast<Index>(logits.size()) / 2;
  const std::vector<std::int32_t> classes(static_cast<std::size_t>(rows), 0);
  std::vector<T> grad(logits.size());
  double loss = 0.0, correct = 0.0;
  LossArgs<T> args{};
  args.rows = rows;
  args.cols = args.ld_output = args.ld_grad = 2;
  args.output = logits.data();
  args.classes = classes.data();
  args.grad = grad.data();
  args.grad_scale = T(1);
  args.loss = &loss;
  args.correct = &correct;
  table_under_test<T>().loss[static_cast<int>(kind_of<SoftmaxCrossEntropy>())](args);
  double worst = 0.0;
  for (std::size_t i = 1; i < logits.size(); i += 2) {
    const Wide<T> e = std::exp(static_cast<Wide<T>>(logits[i]));
    worst = std::max(worst, ulp_error(grad[i], e / (1 + e)));
  }
  this->RecordProperty("exp_ulp", std::to_string(worst));
  EXPECT_LE(worst, 4.0);
}

TYPED_TEST(Kernels, ActivationForwardForEveryLengthAndAlignment) {
  using T = TypeParam;
  constexpr Index kRows = 2, kGap = 3;
  for (const ActivationKind kind : kActivations) {
    for (Index n = 0; n <= kLongest; ++n) {
      for (const Index shift : kShifts) {
        const Index ld = n + kGap;
        const std::vector<T> values = numbers<T>(kRows * ld - kGap, static_cast<std::uint32_t>(n + 1), 9.0);
        Shifted<T> x(values, shift);
        const ActivationArgs<T> args{kRows, n, x.data(), ld, x.data(), ld, {{static_cast<T>(kSlope)}}};
        table_under_test<T>().activation_forward[static_cast<int>(kind)](args);
        const std::vector<T> by_scalar = activated(scalar<T>(), kind, values);
        ASSERT_TRUE(x.canary_alive());
        for (Index i = 0; i < kRows * ld - kGap; ++i) {
          const T old = values[static_cast<std::size_t>(i)];
          const bool inside = i % ld < n;
          const Wide<T> want = inside ? activate<Wide<T>>(kind, old, static_cast<Wide<T>>(kSlope)) : old;
          ASSERT_LE(ulp_error(x[i], want), inside ? 4.0 : 0.0) << name_of(kind) << ", length " << n << ", at " << i;
          if (!inside) continue;
          ASSERT_LE(ulp_error(x[i], Wide<T>(by_scalar[static_cast<std::size_t>(i)])), 6.0) << name_of(kind);
        }
      }
    }
  }
}

TYPED_TEST(Kernels, ActivationBackwardForEveryLengthAndAlignment) {
  using T = TypeParam;
  for (const ActivationKind kind : kActivations) {
    for (Index n = 0; n <= kLongest; ++n) {
      for (const Index shift : kShifts) {
        // Outputs of f, the ends of its range and a zero included.
        std::vector<T> y = numbers<T>(n, static_cast<std::uint32_t>(n + 1));
        if (n > 2) y[0] = T(0), y[1] = T(1), y[2] = T(-1);
        const std::vector<T> before = numbers<T>(n, static_cast<std::uint32_t>(n + 2));
        Shifted<T> output(y, shift), grad(before, shift);
        table_under_test<T>().activation_backward[static_cast<int>(kind)](
            {1, n, output.data(), n, grad.data(), n, {{static_cast<T>(kSlope)}}});
        const std::vector<T> by_scalar = gated(scalar<T>(), kind, y, before);
        ASSERT_TRUE(grad.canary_alive());
        for (Index i = 0; i < n; ++i) {
          const std::size_t at = static_cast<std::size_t>(i);
          const Wide<T> want = before[at] * derivative<Wide<T>>(kind, y[at], static_cast<Wide<T>>(kSlope));
          ASSERT_NEAR(grad[i], static_cast<T>(want), 3 * kEpsilon<T>)
              << name_of(kind) << ", length " << n << ", at " << i;
          ASSERT_NEAR(grad[i], by_scalar[at], 3 * kEpsilon<T>) << name_of(kind);
        }
      }
    }
  }
}

TYPED_TEST(Kernels, ActivationsOfExtremesAreLimits) {
  using T = TypeParam;
  constexpr T kHuge = std::numeric_limits<T>::max(), kTiny = std::numeric_limits<T>::denorm_min();
  const std::vector<T> x = {kInfinity<T>, -kInfinity<T>, kNaN<T>, T(1e30), T(-1e30), kHuge,
                            -kHuge,       kTiny,         -kTiny,  T(0),    T(-0.0),  std::numeric_limits<T>::min()};
  for (const ActivationKind kind : kActivations) {
    for (std::size_t at = 0; at < x.size(); ++at) {
      // Long enough for whole vectors and a rest.
      for (const T got : activated(table_under_test<T>(), kind, std::vector<T>(21, x[at]))) {
        const Wide<T> want = activate<Wide<T>>(kind, x[at], static_cast<Wide<T>>(kSlope));
        // Limits are reached exactly, not to within rounding.
        ASSERT_LE(ulp_error(got, want), std::abs(x[at]) < 1 ? 4.0 : 0.0)
            << name_of(kind) << "(" << x[at] << ") = " << got;
      }
    }
  }
}

// ---- row kernels ----

TYPED_TEST(Kernels, ColumnSum) {
  using T = TypeParam;
  for (const Index rows : {0, 1, 2, 9}) {
    for (Index cols = 0; cols <= 4 * 16 + kLongest; ++cols) {
      const Index shift = kShifts[cols % 3], ld = cols + shift;
      Shifted<T> a(numbers<T>(rows * ld, 5), shift), sum(std::vector<T>(static_cast<std::size_t>(cols), T(9)), shift);
      table_under_test<T>().column_sum({rows, cols, a.data(), ld, sum.data()});
      ASSERT_TRUE(sum.canary_alive());
      for (Index j = 0; j < cols; ++j) {
        // From the first row to the last, one rounding each: the same bits on every instruction set.
        T want = 0;
        for (Index i = 0; i < rows; ++i) want += a[i * ld + j];
        ASSERT_EQ(sum[j], want) << rows << " x " << cols << ", column " << j;
      }
    }
  }
}

// Values of which some are rounded on the way to float.
template <class From>
std::vector<From> stored_values(Index count) {
  if constexpr (sizeof(From) == 1) {
    std::vector<From> bytes(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<From>(i * 37 % 256);
    return bytes;
  } else {
    return numbers<From>(count, 6, 300.0);
  }
}

// Bit for bit what converting first and one fused multiply-add give, for every width, a stride, and rows in any order.
template <class T, class From>
void expect_gathered(T scale, T shift) {
  const std::vector<std::int32_t> index = {4, 0, 0, 3};
  const bool as_is = scale == T(1) && shift == T(0);
  for (Index cols = 1; cols <= 70; ++cols) {
    const Index ld = cols + 2, from_ld = cols + 3, rows = static_cast<Index>(index.size());
    const std::vector<From> input = stored_values<From>(4 * from_ld + cols);  // ends with the last row
    for (const std::int32_t* order : {index.data(), static_cast<const std::int32_t*>(nullptr)}) {
      std::vector<T> output(static_cast<std::size_t>(rows * ld), T(77)), want = output;
      table_under_test<T>().gather[static_cast<int>(kInputType<From>)](
          {rows, cols, input.data(), from_ld, order, output.data(), ld, {scale, shift}});
      for (Index i = 0; i < rows * ld; ++i) {
        if (i % ld >= cols) continue;
        const Index row = order == nullptr ? i / ld : order[i / ld];
        const T x = static_cast<T>(input[static_cast<std::size_t>(row * from_ld + i % ld)]);
        want[static_cast<std::size_t>(i)] = as_is ? x : std::fma(x, scale, shift);
      }
      ASSERT_TRUE(same_bits<T>(output, want)) << cols << " columns, type " << static_cast<int>(kInputType<From>);
    }
  }
}

TYPED_TEST(Kernels, Gather) {
  using T = TypeParam;
  const T scalings[][2] = {{1, 0}, {T(1) / T(255), 0}, {T(2) / T(255), -1}, {1, T(0.1)}, {T(-0.3), T(1e-3)}};
  for (const auto& [scale, shift] : scalings) {
    expect_gathered<T, float>(scale, shift);
    expect_gathered<T, double>(scale, shift);
    expect_gathered<T, std::uint8_t>(scale, shift);
  }
}

}  // namespace
}  // namespace stoop
