// L1, L2, clipping, accumulation, max-norm and the moving average, against gradients and parameters worked out here; the
// same bits for any number of threads, and what is not finite stops before an update.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <stoop/error.hpp>
#include <stoop/trainer.hpp>

#include "io/config_json.hpp"

namespace stoop {
namespace {

template <class T>
struct Problem {
  explicit Problem(Index n = 32) : rows(n) {
    std::mt19937 random(7);
    std::normal_distribution<double> normal;
    for (Index i = 0; i < rows * 5; ++i) x.push_back(static_cast<T>(normal(random)));
    for (Index i = 0; i < rows; ++i) y.push_back(static_cast<std::int32_t>(random() % 4));
    for (Index i = 0; i < rows; ++i) weights.push_back(static_cast<T>(random() % 5) / T(2));
  }
  MatrixView<const T> samples() const { return matrix(x.data(), rows, Index{5}); }
  Targets<T> weighted() const {
    Targets<T> targets(y);
    targets.weights = weights;
    return targets;
  }
  FitOptions<T> one_pass(Index batch) const { return {.epochs = 1, .batch_size = batch, .shuffle = false}; }

  Index rows;
  std::vector<T> x, weights;
  std::vector<std::int32_t> y;
};

ModelConfig small_model(std::vector<Layer> layers = {Dense{21, Tanh{}}, Dense{4}}) {
  return {.input_dim = 5, .layers = std::move(layers), .seed = 3};
}

template <class T>
std::vector<T> block_of(Model<T>& model) {
  const auto block = model.parameter_block();
  return {block.begin(), block.end()};
}

std::vector<double> gradient_of(Model<double>& model, const TrainerConfig& config, const Problem<double>& problem,
                                double* loss = nullptr) {
  Trainer<double> trainer(model, config);
  std::vector<double> gradient(model.parameter_block().size());
  const double value = trainer.loss_and_grad(problem.samples(), problem.y, gradient);
  if (loss != nullptr) *loss = value;
  return gradient;
}

double norm_of(const std::vector<double>& v) {
  double sum = 0.0;
  for (const double x : v) sum += x * x;
  return std::sqrt(sum);
}

void expect_near(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance) << i;
}

// ---- L1 and L2 ----

TEST(Regularization, PenaltiesAreInLossAndGradient) {
  const Problem<double> problem;
  Dense first{21, Tanh{}}, last{4};
  first.l1 = 0.03;
  last.l2 = 0.0;
  Model<double> model(small_model({first, last}));
  Model<double> plain(small_model());  // the same parameters
  double plain_loss = 0.0, loss = 0.0;
  const TrainerConfig config{.l1 = 0.02, .l2 = 0.1};
  std::vector<double> expected = gradient_of(plain, {}, problem, &plain_loss);
  const std::vector<double> gradient = gradient_of(model, config, problem, &loss);
  double penalty = 0.0;
  for (const ParameterInfo& info : model.parameter_infos()) {
    if (!info.regularized) continue;
    const bool is_first = info.name == "0.weight";
    const double l1 = is_first ? 0.03 : 0.02, l2 = is_first ? 0.1 : 0.0;
    for (Index i = 0; i < info.rows * info.cols; ++i) {
      const double w = model.parameter_block()[static_cast<std::size_t>(info.offset + i)];
      penalty += l1 * std::abs(w) + l2 / 2 * w * w;
      expected[static_cast<std::size_t>(info.offset + i)] += l1 * ((w > 0) - (w < 0)) + l2 * w;
    }
  }
  EXPECT_NEAR(loss, plain_loss + penalty, 1e-12);
  expect_near(gradient, expected, 1e-12);

  Trainer<double> trainer(model, config);
  EXPECT_NEAR(trainer.evaluate(problem.samples(), problem.y).loss, loss, 1e-12);
  EXPECT_NEAR(trainer.loss_and_grad(problem.samples(), problem.y, {}), loss, 1e-12) << "the loss alone";
  EXPECT_NEAR(trainer.fit(problem.samples(), problem.y, problem.one_pass(problem.rows)).loss[0], loss, 1e-12);
}

TEST(Regularization, LayersHaveFactors) {
  const Problem<double> problem;
  Dense first{21, Tanh{}};
  first.lr_scale = 0.5;
  first.decay_scale = 0.25;
  for (const bool checked : {false, true}) {
    Model<double> model(small_model({Residual{.layers = {first}, .lr_scale = 0.5, .decay_scale = 2.0}, Dense{4}}));
    TrainerConfig config{.optimizer = SGD{0.5}, .l2 = 0.1};
    if (checked) config.clip_norm = 1e6;
    const std::vector<double> gradient = gradient_of(model, config, problem);
    std::vector<double> expected = block_of(model), plain = gradient_of(model, {}, problem);
    for (const ParameterInfo& info : model.parameter_infos()) {
      const bool is_weight = info.regularized;
      const double rate = info.name == "0.0.weight" || info.name == "0.0.bias" ? 0.25 : info.name[0] == '0' ? 0.5 : 1.0;
      const double decay = info.name == "0.0.weight" ? 0.5 : info.name[0] == '0' ? 2.0 : 1.0;
      for (Index i = 0; i < info.rows * info.cols; ++i) {
        const auto at = static_cast<std::size_t>(info.offset + i);
        plain[at] += is_weight ? 0.1 * decay * expected[at] : 0.0;
        expected[at] -= 0.5 * rate * plain[at];
      }
    }
    expect_near(gradient, plain, 1e-12);
    Trainer<double> trainer(model, config);
    trainer.fit(problem.samples(), problem.y, problem.one_pass(problem.rows));
    expect_near(block_of(model), expected, 1e-12);
  }
}

TEST(Regularization, FrozenWeightsCountInTheLossOnly) {
  const Problem<double> problem;
  Dense frozen{21, Tanh{}};
  frozen.trainable = false;
  Model<double> model(small_model({frozen, Dense{4}})), free(small_model());
  double loss = 0.0, expected = 0.0;
  const TrainerConfig config{.l1 = 0.02, .l2 = 0.1};
  gradient_of(model, config, problem, &loss);
  gradient_of(free, config, problem, &expected);
  EXPECT_NEAR(loss, expected, 1e-12);
}

TEST(Regularization, AWeightOfZeroHasNoL1Gradient) {
  const Problem<double> problem;
  Model<double> model(small_model({Dense{4}}));
  for (double& w : model.parameter_block()) w = 0.0;
  expect_near(gradient_of(model, {.l1 = 5.0}, problem), gradient_of(model, {}, problem), 0.0);
}

// ---- clipping ----

TEST(Clipping, NormIsScaledDownToTheLimit) {
  const Problem<double> problem;
  for (const double limit : {0.05, 1e6}) {
    Model<double> model(small_model());
    const TrainerConfig config{.optimizer = SGD{0.5}, .l1 = 0.01, .l2 = 0.1, .clip_norm = limit};
    const std::vector<double> gradient = gradient_of(model, config, problem);
    const double norm = norm_of(gradient), scale = std::min(1.0, limit / norm);
    std::vector<double> expected = block_of(model);
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] -= 0.5 * scale * gradient[i];
    Model<double> stepped(model);
    Trainer<double> fitting(model, config), stepping(stepped, config);
    const History history = fitting.fit(problem.samples(), problem.y, problem.one_pass(problem.rows));
    stepping.step(problem.samples(), problem.y);
    expect_near(block_of(model), expected, 1e-12);
    EXPECT_EQ(block_of(stepped), block_of(model));
    EXPECT_NEAR(history.grad_norm[0], norm, 1e-12) << "the norm before clipping is told";
  }
}

