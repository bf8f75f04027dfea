// Every optimizer with every option against its formula in plain doubles, alone on arrays and inside a Trainer; the same
// bits for any number of threads.
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <stoop/error.hpp>
#include <stoop/optimizer_step.hpp>
#include <stoop/runtime.hpp>
#include <stoop/trainer.hpp>

#include "alternatives.hpp"
#include "spec/optimizers.hpp"

namespace stoop {
namespace {

// What an optimizer remembers of one element, by the names of the papers.
struct Element {
  double w = 0.0, v = 0.0, m = 0.0, s = 0.0, a = 0.0, b = 0.0, largest = 0.0;
};

// One update of one element, t from 1.
using Reference = std::function<void(Element&, double g, double lr, int t)>;

Reference reference_of(const SGD& o) {
  return [o](Element& e, double g, double lr, int) {
    const double inner = o.rate_in_velocity ? lr : 1.0;
    e.v = o.momentum * e.v + inner * (1 - o.dampening) * g;
    e.w -= lr / inner * (o.nesterov ? inner * g + o.momentum * e.v : e.v);
  };
}

Reference reference_of(const AdaGrad& o) {
  return [o](Element& e, double g, double lr, int) {
    e.s += g * g;
    e.w -= lr * g / (std::sqrt(e.s) + o.eps);
  };
}

Reference reference_of(const RMSProp& o) {
  return [o](Element& e, double g, double lr, int) {
    e.v = o.rho * e.v + (1 - o.rho) * g * g;
    e.a = o.rho * e.a + (1 - o.rho) * g;
    const double variance = o.centered ? e.v - e.a * e.a : e.v;
    e.b = o.momentum * e.b + g / (std::sqrt(variance) + o.eps);
    e.w -= lr * e.b;
  };
}

template <class AdamLike>
void adam_step(const AdamLike& o, Element& e, double g, double lr, int t) {
  e.m = o.beta1 * e.m + (1 - o.beta1) * g;
  e.v = o.beta2 * e.v + (1 - o.beta2) * g * g;
  e.largest = std::max(e.largest, e.v);
  const double v = (o.amsgrad ? e.largest : e.v) / (1 - std::pow(o.beta2, t));
  double eps = o.eps;
  if constexpr (requires { o.eps_hat; }) eps /= o.eps_hat ? std::sqrt(1 - std::pow(o.beta2, t)) : 1.0;
  e.w -= lr * e.m / (1 - std::pow(o.beta1, t)) / (std::sqrt(v) + eps);
}

Reference reference_of(const Adam& o) {
  return [o](Element& e, double g, double lr, int t) { adam_step(o, e, g, lr, t); };
}

Reference reference_of(const AdamW& o) {
  return [o](Element& e, double g, double lr, int t) {
    e.w *= 1 - lr * o.weight_decay;
    adam_step(o, e, g, lr, t);
  };
}

Reference reference_of(const Nadam& o) {
  return [o](Element& e, double g, double lr, int t) {
    const auto mu = [&](int i) { return o.beta1 * (1 - 0.5 * std::pow(0.96, i * o.momentum_decay)); };
    double product = 1.0;
    for (int i = 1; i <= t; ++i) product *= mu(i);
    e.m = o.beta1 * e.m + (1 - o.beta1) * g;
    e.v = o.beta2 * e.v + (1 - o.beta2) * g * g;
    const double denominator = std::sqrt(e.v / (1 - std::pow(o.beta2, t))) + o.eps;
    e.w -= lr * (1 - mu(t)) / (1 - product) * g / denominator;
    e.w -= lr * mu(t + 1) / (1 - product * mu(t + 1)) * e.m / denominator;
  };
}

Reference reference_of(const Lion& o) {
  return [o](Element& e, double g, double lr, int) {
    const double c = o.beta1 * e.m + (1 - o.beta1) * g;
    e.w -= lr * ((c > 0) - (c < 0) + o.weight_decay * e.w);
    e.m = o.beta2 * e.m + (1 - o.beta2) * g;
  };
}

// Empty for those whose formula is in tests/python/reference.py alone.
Reference reference_for(const Optimizer& optimizer) {
  return std::visit(
      [](const auto& o) {
        if constexpr (requires { reference_of(o); }) return reference_of(o);
        return Reference{};
      },
      optimizer);
}

// Each with its defaults, and with each option.
std::vector<Optimizer> all_options() {
  const schedules::Cosine falling{.lr = 0.1, .steps = 15, .end = 0.01};
  std::vector<Optimizer> all = each_alternative<Optimizer>();
  std::erase_if(all, [](const Optimizer& optimizer) {
    return std::visit([]<class Op>(const Op&) { return Spec<Op>::kFullBatch; }, optimizer);
  });
  for (const Optimizer& optimizer : std::initializer_list<Optimizer>{
           SGD{0.05}, SGD{.learning_rate = 0.05, .momentum = 0.9},
           SGD{.learning_rate = 0.05, .momentum = 0.9, .nesterov = true},
           SGD{.learning_rate = 0.05, .momentum = 0.9, .dampening = 0.9},
           SGD{.learning_rate = falling, .momentum = 0.9, .rate_in_velocity = true},
           SGD{.learning_rate = falling, .momentum = 0.9, .nesterov = true, .rate_in_velocity = true},
           AdaGrad{.learning_rate = falling, .eps = 1e-3}, RMSProp{.learning_rate = 0.01, .rho = 0.8, .eps = 1e-4},
           RMSProp{.momentum = 0.9}, RMSProp{.rho = 0.95, .eps = 1e-3, .centered = true},
           RMSProp{.eps = 1e-3, .momentum = 0.5, .centered = true},
           Adam{.learning_rate = falling, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-4}, Adam{.beta1 = 0.0, .beta2 = 0.0},
           Adam{.beta2 = 0.5, .amsgrad = true}, Adam{.eps = 1e-2, .eps_hat = true},
           AdamW{.learning_rate = 0.05, .beta2 = 0.5, .amsgrad = true, .weight_decay = 0.3},
           Nadam{.learning_rate = falling, .beta1 = 0.7, .beta2 = 0.99, .momentum_decay = 0.5},
           Lion{.learning_rate = 0.01, .beta1 = 0.5, .beta2 = 0.8, .weight_decay = 0.1}}) {
    all.push_back(optimizer);
  }
  return all;
}

std::string label(const Optimizer& optimizer, std::size_t i) {
  return std::string(name_of(optimizer)) + ", case " + std::to_string(i);
}

// Gradients that change sign and size from update to update; the first element has none.
double gradient_at(std::size_t i, int t) {
  return i == 0 ? 0.0 : std::sin(0.7 * static_cast<double>(i) + 1.3 * t) * (1.0 + 0.1 * static_cast<double>(i % 5));
}

template <class T>
void expect_follows_reference(const Optimizer& optimizer, std::size_t n, double tolerance, const std::string& what) {
  std::vector<Element> expected(n);
  std::vector<T> w(n), g(n);
  for (std::size_t i = 0; i < n; ++i) w[i] = static_cast<T>(expected[i].w = std::cos(static_cast<double>(i)));
  const Reference reference = reference_for(optimizer);
  if (!reference) return;
  ParameterUpdater<T> updater(optimizer);
  const std::span<T> parameters[] = {w};
  const std::span<const T> gradients[] = {g};
  const int updates = n < 1000 ? 20 : 4;  // the reference takes minutes on an emulated processor
  for (int t = 1; t <= updates; ++t) {
    const double lr = schedule_of(optimizer)(t - 1);
    for (std::size_t i = 0; i < n; ++i) {
      g[i] = static_cast<T>(gradient_at(i, t));
      reference(expected[i], static_cast<double>(g[i]), lr, t);
    }
    updater.step(parameters, gradients);
  }
  for (std::size_t i = 0; i < n; ++i) {
    ASSERT_NEAR(static_cast<double>(w[i]), expected[i].w, tolerance * (1 + std::abs(expected[i].w)))
        << what << " " << i;
  }
}

TEST(Optimizers, FollowTheirFormulas) {
  const std::vector<Optimizer> optimizers = all_options();
  for (std::size_t i = 0; i < optimizers.size(); ++i) {
    for (const std::size_t n : {1u, 7u, 16u, 33u, 20'000u}) {
      expect_follows_reference<double>(optimizers[i], n, 1e-12, label(optimizers[i], i));
      expect_follows_reference<float>(optimizers[i], n, 2e-5, label(optimizers[i], i));
    }
  }
}

TEST(Optimizers, NadamStaysExactAfterManyUpdates) {
  const Nadam nadam{};
  const Reference reference = reference_of(nadam);
  Element expected{.w = 1.0};
  double w = 1.0, g = 0.0;
  ParameterUpdater<double> updater(nadam);
  const std::span<double> parameters[] = {{&w, 1}};
  const std::span<const double> gradients[] = {{&g, 1}};
  for (int t = 1; t <= 500; ++t) {
    g = gradient_at(1, t);
    reference(expected, g, 0.001, t);
    updater.step(parameters, gradients);
  }
  EXPECT_NEAR(w, expected.w, 1e-12);
}

TEST(Optimizers, StateCountsAreWhatTheKernelsUse) {
  EXPECT_EQ(state_count(SGD{}), 0);
  EXPECT_EQ(state_count(SGD{.momentum = 0.9}), 1);
  EXPECT_EQ(state_count(AdaGrad{}), 1);
  EXPECT_EQ(state_count(RMSProp{}), 1);
  EXPECT_EQ(state_count(RMSProp{.momentum = 0.9}), 2);
  EXPECT_EQ(state_count(RMSProp{.centered = true}), 2);
  EXPECT_EQ(state_count(RMSProp{.momentum = 0.9, .centered = true}), 3);
  EXPECT_EQ(state_count(Adam{}), 2);
  EXPECT_EQ(state_count(AdamW{.amsgrad = true}), 3);
  EXPECT_EQ(state_count(Nadam{}), 2);
  EXPECT_EQ(state_count(Lion{}), 1);
}

TEST(ParameterUpdater, SameBitsForAnyNumberOfThreads) {
  const int before = get_num_threads();
  const std::size_t sizes[] = {300'001, 7, 500'000};
  std::vector<std::vector<float>> g[3];  // of each update; the sines would take most of the time
  for (int t = 1; t <= 3; ++t) {
    for (const std::size_t n : sizes) {
      auto& array = g[t - 1].emplace_back(n);
      for (std::size_t i = 0; i < n; ++i) array[i] = static_cast<float>(gradient_at(i, t));
    }
  }
  for (const Optimizer& optimizer : all_options()) {
    std::vector<float> first;
    for (const int threads : {1, 2, 3, 8}) {
      set_num_threads(threads);
      std::vector<std::vector<float>> w;
      for (const std::size_t n : sizes) w.emplace_back(n, 1.0f);
      ParameterUpdater<float> updater(optimizer);
      for (const auto& now : g) {
        const std::span<float> parameters[] = {w[0], w[1], w[2]};
        const std::span<const float> gradients[] = {now[0], now[1], now[2]};
        updater.step(parameters, gradients);
      }
      std::vector<float> all;
      for (const auto& array : w) all.insert(all.end(), array.begin(), array.end());
      if (first.empty()) first = all;
      EXPECT_EQ(std::memcmp(all.data(), first.data(), all.size() * sizeof(float)), 0) << threads << " threads";
    }
  }
  set_num_threads(before);
}

TEST(ParameterUpdater, RefusesArraysThatDoNotFit) {
  std::vector<double> w(3), g(3), longer(4);
  const std::span<double> parameters[] = {w};
  const std::span<const double> gradients[] = {g}, wrong[] = {longer};
  const std::span<double> others[] = {longer};
  ParameterUpdater<double> updater(Adam{});
  EXPECT_THROW(updater.step(parameters, {}), ValueError);
  EXPECT_THROW(updater.step(parameters, wrong), ValueError);
  EXPECT_EQ(updater.steps(), 0);
  updater.step(parameters, gradients);
  EXPECT_EQ(updater.steps(), 1);
  EXPECT_THROW(updater.step(others, wrong), ValueError);
  updater.reset();
  EXPECT_NO_THROW(updater.step(others, wrong));
  EXPECT_THROW(ParameterUpdater<double>(Adam{.beta1 = 1.0}), ValueError);
  ParameterUpdater<double> bad(SGD{schedules::Custom{[](Index) { return std::nan(""); }}});
  EXPECT_THROW(bad.step(parameters, gradients), ValueError);
}

// ---- in a Trainer ----

struct Problem {
  std::vector<double> x;
  std::vector<std::int32_t> y;
  Index rows = 24;

  Problem() {
    std::mt19937 random(5);
    std::normal_distribution<double> normal;
    for (Index i = 0; i < rows * 6; ++i) x.push_back(normal(random));
    for (Index i = 0; i < rows; ++i) y.push_back(static_cast<std::int32_t>(random() % 3));
  }
  MatrixView<const double> samples() const { return matrix(x.data(), rows, Index{6}); }
};

ModelConfig small_model() { return {.input_dim = 6, .layers = {Dense{17, Tanh{}}, Dense{3}}, .seed = 2}; }

// The trainer's steps against the formulas, with its own gradients; only weights decay.
TEST(Optimizers, TrainerFollowsTheFormulas) {
  const Problem problem;
  const std::vector<Optimizer> optimizers = all_options();
  for (std::size_t c = 0; c < optimizers.size(); ++c) {
    if (!reference_for(optimizers[c])) continue;
    Optimizer without_decay = optimizers[c];
    if (auto* adamw = std::get_if<AdamW>(&without_decay)) adamw->weight_decay = 0.0;
    if (auto* lion = std::get_if<Lion>(&without_decay)) lion->weight_decay = 0.0;
    Model<double> model(small_model());
    Trainer<double> trainer(model, {.optimizer = optimizers[c], .l2 = 0.01});
    const auto block = model.parameter_block();
    std::vector<Element> expected(block.size());
    for (std::size_t i = 0; i < block.size(); ++i) expected[i].w = block[i];
    std::vector<double> gradient(block.size());
    for (int t = 1; t <= 20; ++t) {
      trainer.loss_and_grad(problem.samples(), problem.y, gradient);
      trainer.step(problem.samples(), problem.y);
      for (const ParameterInfo& info : model.parameter_infos()) {
        const Reference reference = reference_for(info.regularized ? optimizers[c] : without_decay);
        for (Index j = 0; j < info.rows * info.cols; ++j) {
          const auto i = static_cast<std::size_t>(info.offset + j);
          reference(expected[i], gradient[i], schedule_of(optimizers[c])(t - 1), t);
          ASSERT_NEAR(block[i], expected[i].w, 1e-10) << label(optimizers[c], c) << " " << info.name << " " << j;
        }
      }
    }
  }
}

// The fused pass of fit and the separate passes of step end in the same bits.
TEST(Optimizers, FitAndStepAgree) {
  const Problem problem;
  for (const Optimizer& optimizer : all_options()) {
    Model<double> by_fit(small_model()), by_step(small_model());
    Trainer<double> fitting(by_fit, {.optimizer = optimizer, .l2 = 0.01});
    Trainer<double> stepping(by_step, {.optimizer = optimizer, .l2 = 0.01});
    fitting.fit(problem.samples(), problem.y, {.epochs = 5, .batch_size = problem.rows, .shuffle = false});
    for (int i = 0; i < 5; ++i) stepping.step(problem.samples(), problem.y);
    const auto a = by_fit.parameter_block(), b = by_step.parameter_block();
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(double)), 0) << name_of(optimizer);
  }
}

TEST(Optimizers, TrainingHasTheSameBitsForAnyNumberOfThreads) {
  const Problem problem;
  for (const Optimizer& optimizer : all_options()) {
    std::vector<double> first;
    for (const int threads : {1, 2, 3, 8}) {
      Model<double> model(small_model());
      Trainer<double> trainer(model, {.optimizer = optimizer, .num_threads = threads});
      trainer.fit(problem.samples(), problem.y, {.epochs = 3, .batch_size = 7});
      const auto block = model.parameter_block();
      const std::vector<double> now(block.begin(), block.end());
      if (first.empty()) first = now;
      EXPECT_EQ(now, first) << name_of(optimizer) << " on " << threads << " threads";
    }
  }
}

TEST(Optimizers, AdamsFirstStepHasTheSizeOfTheRate) {
  std::vector<double> w = {1.0, -2.0, 3.0}, g = {1e-3, -5.0, 700.0};
  ParameterUpdater<double> updater(Adam{.learning_rate = 0.01});
  const std::span<double> parameters[] = {w};
  const std::span<const double> gradients[] = {g};
  updater.step(parameters, gradients);
  EXPECT_NEAR(w[0], 1.0 - 0.01, 1e-6);
  EXPECT_NEAR(w[1], -2.0 + 0.01, 1e-9);
  EXPECT_NEAR(w[2], 3.0 - 0.01, 1e-9);
}

}  // namespace
}  // namespace stoop
