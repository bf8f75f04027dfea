// What a Trainer<T> does where a callback stops it, calls it, throws, or changes the model.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include <stoop/error.hpp>
#include <stoop/trainer.hpp>

#include "test_helpers.hpp"

namespace stoop {
namespace {

template <class T>
class TrainingCallbacks : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(TrainingCallbacks, ElementTypes);

template <class T>
Model<T> small_model(Activation activation = Tanh{}) {
  return Model<T>({.input_dim = 4, .layers = {Dense{9, activation}, Dense{3}}, .seed = 2});
}

TYPED_TEST(TrainingCallbacks, OnEpochSeesEachEpochAndStops) {
  using T = TypeParam;
  const Samples<T> samples(30, 4, 3);
  Model<T> model = small_model<T>();
  Trainer<T> trainer(model);
  std::vector<Index> epochs;
  std::vector<double> losses;
  FitOptions<T> options{.epochs = 10, .batch_size = 8};
  options.on_epoch = [&](const EpochResult& result) {
    epochs.push_back(result.epoch);
    losses.push_back(result.loss);
    EXPECT_GT(result.seconds, 0.0);
    EXPECT_GT(result.grad_norm, 0.0);
    return result.epoch < 2;
  };
  const History history = trainer.fit(samples.x(), samples.classes, options);
  EXPECT_EQ(epochs, (std::vector<Index>{0, 1, 2}));
  EXPECT_EQ(history.loss, losses);
  EXPECT_EQ(history.stop_reason, StopReason::callback);
  EXPECT_EQ(trainer.epoch(), 3);
}

// The rows of the epochs before are there, and on_epoch finds its own.
TYPED_TEST(TrainingCallbacks, HistoryIsKeptWhereFitThrows) {
  using T = TypeParam;
  const Samples<T> samples(30, 4, 3);
  Model<T> model = small_model<T>();
  Trainer<T> trainer(model);
  const History& history = trainer.history();
  FitOptions<T> options{.epochs = 10, .batch_size = 8};
  options.on_epoch = [&](const EpochResult& result) {
    EXPECT_EQ(history.epochs.back(), result.epoch);
    EXPECT_EQ(history.loss.back(), result.loss);
    if (result.epoch == 2) model.parameter_block()[0] = std::numeric_limits<T>::quiet_NaN();
    return true;
  };
  EXPECT_THROW(trainer.fit(samples.x(), samples.classes, options), NonFiniteLossError);
  EXPECT_EQ(history.epochs, (std::vector<Index>{0, 1, 2}));
  EXPECT_EQ(history.loss.size(), 3u);
}

// One fit whose on_epoch trains on other samples is as many fits of one epoch with that training between them.
TYPED_TEST(TrainingCallbacks, OnEpochMayCallTheTrainer) {
  using T = TypeParam;
  const Samples<T> samples(30, 4, 3), more(64, 4, 3, 7), fewer(11, 4, 3, 8);
  const LearningRate schedule = schedules::Exponential{.lr = 0.1, .decay = 0.9};
  const TrainerConfig configs[] = {{.optimizer = SGD{.learning_rate = schedule, .momentum = 0.9}},
                                   {.optimizer = Adam{.learning_rate = schedule}, .clip_norm = 1.0, .ema = 0.9},
                                   {.optimizer = Adam{}, .accumulate = 2},
                                   {.optimizer = LBFGS{}},
                                   {.optimizer = NewtonCG{}}};
  for (const TrainerConfig& config : configs) {
    const bool full_batch = is_full_batch(config.optimizer);
    const std::function<void(Trainer<T>&, Model<T>&)> calls[] = {
        [&](Trainer<T>& t, Model<T>&) { t.step(more.x(), more.classes); },
        [&](Trainer<T>& t, Model<T>&) { t.step(fewer.x(), fewer.classes); },
        [&](Trainer<T>& t, Model<T>&) {
          t.fit(fewer.x(), fewer.classes, {.epochs = 2, .batch_size = full_batch ? 11 : 3});
        },
        [&](Trainer<T>& t, Model<T>&) { t.fit(more.x(), more.classes, {.batch_size = 64}); },
        [](Trainer<T>&, Model<T>& m) {
          for (T& v : m.parameter_block()) v *= T(0.5);
        },
        [](Trainer<T>&, Model<T>& m) { m = small_model<T>(); }};
    for (const auto& call : calls) {
      Model<T> model = small_model<T>(), twin = small_model<T>();
      Trainer<T> trainer(model, config), separate(twin, config);
      FitOptions<T> options{.epochs = 3, .batch_size = full_batch ? 30 : 8};
      options.on_epoch = [&](const EpochResult&) { return call(trainer, model), true; };
      const History history = trainer.fit(samples.x(), samples.classes, options);
      std::vector<double> losses;
      for (int i = 0; i < 3; ++i) {
        losses.push_back(separate.fit(samples.x(), samples.classes, {.batch_size = options.batch_size}).loss[0]);
        call(separate, twin);
      }
      EXPECT_EQ(history.loss, losses) << name_of(config.optimizer);
      EXPECT_TRUE(same_bits<T>(model.parameter_block(), twin.parameter_block())) << name_of(config.optimizer);
      EXPECT_EQ(trainer.steps(), separate.steps());
    }
  }
}

TYPED_TEST(TrainingCallbacks, OnEpochMayNotLeaveTheModelUnfitForTheNextEpoch) {
  using T = TypeParam;
  const Samples<T> samples(30, 4, 3);
  Model<T> model = small_model<T>();
  Trainer<T> trainer(model, {.ema = 0.9});
  FitOptions<T> options{.epochs = 2};
  options.on_epoch = [&](const EpochResult&) { return trainer.swap_ema(), true; };
  EXPECT_THROW(trainer.fit(samples.x(), samples.classes, options), ValueError);
  trainer.swap_ema();
  options.on_epoch = [&](const EpochResult&) { return model = small_model<T>(ReLU{}), true; };
  EXPECT_THROW(trainer.fit(samples.x(), samples.classes, options), ValueError);
  model = small_model<T>();
  options.on_epoch = [&](const EpochResult&) { return model = small_model<T>(), true; };
  EXPECT_EQ(trainer.fit(samples.x(), samples.classes, options).loss.size(), 2u);
}

// An epoch is one update here, so a stop after any of them is one at the end of an epoch.
TYPED_TEST(TrainingCallbacks, AStopAtTheEndOfAnEpochLeavesItInTheHistory) {
  using T = TypeParam;
  const Samples<T> samples(20, 4, 3);
  for (const bool validated : {false, true}) {
    for (const Optimizer& optimizer : {Optimizer{SGD{}}, Optimizer{LBFGS{}}}) {
      Model<T> model = small_model<T>();
      Trainer<T> trainer(model, {.optimizer = optimizer});
      FitOptions<T> options{.epochs = 1 << 30, .batch_size = 20};
      if (validated) options.validation_x = samples.x();
      options.validation_y = samples.classes;
      bool asked = false;
      const auto start = std::chrono::steady_clock::now();
      options.on_progress = [&](const Progress&) {
        asked = true;
        return Next::stop;
      };
      std::size_t seen = 0;
      options.on_epoch = [&](const EpochResult& result) {
        EXPECT_EQ(static_cast<Index>(++seen), result.epoch + 1);
        return std::chrono::steady_clock::now() - start < std::chrono::seconds(5);
      };
      const History history = trainer.fit(samples.x(), samples.classes, options);
      EXPECT_TRUE(asked) << "not in 5 s";
      EXPECT_EQ(history.loss.size(), seen);
      EXPECT_EQ(history.val_loss.size(), validated ? seen : 0);
      EXPECT_EQ(trainer.epoch(), static_cast<Index>(seen));
      EXPECT_EQ(trainer.steps(), trainer.epoch());
    }
  }
}

// Also where each epoch is shorter than the interval of 50 ms at which on_progress is asked.
TYPED_TEST(TrainingCallbacks, OnProgressStopsAtAStep) {
  using T = TypeParam;
  for (const Index rows : {20, 400000}) {
    const Samples<T> samples(rows, 4, 3);
    Model<T> model = small_model<T>();
    Trainer<T> trainer(model);
    Progress seen;
    const auto start = std::chrono::steady_clock::now();
    FitOptions<T> options{.epochs = 1 << 30, .batch_size = 1};
    options.on_progress = [&](const Progress& progress) {
      seen = progress;
      return Next::stop;
    };
    options.on_epoch = [&](const EpochResult&) {
      return std::chrono::steady_clock::now() - start < std::chrono::seconds(5);
    };
    EXPECT_EQ(trainer.fit(samples.x(), samples.classes, options).stop_reason, StopReason::interrupted);
    EXPECT_EQ(seen.samples, rows) << "on_progress was not asked in 5 s";
    EXPECT_EQ(trainer.steps(), seen.epoch * rows + seen.samples_done);
  }
}

}  // namespace
}  // namespace stoop
