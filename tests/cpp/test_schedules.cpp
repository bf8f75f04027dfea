// Schedules against their closed forms, and what a Trainer makes of them.
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <stoop/error.hpp>
#include <stoop/schedules.hpp>
#include <stoop/trainer.hpp>

#include "io/config_json.hpp"

namespace stoop {
namespace {

using namespace schedules;

void expect_values(const LearningRate& rate, const std::vector<double>& expected) {
  const std::vector<double> values = rate.values(static_cast<Index>(expected.size()));
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t t = 0; t < expected.size(); ++t) EXPECT_NEAR(values[t], expected[t], 1e-15) << "t = " << t;
}

TEST(Schedules, ANumberStays) {
  expect_values(0.25, {0.25, 0.25, 0.25});
  expect_values(1e-3f, {static_cast<double>(1e-3f)});
  expect_values(Constant{0.5}, {0.5, 0.5});
  EXPECT_TRUE(LearningRate(0.1).values(0).empty());
}

TEST(Schedules, StairsAndPieces) {
  expect_values(Step{.lr = 1.0, .factor = 0.5, .every = 3}, {1, 1, 1, 0.5, 0.5, 0.5, 0.25});
  expect_values(Piecewise{.boundaries = {2, 5}, .values = {1, 0.1, 0.01}}, {1, 1, 0.1, 0.1, 0.1, 0.01, 0.01});
  expect_values(Piecewise{.boundaries = {}, .values = {0.3}}, {0.3, 0.3});
}

TEST(Schedules, Decays) {
  expect_values(Exponential{.lr = 2.0, .decay = 0.9}, {2.0, 1.8, 1.62});
  expect_values(Exponential{.lr = 2.0, .decay = 0.25, .every = 2}, {2.0, 1.0, 0.5, 0.25});
  expect_values(InverseTime{.lr = 1.0, .decay = 0.5}, {1.0, 1.0 / 1.5, 0.5});
  expect_values(Power{.lr = 8.0, .exponent = 2.0}, {8.0, 2.0, 8.0 / 9.0, 0.5});
  expect_values(InverseSqrt{.lr = 1.0}, {1.0, 1.0 / std::sqrt(2.0), 1.0 / std::sqrt(3.0), 0.5});
}

TEST(Schedules, Ramps) {
  expect_values(Linear{.lr = 1.0, .end = 0.2, .steps = 4}, {1.0, 0.8, 0.6, 0.4, 0.2, 0.2});
  expect_values(Polynomial{.lr = 1.0, .end = 0.0, .steps = 4, .power = 2.0}, {1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0});
  const double half = 0.5 * (1.0 + std::cos(std::numbers::pi / 4));
  expect_values(Cosine{.lr = 1.0, .steps = 4}, {1.0, half, 0.5, 1.0 - half, 0.0, 0.0});
  expect_values(Cosine{.lr = 1.0, .steps = 2, .end = 0.5}, {1.0, 0.75, 0.5, 0.5});
}

TEST(Schedules, WarmupThenTheScheduleFromItsStart) {
  expect_values(Warmup{.schedule = 1.0, .steps = 4}, {0.25, 0.5, 0.75, 1.0, 1.0, 1.0});
  expect_values(Warmup{.schedule = Linear{.lr = 1.0, .end = 0.0, .steps = 2}, .steps = 2}, {0.5, 1.0, 1.0, 0.5, 0.0});
  const LearningRate mixed = Warmup{.schedule = Step{.lr = 1.0, .every = 1, .per = Per::epoch}, .steps = 10};
  EXPECT_EQ(mixed.at(4, 2), 0.5);
  EXPECT_EQ(mixed.at(30, 2), 0.25);
}

// PyTorch's OneCycleLR(max_lr=1, total_steps=10) with its defaults.
TEST(Schedules, OneCycleRisesAndFalls) {
  const LearningRate rate = OneCycle{.max_lr = 1.0, .steps = 10};
  const std::vector<double> values = rate.values(12);
  EXPECT_NEAR(values[0], 0.04, 1e-15);
  EXPECT_NEAR(values[1], 0.52, 1e-15);
  EXPECT_NEAR(values[2], 1.0, 1e-15);
  for (int t = 3; t <= 9; ++t) {
    const double expected = 4e-6 + (1.0 - 4e-6) * 0.5 * (1.0 + std::cos(std::numbers::pi * (t - 2) / 7.0));
    EXPECT_NEAR(values[static_cast<std::size_t>(t)], expected, 1e-15) << t;
  }
  EXPECT_NEAR(values[9], 4e-6, 1e-18);
  EXPECT_EQ(values[10], values[9]);
  EXPECT_EQ(values[11], values[9]);
  for (const Index steps : {1, 2, 3, 4, 100}) {
    for (const double value : LearningRate(OneCycle{.max_lr = 1.0, .steps = steps}).values(steps + 2)) {
      EXPECT_TRUE(value > 0.0 && value <= 1.0) << steps;
    }
  }
  EXPECT_NEAR(LearningRate(OneCycle{.max_lr = 1.0, .steps = 10, .pct_start = 0.1})(0), 1.0, 1e-15);
}

TEST(Schedules, AnyFunctionAndPerEpoch) {
  expect_values(Custom{[](Index t) { return 1.0 + static_cast<double>(t); }}, {1.0, 2.0, 3.0});
  const LearningRate by_epoch = Step{.lr = 1.0, .every = 1, .per = Per::epoch};
  EXPECT_EQ(by_epoch.at(1000, 0), 1.0);
  EXPECT_EQ(by_epoch.at(0, 2), 0.25);
}

template <class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const ValueError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

void expect_refused(const LearningRate& rate, std::string_view part) {
  const std::string message = message_of([&] { validate(rate, "SGD"); });
  EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
}

TEST(Schedules, RefuseWhatIsOutOfRange) {
  expect_refused(-1.0, "[SGD] learning_rate is -1");
  expect_refused(std::numeric_limits<double>::quiet_NaN(), "[SGD] learning_rate is nan");
  expect_refused(Step{.factor = 0.0}, "[Step] factor is 0");
  expect_refused(Step{.every = 0}, "[Step] every is 0");
  expect_refused(Piecewise{.boundaries = {1}, .values = {1}}, "[Piecewise] 1 values and 1 boundaries");
  expect_refused(Piecewise{.boundaries = {2, 2}, .values = {1, 2, 3}}, "[Piecewise] the boundaries are not in order");
  expect_refused(Exponential{.decay = -0.5}, "[Exponential] decay is -0.5");
  expect_refused(InverseTime{.decay = -1.0}, "[InverseTime] decay");
  expect_refused(Cosine{.steps = 0}, "[Cosine] steps is 0");
  expect_refused(Warmup{.schedule = Cosine{.lr = -1.0}, .steps = 1}, "[Cosine] lr is -1");
  expect_refused(Warmup{.schedule = -1.0, .steps = 1}, "[Warmup] learning_rate is -1");
  expect_refused(OneCycle{.pct_start = 1.5}, "[OneCycle] pct_start is 1.5");
  expect_refused(Custom{}, "an empty function");
  expect_refused(Cosine{.lr = 0.1, .steps = 3}, "nothing was thrown");
}

TEST(Schedules, RoundTripThroughJson) {
  const std::vector<LearningRate> rates = {0.1,
                                           Step{.lr = 0.1, .factor = 0.3, .every = 7, .per = Per::epoch},
                                           Piecewise{.boundaries = {3, 9}, .values = {1.0, 0.5, 0.1}},
                                           Exponential{.lr = 0.1, .decay = 0.9, .every = 2},
                                           InverseTime{.lr = 0.1, .decay = 0.3},
                                           Power{.lr = 0.1, .exponent = 0.7},
                                           InverseSqrt{.lr = 0.1},
                                           Linear{.lr = 0.1, .end = 0.01, .steps = 5},
                                           Polynomial{.lr = 0.1, .end = 0.01, .steps = 5, .power = 3.0},
                                           Warmup{.schedule = Cosine{.lr = 0.1, .steps = 5, .end = 0.02}, .steps = 3},
                                           OneCycle{.max_lr = 0.1, .steps = 9, .pct_start = 0.4}};
  for (const LearningRate& rate : rates) {
    const std::string text = to_json(TrainerConfig{.optimizer = SGD{.learning_rate = rate}});
    const TrainerConfig again = trainer_config_from_json(text);
    EXPECT_EQ(to_json(again), text);
    EXPECT_EQ(schedule_of(again.optimizer).values(20), rate.values(20)) << text;
  }
  const TrainerConfig config = trainer_config_from_json(
      R"({"optimizer": {"type": "adam", "learning_rate": {"type": "cosine", "lr": 0.5, "steps": 4}}})");
  EXPECT_EQ(learning_rate_of(config.optimizer), 0.5);
}

TEST(Schedules, JsonRefusesWhatItCannotHold) {
  const TrainerConfig custom{.optimizer = SGD{.learning_rate = Custom{[](Index) { return 0.1; }}}};
  EXPECT_NE(message_of([&] { to_json(custom); }).find("[learning_rate] it is a function"), std::string::npos);
  const auto message = [](const std::string& rate) {
    return message_of(
        [&] { trainer_config_from_json(R"({"optimizer": {"type": "sgd", "learning_rate": )" + rate + "}}"); });
  };
  EXPECT_NE(message(R"("0.1")").find("expected a number or an object"), std::string::npos);
  EXPECT_NE(message(R"({"type": "cosin", "lr": 1, "steps": 1})").find("did you mean \"cosine\""), std::string::npos);
  EXPECT_NE(message(R"({"type": "custom"})").find("unknown schedule \"custom\""), std::string::npos);
  EXPECT_NE(message(R"({"type": "cosine", "lr": 1})").find("the key \"steps\" is missing"), std::string::npos);
  EXPECT_NE(message(R"({"type": "inverse_sqrt", "lr": 1, "per": "week"})").find("expected one of step, epoch"),
            std::string::npos);
}

// ---- in a Trainer: y = 0 and one weight, so that the rates can be read off the updates ----

struct Line {
  std::vector<double> x = std::vector<double>(6, 1.0), y = std::vector<double>(6, 0.0);
  Model<double> model{{.input_dim = 1, .layers = {Dense{.units = 1, .use_bias = false}}}};

