// Optimizer updates of STOOP_ISA, one at a time, against the formulas of optimizers.hpp in a wider type, with the rates
// that rates.hpp derives; the l2 term and the sums of squares that ride along.
#include <gtest/gtest.h>

#include "run/rates.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

// All lengths up to three of the widest vectors and a rest, then some around the run in which squares are added.
std::vector<Index> lengths() {
  std::vector<Index> all = {1023, 1024, 1025, 3000};
  for (Index n = 0; n <= 53; ++n) all.push_back(n);
  return all;
}

template <class T>
struct Parameter {
  std::vector<T> weight, grad, state0, state1;
  Index shift;
  double weight_sum = -1.0, grad_sum = -1.0;

  Parameter(Index n, Index by)
      : weight(numbers<T>(n + by, 31)),
        grad(numbers<T>(n + by, 32)),
        state0(numbers<T>(n + by, 33)),
        state1(numbers<T>(n + by, 34)),
        shift(by) {
    for (T& v : state1) v = std::abs(v);  // a mean of squares
  }
  Index size() const { return static_cast<Index>(weight.size()) - shift; }

  void update(const OpTable<T>& table, const Optimizer& optimizer, Index t, T l2) {
    UpdateArgs<T> args{};
    args.n = size();
    args.weight = weight.data() + shift;
    args.grad = grad.data() + shift;
    args.state[0] = state_count(optimizer) > 0 ? state0.data() + shift : nullptr;
    args.state[1] = state_count(optimizer) > 1 ? state1.data() + shift : nullptr;
    args.l2 = l2;
    AnyRates rates;
    set_rates(args, rates, optimizer, learning_rate_of(optimizer), t);
    args.weight_sum_of_squares = &weight_sum;
    args.grad_sum_of_squares = &grad_sum;
    table.update[optimizer.index()](args);
  }
};

template <class W>
struct Element {
  W weight, state0, state1;
};

// One element after update t with gradient g, straight from the formulas of optimizers.hpp.
template <class W>
Element<W> updated(const Optimizer& optimizer, W t, W g, Element<W> e) {
  if (const SGD* sgd = std::get_if<SGD>(&optimizer)) {
    const W lr = sgd->learning_rate(0), momentum = sgd->momentum;
    const W old = state_count(optimizer) > 0 ? e.state0 : W(0);
    const W v = momentum * old + (1 - static_cast<W>(sgd->dampening)) * g;
    const W step = sgd->nesterov ? g + momentum * v : v;
    return {e.weight - lr * step, state_count(optimizer) > 0 ? v : e.state0, e.state1};
  }
  const Adam& adam = std::get<Adam>(optimizer);
  const W beta1 = adam.beta1, beta2 = adam.beta2;
  const W m = beta1 * e.state0 + (1 - beta1) * g, v = beta2 * e.state1 + (1 - beta2) * g * g;
  const W m_hat = m / (1 - std::pow(beta1, t)), v_hat = v / (1 - std::pow(beta2, t));
  return {e.weight - static_cast<W>(adam.learning_rate(0)) * m_hat / (std::sqrt(v_hat) + static_cast<W>(adam.eps)), m,
          v};
}

// How far one update may be from the formula, relative to the numbers in it. Adam's 1 - beta2^t loses the digits that
// beta2^t shares with 1, in double for either element type.
template <class T>
double update_tolerance(const Optimizer& optimizer, Index t) {
  const Adam* adam = std::get_if<Adam>(&optimizer);
  if (adam == nullptr) return 10 * kEpsilon<T>;
  return 10 * kEpsilon<T> + kEpsilon<double> / (1.0 - std::pow(adam->beta2, static_cast<double>(t)));
}

template <class T>
void expect_updated(const Optimizer& optimizer, Index t, Index n, Index shift, double l2) {
  Parameter<T> p(n, shift), by_scalar = p;
  const Parameter<T> before = p;
  p.update(table_under_test<T>(), optimizer, t, static_cast<T>(l2));
  by_scalar.update(op_table<T>(Isa::scalar), optimizer, t, static_cast<T>(l2));
  Wide<T> weight_sum = 0, grad_sum = 0;
  for (Index i = 0; i < n + shift; ++i) {
    const std::size_t at = static_cast<std::size_t>(i);
    if (i < shift) {
      ASSERT_TRUE(p.weight[at] == before.weight[at] && p.state0[at] == before.state0[at]) << "written before the slice";
      continue;
    }
    const Wide<T> w = before.weight[at], g = before.grad[at] + static_cast<Wide<T>>(static_cast<T>(l2)) * w;
    weight_sum += w * w;
    grad_sum += g * g;
    const Element<Wide<T>> want =
        updated<Wide<T>>(optimizer, static_cast<Wide<T>>(t), g, {w, before.state0[at], before.state1[at]});
    const double moved = update_tolerance<T>(optimizer, t) * (1.0 + static_cast<double>(std::abs(want.weight - w)));
    ASSERT_NEAR(p.weight[at], static_cast<double>(want.weight), moved)
        << "update " << t << ", element " << i << " of " << n;
    ASSERT_NEAR(p.state0[at], static_cast<double>(want.state0), 4 * kEpsilon<T>);
    ASSERT_NEAR(p.state1[at], static_cast<double>(want.state1), 4 * kEpsilon<T>);
    ASSERT_NEAR(p.weight[at], by_scalar.weight[at], moved);
  }
  ASSERT_EQ(p.grad, before.grad);
  // Runs of 64 vectors are added in T.
  ASSERT_NEAR(p.weight_sum, static_cast<double>(weight_sum), 70 * kEpsilon<T> * static_cast<double>(weight_sum));
  ASSERT_NEAR(p.grad_sum, static_cast<double>(grad_sum), 70 * kEpsilon<T> * static_cast<double>(grad_sum));
}