TEST(Clipping, EachElementIsCut) {
  const Problem<double> problem;
  Model<double> model(small_model());
  const TrainerConfig config{.optimizer = SGD{0.5}, .l2 = 0.1, .clip_value = 0.01};
  const std::vector<double> gradient = gradient_of(model, config, problem);
  std::vector<double> expected = block_of(model);
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] -= 0.5 * std::clamp(gradient[i], -0.01, 0.01);
  EXPECT_GT(*std::max_element(gradient.begin(), gradient.end()), 0.01) << "loss_and_grad tells the whole gradient";
  Model<double> stepped(model);
  Trainer<double> fitting(model, config), stepping(stepped, config);
  fitting.fit(problem.samples(), problem.y, problem.one_pass(problem.rows));
  stepping.step(problem.samples(), problem.y);
  expect_near(block_of(model), expected, 1e-12);
  EXPECT_EQ(block_of(stepped), block_of(model));
}

TEST(Clipping, ValueComesBeforeNorm) {
  const Problem<double> problem;
  Model<double> model(small_model());
  const TrainerConfig config{.optimizer = SGD{0.5}, .clip_norm = 0.02, .clip_value = 0.01};
  std::vector<double> gradient = gradient_of(model, config, problem);
  for (double& g : gradient) g = std::clamp(g, -0.01, 0.01);
  ASSERT_GT(norm_of(gradient), 0.02);
  std::vector<double> expected = block_of(model);
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] -= 0.5 * 0.02 / norm_of(gradient) * gradient[i];
  Trainer<double> trainer(model, config);
  trainer.fit(problem.samples(), problem.y, problem.one_pass(problem.rows));
  expect_near(block_of(model), expected, 1e-12);
}

