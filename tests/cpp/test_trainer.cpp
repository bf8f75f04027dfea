// Trainer<T>: learning, gradients against differences, what stops a run and in which state it leaves the model.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <numeric>

#include <stoop/error.hpp>
#include <stoop/gradcheck.hpp>
#include <stoop/trainer.hpp>

#include "test_helpers.hpp"

namespace stoop {
namespace {

template <class T>
class Training : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Training, ElementTypes);

const Loss kLosses[] = {SoftmaxCrossEntropy{}, MeanSquaredError{}};
const Activation kEachActivation[] = {Identity{}, ReLU{}, LeakyReLU{0.1}, Tanh{}, Sigmoid{}};

template <class T>
Model<T> small_model(Activation activation = Tanh{}) {
  return Model<T>({.input_dim = 4, .layers = {Dense{9, activation}, Dense{3}}, .seed = 2});
}

// ---- learning ----

TYPED_TEST(Training, FitLearnsClassesAndValues) {
  using T = TypeParam;
  const Samples<T> samples(90, 4, 3);
  const Optimizer optimizers[] = {SGD{.learning_rate = 0.1}, SGD{.learning_rate = 0.03, .momentum = 0.9},
                                  SGD{.learning_rate = 0.03, .momentum = 0.9, .nesterov = true},
                                  Adam{.learning_rate = 0.02}};
  for (const Loss& loss : kLosses) {
    for (const Optimizer& optimizer : optimizers) {
      Model<T> model = small_model<T>();
      Trainer<T> trainer(model, {.loss = loss, .optimizer = optimizer});
      const History history = trainer.fit(samples.x(), samples.y(loss), {.epochs = 40, .batch_size = 16});
      ASSERT_EQ(history.loss.size(), 40u);
      const Metrics metrics = trainer.evaluate(samples.x(), samples.y(loss));
      EXPECT_LT(history.loss.back(), 0.9 * history.loss.front()) << name_of(optimizer);
      EXPECT_LT(metrics.loss, 0.9 * history.loss.front());
      EXPECT_TRUE(metrics.accuracy > 0.9 || !takes_classes(kind_of(loss))) << metrics.accuracy;
    }
  }
}

TYPED_TEST(Training, ALinearModelFindsTheLine) {
  using T = TypeParam;
  const std::vector<T> x = numbers<T>(200, 3);
  std::vector<T> y(100);
  for (std::size_t i = 0; i < 100; ++i) y[i] = 2 * x[2 * i] - 3 * x[2 * i + 1] + T(0.5);
  Model<T> model({.input_dim = 2, .layers = {Dense{1}}});
  Trainer<T> trainer(model, {.loss = MeanSquaredError{}, .optimizer = SGD{.learning_rate = 0.5}});
  trainer.fit(matrix(x.data(), 100, 2), matrix<const T>(y.data(), 100, 1), {.epochs = 200, .batch_size = 100});
  EXPECT_NEAR(model.parameter("0.weight").data[0], 2.0, 1e-4);
  EXPECT_NEAR(model.parameter("0.weight").data[1], -3.0, 1e-4);
  EXPECT_NEAR(model.parameter("0.bias").data[0], 0.5, 1e-4);
}

TYPED_TEST(Training, HistoryAndEvaluationAgree) {
  using T = TypeParam;
  const Samples<T> samples(30, 4, 3), other(17, 4, 3, 9);
  for (const Loss& loss : kLosses) {
    Model<T> model = small_model<T>();
    Trainer<T> trainer(model, {.loss = loss, .optimizer = SGD{.learning_rate = 0.25}, .l2 = 0.1});
    const Metrics before = trainer.evaluate(samples.x(), samples.y(loss));
    FitOptions<T> options{.epochs = 3, .batch_size = 1000};
    options.validation_x = other.x();
    options.validation_y = other.y(loss);
    const History history = trainer.fit(samples.x(), samples.y(loss), options);
    // One batch holds all samples: its loss before the update is that of the evaluation.
    EXPECT_NEAR(history.loss[0], before.loss, 20 * kEpsilon<T> * before.loss);
    EXPECT_EQ(history.val_loss.size(), 3u);
    EXPECT_EQ(history.val_loss.back(), trainer.evaluate(other.x(), other.y(loss)).loss);
    EXPECT_EQ(history.learning_rate, std::vector<double>(3, 0.25));
    const bool classes = takes_classes(kind_of(loss));
    EXPECT_EQ(history.accuracy.size(), classes ? 3u : 0u);
    EXPECT_EQ(history.val_accuracy.size(), classes ? 3u : 0u);
    EXPECT_EQ(std::isnan(before.accuracy), !classes);
    EXPECT_TRUE(!classes || history.accuracy.at(0) == before.accuracy);
    EXPECT_EQ(trainer.epoch(), 3);
    EXPECT_EQ(trainer.steps(), 3);
  }
}

// The objective is the mean over samples, so a short last batch counts by its rows.
TYPED_TEST(Training, APartialLastBatchIsWeightedByItsRows) {
  using T = TypeParam;
  const Samples<T> samples(10, 4, 3);
  Model<T> model = small_model<T>();
  Trainer<T> trainer(model, {.optimizer = SGD{.learning_rate = 0.0}});
  const double all = trainer.evaluate(samples.x(), samples.classes).loss;
  const History history = trainer.fit(samples.x(), samples.classes, {.batch_size = 4});
  EXPECT_EQ(trainer.steps(), 3);
  EXPECT_NEAR(history.loss[0], all, 10 * kEpsilon<T> * all);
}

// The rows that do not fill a batch: 3 of 11, in batches of 4.
TYPED_TEST(Training, TheLastBatchIsKeptDroppedOrMerged) {
  using T = TypeParam;
  const Samples<T> samples(11, 4, 3);
  struct Case {
    LastBatch last_batch;
    std::vector<Index> ends;
  };
  for (const Case& expected :
       {Case{LastBatch::keep, {4, 8, 11}}, {LastBatch::drop, {4, 8}}, {LastBatch::merge, {4, 11}}}) {
    Model<T> model = small_model<T>(), stepwise = small_model<T>();
    Trainer<T> trainer(model), other(stepwise);
    trainer.fit(samples.x(), samples.classes, {.batch_size = 4, .shuffle = false, .last_batch = expected.last_batch});
    Index begin = 0;
    for (const Index end : expected.ends) {
      const auto rows = static_cast<std::size_t>(end - begin);
      other.step(matrix(samples.features.data() + begin * 4, end - begin, 4),
                 std::span(samples.classes).subspan(static_cast<std::size_t>(begin), rows));
      begin = end;
    }
    EXPECT_EQ(trainer.steps(), other.steps());
    EXPECT_TRUE(same_bits<T>(model.parameter_block(), stepwise.parameter_block()));
  }
}

TYPED_TEST(Training, RowsMayLieApart) {
  using T = TypeParam;
  const Samples<T> samples(50, 4, 3);
  std::vector<T> spread(50 * 7, kNaN<T>);
  for (std::size_t i = 0; i < 50; ++i)
    std::copy_n(samples.features.begin() + static_cast<std::ptrdiff_t>(i * 4), 4,
                spread.begin() + static_cast<std::ptrdiff_t>(i * 7));
  Model<T> model = small_model<T>(), apart = small_model<T>();
  Trainer<T>(model).fit(samples.x(), samples.classes, {.epochs = 2, .batch_size = 8});
  Trainer<T>(apart).fit({spread.data(), 50, 4, 7}, samples.classes, {.epochs = 2, .batch_size = 8});
  EXPECT_TRUE(same_bits<T>(model.parameter_block(), apart.parameter_block()));
}

// ---- the same training by other calls ----

TYPED_TEST(Training, FitWithoutShufflingIsASequenceOfSteps) {
  using T = TypeParam;
  const Samples<T> samples(45, 4, 3);
  for (const Loss& loss : kLosses) {
    for (const Optimizer& optimizer : {Optimizer{SGD{.momentum = 0.9}}, Optimizer{SGD{}}, Optimizer{Adam{}}}) {
      const TrainerConfig config{.loss = loss, .optimizer = optimizer, .l2 = 0.01};
      Model<T> fitted = small_model<T>(), stepped = small_model<T>();
      Trainer<T> fits(fitted, config), steps(stepped, config);
      const History history = fits.fit(samples.x(), samples.y(loss), {.epochs = 1, .batch_size = 8, .shuffle = false});
      double loss_sum = 0.0;
      for (Index start = 0; start < 45; start += 8) {
        const Index rows = std::min<Index>(8, 45 - start);
        Targets<T> y(
            std::span(samples.classes).subspan(static_cast<std::size_t>(start), static_cast<std::size_t>(rows)));
        if (!takes_classes(kind_of(loss))) y = Targets<T>(matrix(samples.values.data() + start * 3, rows, 3));
        loss_sum += steps.step(matrix(samples.features.data() + start * 4, rows, 4), y) * static_cast<double>(rows);
      }
      EXPECT_TRUE(same_bits<T>(fitted.parameter_block(), stepped.parameter_block())) << name_of(optimizer);
      EXPECT_NEAR(history.loss[0], loss_sum / 45.0, 1e-12 * loss_sum);
      EXPECT_EQ(fits.steps(), steps.steps());
    }
  }
}

TYPED_TEST(Training, FitGoesOnFromWhereItIs) {
  using T = TypeParam;
  const Samples<T> samples(45, 4, 3);
  Model<T> once = small_model<T>(), twice = small_model<T>();
  Trainer<T> one(once), two(twice);
  const History all = one.fit(samples.x(), samples.classes, {.epochs = 5, .batch_size = 8});
  const History first = two.fit(samples.x(), samples.classes, {.epochs = 2, .batch_size = 8});
  const History second = two.fit(samples.x(), samples.classes, {.epochs = 3, .batch_size = 8});
  EXPECT_TRUE(same_bits<T>(once.parameter_block(), twice.parameter_block()));
  EXPECT_EQ(all.loss[1], first.loss[1]);
  EXPECT_EQ(all.loss[4], second.loss[2]);
  EXPECT_EQ(one.epoch(), two.epoch());
}

TYPED_TEST(Training, TheSeedDecidesTheOrderAndShufflingChangesIt) {
  using T = TypeParam;
  const Samples<T> samples(45, 4, 3);
  const auto trained = [&](std::uint64_t seed, bool shuffled) {
    Model<T> model = small_model<T>();
    Trainer<T> trainer(model, {.seed = seed});
    trainer.fit(samples.x(), samples.classes, {.batch_size = 8, .shuffle = shuffled});
    return parameters_of(model);
  };
  EXPECT_EQ(trained(1, true), trained(1, true));
  EXPECT_NE(trained(1, true), trained(2, true));
  EXPECT_NE(trained(1, true), trained(1, false));
}

TYPED_TEST(Training, LossAndGradUpdatesNothing) {
  using T = TypeParam;
  const Samples<T> samples(20, 4, 3);
  Model<T> model = small_model<T>();
  Trainer<T> trainer(model, {.optimizer = SGD{.learning_rate = 0.5}, .l2 = 0.1});
  const std::vector<T> before = parameters_of(model);
  std::vector<T> gradient(before.size());
  const double loss = trainer.loss_and_grad(samples.x(), samples.classes, gradient);
  EXPECT_EQ(parameters_of(model), before);
  EXPECT_EQ(trainer.steps(), 0);
  EXPECT_EQ(trainer.step(samples.x(), samples.classes), loss);
  for (const ParameterInfo& info : model.parameter_infos()) {
    for (Index i = info.offset; i < info.offset + info.rows * info.cols; ++i) {
      const std::size_t at = static_cast<std::size_t>(i);
      ASSERT_NEAR(model.parameter_block()[at], before[at] - T(0.5) * gradient[at], 2 * kEpsilon<T>) << info.name;
    }
  }
}

// ---- gradients ----

TEST(Gradcheck, EveryActivationAndLossWithL2) {
  const Samples<double> samples(12, 4, 3);
  for (const Activation& activation : kEachActivation) {
    for (const Loss& loss : kLosses) {
      Model<double> model({.input_dim = 4, .layers = {Dense{6, activation}, Dense{5}, Dense{3}}, .seed = 4});
      // The activation as a layer: before and behind everything, and on top of another.
      std::vector<Layer> layers = {Dense{6, Tanh{}}, Dense{.units = 5, .use_bias = false}, Dense{3}};
      std::visit(
          [&](auto layer) {
            layers.insert(layers.begin() + 1, layer), layers.insert(layers.begin(), layer), layers.push_back(layer);
          },
          activation);
      Model<double> stacked({.input_dim = 4, .layers = layers, .seed = 5});
      for (const Model<double>* checked : {&model, &stacked}) {
        const std::vector<double> before = parameters_of(*checked);
        const GradcheckResult result = gradcheck(*checked, loss, samples.x(), samples.y(loss), {.l1 = 0.02, .l2 = 0.1});
        EXPECT_TRUE(result.passed);
        EXPECT_LT(result.relative_error, 1e-7) << name_of(kind_of(activation)) << ", " << name_of(kind_of(loss));
        EXPECT_EQ(result.per_parameter.size(), checked->parameter_infos().size());
        for (const ParameterCheck& check : result.per_parameter) EXPECT_LT(check.relative_error, 1e-6) << check.name;
        EXPECT_EQ(parameters_of(*checked), before);
      }
    }
  }
}

TEST(Gradcheck, SeesAGradientThatIsWrong) {
  // relu has no derivative at 0, and all of this model's sums are 0: one side differs from the other.
  const Samples<double> samples(6, 4, 3);
  const Model<double> model(
      {.input_dim = 4, .layers = {Dense{.units = 5, .activation = ReLU{}, .kernel_init = Initializer{}}, Dense{3}}});
  EXPECT_FALSE(gradcheck(model, SoftmaxCrossEntropy{}, samples.x(), samples.classes).passed);
  EXPECT_THROW(gradcheck(model, SoftmaxCrossEntropy{}, samples.x(), samples.classes, {.eps = 0.0}), ValueError);
}

TEST(Losses, OfEachSampleAddUpToThatOfAll) {
  const Samples<double> samples(300, 4, 3);
  Model<double> model = small_model<double>();
  Trainer<double> trainer(model, {.num_threads = 2});
  std::vector<double> losses(300);
  trainer.losses(samples.x(), samples.classes, losses);
  const double mean = std::accumulate(losses.begin(), losses.end(), 0.0) / 300.0;
  std::vector<double> same(300);
  const Metrics metrics = trainer.evaluate(samples.x(), samples.classes, {}, same);
  EXPECT_NEAR(metrics.loss, mean, 1e-12);
  EXPECT_EQ(losses, same);
  EXPECT_THROW(trainer.losses(samples.x(), samples.classes, std::span(losses).first(5)), ValueError);
}

}  // namespace
}  // namespace stoop