  double weight() { return model.parameter("0.weight").data[0]; }
  MatrixView<const double> samples() const { return matrix(x.data(), Index{6}, Index{1}); }
  Targets<double> targets() const { return matrix(y.data(), Index{6}, Index{1}); }
};

TEST(Schedules, TrainerTakesTheRateOfEachUpdate) {
  Line line;
  Trainer<double> trainer(line.model, {.loss = MeanSquaredError{},
                                       .optimizer = SGD{.learning_rate = Linear{.lr = 0.3, .end = 0.0, .steps = 6}}});
  double expected = line.weight();
  const History history = trainer.fit(line.samples(), line.targets(), {.epochs = 2, .batch_size = 2});
  for (int t = 0; t < 6; ++t) expected -= 0.05 * (6 - t) * 2 * expected;
  EXPECT_NEAR(line.weight(), expected, 1e-14);
  ASSERT_EQ(history.learning_rate.size(), 2u);
  EXPECT_NEAR(history.learning_rate[0], 0.2, 1e-15);
  EXPECT_NEAR(history.learning_rate[1], 0.05, 1e-15);
  trainer.step(line.samples(), line.targets());
  EXPECT_NEAR(line.weight(), expected, 1e-14) << "the rate is 0 by now";
}

TEST(Schedules, TrainerCountsEpochsWhereAsked) {
  Line line;
  Trainer<double> trainer(
      line.model,
      {.loss = MeanSquaredError{}, .optimizer = SGD{.learning_rate = Step{.lr = 0.2, .every = 1, .per = Per::epoch}}});
  double expected = line.weight();
  const History history = trainer.fit(line.samples(), line.targets(), {.epochs = 3, .batch_size = 3});
  for (int t = 0; t < 6; ++t) expected -= 0.2 * std::pow(0.5, t / 2) * 2 * expected;
  EXPECT_NEAR(line.weight(), expected, 1e-14);
  EXPECT_EQ(history.learning_rate, (std::vector<double>{0.2, 0.1, 0.05}));
}

// Six samples in batches of two: three updates an epoch.
std::vector<Index> asked_by_fits(const std::function<LearningRate(Custom)>& around, int fits) {
  std::vector<Index> asked;
  const auto ask = [&](Index t) {
    asked.push_back(t);
    return 0.01;
  };
  Model<float> model({.input_dim = 1, .layers = {Dense{1}}});
  Trainer<float> trainer(
      model, {.loss = MeanSquaredError{}, .optimizer = SGD{.learning_rate = around(Custom{ask, Per::epoch})}});
  const std::vector<float> x(6, 0.5f);
  const auto view = matrix(x.data(), 6, 1);
  for (int i = 0; i < fits; ++i) trainer.fit(view, view, {.epochs = 2, .batch_size = 2});
  return asked;
}

TEST(Schedules, AFunctionOfTheEpochIsAskedOnceAnEpoch) {
  EXPECT_EQ(asked_by_fits([](const Custom& custom) { return custom; }, 2), (std::vector<Index>{0, 1, 2, 3}));
}

TEST(Schedules, AFunctionOfTheEpochInAWarmup) {
  const auto epochs = [](const Custom& custom) { return Warmup{.schedule = custom, .steps = 2, .per = Per::epoch}; };
  EXPECT_EQ(asked_by_fits(epochs, 2), (std::vector<Index>{0, 0, 0, 1}));
  const auto steps = [](const Custom& custom) { return Warmup{.schedule = custom, .steps = 4}; };
  EXPECT_EQ(asked_by_fits(steps, 2), (std::vector<Index>{0, 0, 1, 2, 3}));  // the warmup ends within epoch 1
}

TEST(Schedules, FillGivesTheRatesOfAtOneByOne) {
  const auto custom = [](Per per) { return Custom{[](Index t) { return 1.0 / static_cast<double>(t + 1); }, per}; };
  for (const Per outer : {Per::step, Per::epoch}) {
    for (const Per inner : {Per::step, Per::epoch}) {
      for (const LearningRate& rate :
           {LearningRate(custom(inner)), LearningRate(Cosine{1.0, 9, 0.1, inner}),
            LearningRate(Warmup{custom(inner), 5, outer}),
            LearningRate(Sequential{{0.1, custom(inner), Warmup{custom(inner), 2, inner}}, {4, 7}, outer})}) {
        for (const Index epoch : {0, 3, 7}) {
          std::vector<double> rates(11);
          rate.fill(2, epoch, rates);
          for (Index i = 0; i < 11; ++i) EXPECT_EQ(rates[static_cast<std::size_t>(i)], rate.at(2 + i, epoch));
        }
      }
    }
  }
}

TEST(Schedules, AFunctionIsAskedForTheRatesOfAnEpochBeforeIt) {
  Line line;
  std::vector<Index> asked;
  const auto rate = [&](Index t) { return asked.push_back(t), 0.01 * static_cast<double>(t + 1); };
  Trainer<double> trainer(line.model, {.loss = MeanSquaredError{}, .optimizer = SGD{.learning_rate = Custom{rate}}});
  std::vector<std::size_t> asked_by_then;
  FitOptions<double> options{.epochs = 2, .batch_size = 2};
  options.on_epoch = [&](const EpochResult&) { return asked_by_then.push_back(asked.size()), true; };
  const History history = trainer.fit(line.samples(), line.targets(), options);
  EXPECT_EQ(asked, (std::vector<Index>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(asked_by_then, (std::vector<std::size_t>{3, 6}));
  EXPECT_EQ(history.learning_rate, (std::vector<double>{0.03, 0.06}));
  trainer.set_learning_rate(Custom{[](Index t) { return t == 7 ? -1.0 : 0.1; }});
  const double before = line.weight();
  EXPECT_THROW(trainer.fit(line.samples(), line.targets(), options), ValueError);
  EXPECT_EQ(line.weight(), before);
}

TEST(Schedules, TheRateCanBeSetInBetween) {
  Line line;
  Trainer<double> trainer(line.model, {.loss = MeanSquaredError{}, .optimizer = SGD{0.1}});
  const double start = line.weight();
  trainer.step(line.samples(), line.targets());
  trainer.set_learning_rate(0.2);
  trainer.step(line.samples(), line.targets());
  EXPECT_NEAR(line.weight(), start * 0.8 * 0.6, 1e-14);
  EXPECT_THROW(trainer.set_learning_rate(-0.1), ValueError);
}

}  // namespace
}  // namespace stoop