// ---- accumulation ----

struct Accumulated {
  std::vector<double> parameters, running;
  History history;
  Index steps = 0;
};

Accumulated train(const ModelConfig& config, const Problem<double>& problem, const Targets<double>& targets,
                  Index batch, Index accumulate) {
  Model<double> model(config);
  Trainer<double> trainer(model, {.optimizer = Adam{0.01}, .l1 = 0.001, .l2 = 0.01, .accumulate = accumulate});
  FitOptions<double> options{.epochs = 3, .batch_size = batch};
  Accumulated result;
  result.history = trainer.fit(problem.samples(), targets, options);
  result.parameters = block_of(model);
  result.steps = trainer.steps();
  return result;
}

TEST(Accumulation, EqualsTheLargeBatch) {
  const Problem<double> problem(50);  // 3 updates of 16 and one of 2; with batches of 4 or 5 the last are smaller
  const std::vector<std::vector<Layer>> models = {
      {Dense{21, Tanh{}}, Dense{4}},
      {Dense{21}, LayerNorm{}, ReLU{}, Dropout{0.3}, Dense{4}},
      {Dropout{0.2}, Dense{21, Sigmoid{}}, Residual{{Dense{21, Tanh{}}}}, Dense{4}}};
  for (const auto& layers : models) {
    for (const bool weights : {false, true}) {
      const Targets<double> targets = weights ? problem.weighted() : Targets<double>(problem.y);
      const Accumulated large = train(small_model(layers), problem, targets, 16, 1);
      for (const Index parts : {2, 4, 16}) {
        const Accumulated small = train(small_model(layers), problem, targets, 16 / parts, parts);
        EXPECT_EQ(small.steps, large.steps);
        expect_near(small.parameters, large.parameters, 1e-9);
        expect_near(small.history.loss, large.history.loss, 1e-11);
        expect_near(small.history.grad_norm, large.history.grad_norm, 1e-9);
        expect_near(small.history.accuracy, large.history.accuracy, 1e-12);
      }
    }
  }
}

TEST(Accumulation, CountsUpdatesWithABatchNorm) {
  const Problem<double> problem(33);  // a last batch of one is merged: 4 batches of 8, the last of 9
  Model<double> model(small_model({Dense{21}, BatchNorm{}, ReLU{}, Dense{4}}));
  std::vector<Index> asked;
  const schedules::Custom rate{[&](Index t) { return asked.push_back(t), 0.01; }};
  Trainer<double> trainer(model, {.optimizer = Adam{.learning_rate = rate}, .accumulate = 3});
  trainer.fit(problem.samples(), problem.y, {.epochs = 2, .batch_size = 8});
  EXPECT_EQ(trainer.steps(), 4);
  EXPECT_EQ(asked, (std::vector<Index>{0, 1, 2, 3}));
}

// ---- max-norm ----