template <class T>
class Updates : public ::testing::Test {
 protected:
  static void expect_right(const Optimizer& optimizer) {
    for (const Index n : lengths()) {
      for (const Index shift : {0, 1, 3}) {
        for (const double l2 : {0.0, 0.375}) expect_updated<T>(optimizer, 1 + n % 4, n, shift, l2);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Updates, ElementTypes);

TYPED_TEST(Updates, SGD) {
  this->expect_right(SGD{.learning_rate = 0.3});
  this->expect_right(SGD{.learning_rate = 0.3, .dampening = 0.5});
  this->expect_right(SGD{.learning_rate = 0.3, .momentum = 0.9});
  this->expect_right(SGD{.learning_rate = 0.3, .momentum = 0.9, .dampening = 0.9});
  this->expect_right(SGD{.learning_rate = 0.3, .momentum = 0.9, .nesterov = true});
}

TYPED_TEST(Updates, Adam) {
  this->expect_right(Adam{.learning_rate = 0.3});
  this->expect_right(Adam{.learning_rate = 0.3, .beta1 = 0.5, .beta2 = 0.75, .eps = 0.1});
}

TYPED_TEST(Updates, AdamAfterManyUpdates) {
  for (const Index t : {10, 1000, 1000000, 1 << 30}) expect_updated<TypeParam>(Adam{}, t, 37, 0, 0.0);
}

// The first step of Adam has the size of the learning rate whatever the gradient's, and none where that is zero.
TYPED_TEST(Updates, TheFirstStepOfAdamIsTheLearningRate) {
  using T = TypeParam;
  const Optimizer optimizer = Adam{.learning_rate = 0.5, .eps = 1e-30};
  Parameter<T> p(3, 0);
  p.weight = {1, 1, 1};
  p.grad = {T(1e-3), T(-1e3), 0};
  p.state0 = p.state1 = {0, 0, 0};
  p.update(table_under_test<T>(), optimizer, 1, T(0));
  EXPECT_NEAR(p.weight[0], 0.5, update_tolerance<T>(optimizer, 1));
  EXPECT_NEAR(p.weight[1], 1.5, update_tolerance<T>(optimizer, 1));
  EXPECT_EQ(p.weight[2], T(1));
}

TYPED_TEST(Updates, RegularizeAddsThePenaltyToTheGradientOnly) {
  using T = TypeParam;
  for (const Index n : lengths()) {
    for (const double l2 : {0.0, 0.375}) {
      Parameter<T> p(n, 1);
      const Parameter<T> before = p;
      double magnitudes = 0.0;
      table_under_test<T>().regularize({n, p.weight.data() + 1, p.grad.data() + 1, T(0), static_cast<T>(l2), T(0),
                                        &p.weight_sum, &magnitudes, &p.grad_sum, nullptr});
      Wide<T> weight_sum = 0, grad_sum = 0;
      for (std::size_t i = 1; i <= static_cast<std::size_t>(n); ++i) {
        const Wide<T> w = before.weight[i], g = before.grad[i] + static_cast<Wide<T>>(l2) * w;
        weight_sum += w * w;
        grad_sum += g * g;
        ASSERT_NEAR(p.grad[i], static_cast<double>(g), 2 * kEpsilon<T>) << i << " of " << n;
      }
      ASSERT_EQ(p.weight, before.weight);
      ASSERT_EQ(p.grad[0], before.grad[0]);
      ASSERT_NEAR(p.weight_sum, static_cast<double>(weight_sum), 70 * kEpsilon<T> * static_cast<double>(weight_sum));
      ASSERT_NEAR(p.grad_sum, static_cast<double>(grad_sum), 70 * kEpsilon<T> * static_cast<double>(grad_sum));
    }
  }
}

// What a training run relies on to notice a spoiled gradient.
TYPED_TEST(Updates, ANonFiniteGradientShowsInItsSum) {
  using T = TypeParam;
  for (Index at = 0; at < 53; ++at) {
    for (const T bad : {kNaN<T>, kInfinity<T>, -kInfinity<T>}) {
      Parameter<T> p(53, 0);
      p.grad[static_cast<std::size_t>(at)] = bad;
      p.update(table_under_test<T>(), SGD{}, 1, T(0));
      ASSERT_FALSE(std::isfinite(p.grad_sum)) << bad << " at " << at;
    }
  }
}

}  // namespace
}  // namespace stoop