TEST(MaxNorm, NoColumnIsLongerAndShortOnesStay) {
  const Problem<double> problem;
  for (const bool clipped : {false, true}) {
    TrainerConfig config{.optimizer = SGD{0.3}};
    Model<double> free(small_model()), limited(free);
    if (clipped) config.clip_norm = 1e6;  // the other kind of plan
    Trainer<double> trainer(free, config);
    trainer.fit(problem.samples(), problem.y, problem.one_pass(problem.rows));
    config.max_norm = 0.9;
    Trainer<double> limiting(limited, config);
    limiting.fit(problem.samples(), problem.y, problem.one_pass(problem.rows));
    Index cut = 0, kept = 0;
    for (const ParameterInfo& info : free.parameter_infos()) {
      const auto a = free.parameter(info.name), b = limited.parameter(info.name);
      for (Index j = 0; j < info.cols; ++j) {
        double sum = 0.0;
        for (Index i = 0; i < info.rows; ++i) sum += a.data[i * a.stride + j] * a.data[i * a.stride + j];
        const bool is_long = info.regularized && std::sqrt(sum) > 0.9;
        (is_long ? cut : kept) += 1;
        const double scale = is_long ? 0.9 / std::sqrt(sum) : 1.0;
        for (Index i = 0; i < info.rows; ++i) {
          ASSERT_NEAR(b.data[i * b.stride + j], scale * a.data[i * a.stride + j], 1e-13) << info.name << " " << j;
        }
      }
    }
    EXPECT_GT(cut, 3);
    EXPECT_GT(kept, 3);
  }
}

// ---- moving average ----

TEST(Ema, FollowsTheParametersAndCanBeSwappedIn) {
  const Problem<double> problem;
  for (const std::optional<double> max_norm : {std::optional<double>(), std::optional<double>(0.9)}) {
    Model<double> model(small_model());
    Trainer<double> trainer(model, {.optimizer = SGD{0.3}, .max_norm = max_norm, .ema = 0.8});
    std::vector<double> expected = block_of(model);
    for (int t = 0; t < 6; ++t) {
      if (t % 2 == 0) {
        trainer.step(problem.samples(), problem.y);
      } else {
        trainer.fit(problem.samples(), problem.y, problem.one_pass(problem.rows));
      }
      const std::vector<double> now = block_of(model);
      for (std::size_t i = 0; i < now.size(); ++i) expected[i] = 0.8 * expected[i] + 0.2 * now[i];
    }
    const std::vector<double> parameters = block_of(model);
    const auto average = trainer.ema_block();
    expect_near({average.begin(), average.end()}, expected, 1e-14);
    const double loss = trainer.evaluate(problem.samples(), problem.y).loss;
    trainer.swap_ema();
    expect_near(block_of(model), expected, 1e-14);
    EXPECT_NE(trainer.evaluate(problem.samples(), problem.y).loss, loss);
    EXPECT_THROW(trainer.step(problem.samples(), problem.y), ValueError);
    EXPECT_THROW(trainer.fit(problem.samples(), problem.y), ValueError);
    trainer.swap_ema();
    EXPECT_EQ(block_of(model), parameters);
    EXPECT_NO_THROW(trainer.step(problem.samples(), problem.y));
  }
}

TEST(Ema, StartsFromWhatTheModelHoldsAtTheFirstUpdate) {
  const Problem<double> problem;
  Model<double> model(small_model());
  Trainer<double> trainer(model, {.optimizer = SGD{0.0}, .ema = 0.9});
  for (double& w : model.parameter_block()) w = 0.25;
  trainer.step(problem.samples(), problem.y);
  for (const double w : trainer.ema_block()) EXPECT_NEAR(w, 0.25, 1e-15);
  Trainer<double> without(model, {});
  EXPECT_TRUE(without.ema_block().empty());
  EXPECT_THROW(without.swap_ema(), ValueError);
}

// ---- all together ----

std::vector<TrainerConfig> all_cases() {
  return {{.l1 = 0.01, .l2 = 0.02},
          {.clip_norm = 0.1},
          {.l1 = 0.01, .clip_value = 0.01},
          {.accumulate = 3},
          {.max_norm = 0.5},
          {.ema = 0.9},
          {.l1 = 0.01, .l2 = 0.02, .clip_norm = 0.1, .clip_value = 0.01, .max_norm = 0.5, .accumulate = 2, .ema = 0.9}};
}

TEST(Regularization, SameBitsForAnyNumberOfThreads) {
  const Problem<float> problem(45);
  const std::vector<Layer> layers = {Dense{70}, BatchNorm{}, ReLU{}, Dropout{0.2}, Dense{33, Tanh{}}, Dense{4}};
  const std::vector<TrainerConfig> cases = all_cases();
  for (std::size_t c = 0; c < cases.size(); ++c) {
    std::vector<float> first;
    double first_loss = 0.0;
    for (const int threads : {1, 2, 3, 8}) {
      Model<float> model(small_model(layers));
      TrainerConfig config = cases[c];
      config.num_threads = threads;
      Trainer<float> trainer(model, config);
      const History history = trainer.fit(problem.samples(), problem.y, {.epochs = 4, .batch_size = 11});
      std::vector<float> now = block_of(model);
      const auto average = trainer.ema_block();
      now.insert(now.end(), average.begin(), average.end());
      if (first.empty()) first = now, first_loss = history.loss.back();
      EXPECT_EQ(std::memcmp(now.data(), first.data(), now.size() * sizeof(float)), 0) << c << ", " << threads;
      EXPECT_EQ(history.loss.back(), first_loss) << c << ", " << threads;
    }
  }
}

TEST(Regularization, TheFusedPlanStaysWhereNothingIsAsked) {
  const Problem<double> problem;
  const TrainerConfig nothing{.optimizer = SGD{0.1}};
  TrainerConfig no_limit = nothing;
  no_limit.clip_norm = 1e9;
  Model<double> a(small_model()), b(small_model());
  Trainer<double> fused(a, nothing), checked(b, no_limit);
  fused.fit(problem.samples(), problem.y, {.epochs = 3, .batch_size = 7});
  checked.fit(problem.samples(), problem.y, {.epochs = 3, .batch_size = 7});
  EXPECT_EQ(block_of(a), block_of(b)) << "a limit that is not reached changes no bit";
}

// With a huge rate the second update overflows: before it is applied where all gradients are there first.
TEST(Regularization, WhatIsNotFiniteLeavesTheLastGoodParameters) {
  const Problem<float> problem;
  for (TrainerConfig config : all_cases()) {
    config.loss = MeanSquaredError{};
    config.optimizer = SGD{1e30};
    config.clip_norm = config.clip_value = config.max_norm = std::nullopt;
    Model<float> model(small_model({Dense{21}, Dense{5}}));
    Trainer<float> trainer(model, config);
    const Targets<float> targets = problem.samples();
    EXPECT_THROW(trainer.fit(problem.samples(), targets, {.epochs = 9, .batch_size = 8}), NonFiniteLossError);
    for (const float w : model.parameter_block()) ASSERT_TRUE(std::isfinite(w));
    for (const float w : trainer.ema_block()) ASSERT_TRUE(std::isfinite(w));
  }
}

TEST(Regularization, RefusesWhatIsOutOfRange) {
  Model<double> model(small_model());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<TrainerConfig> wrong = {
      {.l1 = -1.0},      {.l1 = nan},       {.l2 = -1.0}, {.clip_norm = 0.0}, {.clip_norm = nan}, {.clip_value = -1.0},
      {.max_norm = 0.0}, {.accumulate = 0}, {.ema = 1.0}, {.ema = -0.1},      {.ema = nan}};
  for (std::size_t i = 0; i < wrong.size(); ++i) EXPECT_THROW(Trainer<double>(model, wrong[i]), ValueError) << i;
  Dense dense{3};
  dense.l1 = -1.0;
  EXPECT_THROW(Model<double>(small_model({dense})), ValueError);
}

TEST(Regularization, RoundTripsThroughJson) {
  for (const TrainerConfig& config : all_cases()) {
    const std::string text = to_json(config);
    EXPECT_EQ(to_json(trainer_config_from_json(text)), text);
  }
  const TrainerConfig again = trainer_config_from_json(to_json(all_cases().back()));
  EXPECT_EQ(again.l1, 0.01);
  EXPECT_EQ(again.clip_norm, 0.1);
  EXPECT_EQ(again.clip_value, 0.01);
  EXPECT_EQ(again.max_norm, 0.5);
  EXPECT_EQ(again.accumulate, 2);
  EXPECT_EQ(again.ema, 0.9);
  EXPECT_FALSE(trainer_config_from_json("{}").clip_norm.has_value());
}

}  // namespace
}  // namespace stoop
