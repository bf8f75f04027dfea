// What Trainer<T> refuses before it changes anything, and the state in which a non-finite loss leaves the model.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>

#include <stoop/error.hpp>
#include <stoop/trainer.hpp>

#include "test_helpers.hpp"

namespace stoop {
namespace {

template <class T>
class TrainingErrors : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(TrainingErrors, ElementTypes);

template <class T>
Model<T> small_model() {
  return Model<T>({.input_dim = 4, .layers = {Dense{9, ReLU{}}, Dense{3}}, .seed = 2});
}

TYPED_TEST(TrainingErrors, BadSettingsAreRefused) {
  using T = TypeParam;
  Model<T> model = small_model<T>();
  const TrainerConfig bad[] = {
      {.l2 = -1.0},
      {.l2 = NAN},
      {.num_threads = -1},
      {.optimizer = SGD{.learning_rate = -0.1}},
      {.optimizer = SGD{.learning_rate = NAN}},
      {.optimizer = SGD{.momentum = -0.5}},
      {.optimizer = Adam{.beta1 = 1.0}},
      {.optimizer = Adam{.beta2 = -0.1}},
      {.optimizer = Adam{.learning_rate = HUGE_VAL}},
  };
  for (const TrainerConfig& config : bad) EXPECT_THROW(Trainer<T>(model, config), ValueError);
}

// Makes a call that must fail: the model, the counters and what comes after must be as if it had not been made.
template <class T, class Error>
void expect_no_effect(const Loss& loss, const std::function<void(Trainer<T>&)>& call, const std::string& part) {
  const Samples<T> samples(20, 4, 3);
  Model<T> model = small_model<T>(), twin = small_model<T>();
  Trainer<T> trainer(model, {.loss = loss}), undisturbed(twin, {.loss = loss});
  trainer.fit(samples.x(), samples.y(loss), {.batch_size = 8});
  undisturbed.fit(samples.x(), samples.y(loss), {.batch_size = 8});
  const std::vector<T> before = parameters_of(model);
  try {
    call(trainer);
    ADD_FAILURE() << "not refused: " << part;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_EQ(error.what()[0], '[');
  }
  EXPECT_TRUE(same_bits<T>(parameters_of(model), before)) << part;
  EXPECT_EQ(trainer.steps(), undisturbed.steps());
  EXPECT_EQ(trainer.epoch(), undisturbed.epoch());
  trainer.fit(samples.x(), samples.y(loss), {.batch_size = 8});
  undisturbed.fit(samples.x(), samples.y(loss), {.batch_size = 8});
  EXPECT_TRUE(same_bits<T>(model.parameter_block(), twin.parameter_block())) << part;
}

// Every public call with these samples.
template <class T, class Error>
void expect_refused(const Loss& loss, MatrixView<const T> x, const Targets<T>& y, const std::string& part) {
  std::vector<T> gradient(small_model<T>().parameter_block().size());
  const Samples<T> good(6, 4, 3);
  FitOptions<T> validated;
  validated.validation_x = x;
  validated.validation_y = y;
  expect_no_effect<T, Error>(loss, [&](Trainer<T>& t) { t.fit(x, y); }, part);
  expect_no_effect<T, Error>(loss, [&](Trainer<T>& t) { t.fit(good.x(), good.y(loss), validated); }, part);
  expect_no_effect<T, Error>(loss, [&](Trainer<T>& t) { t.step(x, y); }, part);
  expect_no_effect<T, Error>(loss, [&](Trainer<T>& t) { t.loss_and_grad(x, y, gradient); }, part);
  expect_no_effect<T, Error>(loss, [&](Trainer<T>& t) { t.evaluate(x, y); }, part);
}

TYPED_TEST(TrainingErrors, BadSamplesChangeNothing) {
  using T = TypeParam;
  const Loss softmax = SoftmaxCrossEntropy{}, mse = MeanSquaredError{};
  const Samples<T> samples(6, 4, 3);
  const Targets<T> y(samples.classes);
  const T* data = samples.features.data();
  expect_refused<T, ValueError>(softmax, matrix(data, 6, 3), y, "expected (n_samples, 4)");
  expect_refused<T, ValueError>(softmax, {data, 6, 4, 3}, y, "X");
  expect_refused<T, ValueError>(softmax, matrix(data, 0, 4), Targets<T>(std::span<const std::int32_t>{}), "empty");
  expect_refused<T, ValueError>(softmax, matrix(data, 5, 4), y, "y has 6 rows and X 5");
  for (const T bad : {kNaN<T>, kInfinity<T>, -kInfinity<T>}) {
    Samples<T> spoiled = samples;
    spoiled.features[4 * 4 + 2] = bad;
    spoiled.values[2 * 3 + 1] = bad;
    expect_refused<T, ValueError>(
        softmax, spoiled.x(), y,
        "X has " + std::string(std::isnan(bad) ? "NaN" : "an infinity") + " at row 4, column 2");
    expect_refused<T, ValueError>(mse, samples.x(), spoiled.y(mse), "at row 2, column 1");
  }
}

TYPED_TEST(TrainingErrors, BadTargetsChangeNothing) {
  using T = TypeParam;
  const Loss softmax = SoftmaxCrossEntropy{}, mse = MeanSquaredError{};
  const Samples<T> samples(6, 4, 3);
  for (const std::int32_t bad : {-1, 3, 1 << 30}) {
    std::vector<std::int32_t> classes = samples.classes;
    classes[5] = bad;
    expect_refused<T, ValueError>(softmax, samples.x(), classes, "class " + std::to_string(bad) + " at row 5");
  }
  expect_refused<T, ValueError>(softmax, samples.x(), samples.y(mse), "expected probabilities from 0 to 1");
  expect_refused<T, TypeError>(mse, samples.x(), samples.y(softmax), "mse takes values");
  expect_refused<T, ValueError>(softmax, samples.x(), Targets<T>{}, "y has 0 rows");
  expect_refused<T, TypeError>(mse, samples.x(), Targets<T>{}, "mse takes values");
  expect_refused<T, ValueError>(mse, samples.x(), matrix(samples.values.data(), 6, 2), "expected (6, 3)");
  expect_refused<T, ValueError>(mse, samples.x(), matrix(samples.values.data(), 5, 3), "y has 5 rows and X 6");
}

TYPED_TEST(TrainingErrors, BadOptionsChangeNothing) {
  using T = TypeParam;
  const Samples<T> samples(6, 4, 3);
  const Loss loss = SoftmaxCrossEntropy{};
  for (const Index bad : {0, -3}) {
    expect_no_effect<T, ValueError>(
        loss, [&](Trainer<T>& t) { t.fit(samples.x(), samples.classes, {.epochs = bad}); }, "epochs=");
    expect_no_effect<T, ValueError>(
        loss, [&](Trainer<T>& t) { t.fit(samples.x(), samples.classes, {.batch_size = bad}); }, "batch_size=");
  }
  std::vector<T> gradient(3);
  expect_no_effect<T, ValueError>(
      loss, [&](Trainer<T>& t) { t.loss_and_grad(samples.x(), samples.classes, gradient); }, "gradient has 3 elements");
}

// As many parameters, of the same names and shapes.
TYPED_TEST(TrainingErrors, AModelThatWasGivenOtherLayersIsRefused) {
  using T = TypeParam;
  const Samples<T> samples(20, 4, 3);
  const std::vector<Layer> layers = {Dense{9, ReLU{}}, BatchNorm{}, Residual{{Dense{9, ELU{0.5}}}}, Dense{3}};
  std::vector<std::vector<Layer>> others(5, layers);
  std::get<Dense>(others[0][0]).activation = Tanh{};
  std::get<BatchNorm>(others[1][1]).eps = 1e-3;
  std::get<Residual>(others[2][2]).layers = {Dense{9, ELU{0.25}}};
  std::get<Dense>(others[3][3]).l2 = 0.1;
  others[4].insert(others[4].begin() + 3, Dropout{0.5});
  Model<T> model({.input_dim = 4, .layers = layers});
  Trainer<T> trainer(model);
  std::vector<T> gradient(model.parameter_block().size());
  trainer.step(samples.x(), samples.classes);
  for (const auto& other : others) {
    model = Model<T>({.input_dim = 4, .layers = other, .seed = 7});
    EXPECT_THROW(trainer.step(samples.x(), samples.classes), ValueError);
    EXPECT_THROW(trainer.fit(samples.x(), samples.classes), ValueError);
    EXPECT_THROW(trainer.evaluate(samples.x(), samples.classes), ValueError);
    EXPECT_THROW(trainer.loss_and_grad(samples.x(), samples.classes, gradient), ValueError);
  }
  model = Model<T>({.input_dim = 4, .layers = layers, .seed = 7});
  EXPECT_TRUE(std::isfinite(trainer.step(samples.x(), samples.classes)));
}

TYPED_TEST(TrainingErrors, AnEpsOfANormalisationThatIsZeroIsRefused) {
  using T = TypeParam;
  const double least = static_cast<double>(std::numeric_limits<T>::min());
  for (const double eps : {least / 2, 0.0, HUGE_VAL}) {
    EXPECT_THROW(Model<T>({.input_dim = 4, .layers = {BatchNorm{.eps = eps}, Dense{3}}}), ValueError) << eps;
    EXPECT_THROW(Model<T>({.input_dim = 4, .layers = {Residual{{LayerNorm{.eps = eps}}}, Dense{3}}}), ValueError);
  }
  EXPECT_NO_THROW(Model<T>({.input_dim = 4, .layers = {BatchNorm{.eps = least}, LayerNorm{.eps = least}, Dense{3}}}));
}

// ---- non-finite losses ----

// Samples so large that the outputs overflow at once.
template <class T>
Samples<T> overflowing() {
  Samples<T> samples(20, 4, 3);
  for (T& v : samples.features) v *= std::numeric_limits<T>::max() / 8;
  return samples;
}

TYPED_TEST(TrainingErrors, AnOverflowInTheFirstStepKeepsEveryBit) {
  using T = TypeParam;
  const Samples<T> samples = overflowing<T>();
  for (const bool step : {false, true}) {
    Model<T> model = small_model<T>();
    for (T& v : model.parameter_block()) v *= 100;
    const std::vector<T> before = parameters_of(model);
    Trainer<T> trainer(model);
    try {
      step ? void(trainer.step(samples.x(), samples.classes)) : void(trainer.fit(samples.x(), samples.classes));
      ADD_FAILURE() << "not noticed";
    } catch (const NonFiniteLossError& error) {
      EXPECT_EQ(error.step, 0);
      EXPECT_EQ(error.epoch, 0);
      EXPECT_FALSE(error.cause.empty());
      EXPECT_EQ(error.layer.rfind("layer ", 0), 0U) << error.layer;
    }
    EXPECT_TRUE(same_bits<T>(parameters_of(model), before)) << (step ? "step" : "fit");
    EXPECT_EQ(trainer.steps(), 0);
  }
}

TYPED_TEST(TrainingErrors, FitKeepsTheUpdatesBeforeTheOneThatFails) {
  using T = TypeParam;
  constexpr Index kBatch = 4, kGood = 3 * kBatch;
  Samples<T> samples(20, 4, 3);
  std::fill(samples.features.begin() + kGood * 4, samples.features.end(), std::numeric_limits<T>::max());
  for (const int threads : {1, 2}) {
    Model<T> model = small_model<T>(), twin = small_model<T>();
    Trainer<T> trainer(model, {.num_threads = threads}), until_then(twin);
    try {
      trainer.fit(samples.x(), samples.classes, {.batch_size = kBatch, .shuffle = false});
      ADD_FAILURE() << "not noticed";
    } catch (const NonFiniteLossError& error) {
      EXPECT_EQ(error.step, 3);
      EXPECT_EQ(error.epoch, 0);
    }
    const Samples<T>& all = samples;
    const FitOptions<T> options{.batch_size = kBatch, .shuffle = false};
    until_then.fit(matrix(all.features.data(), kGood, 4), std::span(all.classes).first(kGood), options);
    EXPECT_TRUE(same_bits<T>(model.parameter_block(), twin.parameter_block())) << threads << " threads";
    EXPECT_EQ(trainer.steps(), 3);
  }
}

template <class T>
bool all_finite(const std::vector<T>& values) {
  return std::all_of(values.begin(), values.end(), [](T v) { return std::isfinite(v); });
}

// One training that may end with a NonFiniteLossError; the numbers it leaves are usable either way.
template <class T>
void expect_usable_after(const std::vector<Layer>& layers, const TrainerConfig& config, bool must_raise) {
  const Samples<T> samples(64, 4, 3);
  Model<T> model({.input_dim = 4, .layers = layers, .seed = 2});
  Trainer<T> trainer(model, config);
  bool raised = false;
  try {
    const History history = trainer.fit(samples.x(), samples.y(config.loss), {.epochs = 20, .batch_size = 8});
    EXPECT_TRUE(all_finite(history.loss)) << "a loss that is not finite was reported, not raised";
  } catch (const NonFiniteLossError& error) {
    raised = true;
    EXPECT_EQ(error.step, trainer.steps());
  }
  EXPECT_TRUE(raised || !must_raise);
  EXPECT_TRUE(all_finite(parameters_of(model))) << "parameters after " << trainer.steps() << " steps";
}

// Rates from merely too large to such that the first update overflows.
TYPED_TEST(TrainingErrors, ALearningRateThatIsTooLargeLeavesFiniteParameters) {
  using T = TypeParam;
  const std::vector<Layer> linear = {Dense{3}}, deep = {Dense{9, ReLU{}}, Dense{9, ReLU{}}, Dense{3}};
  const double largest = static_cast<double>(std::numeric_limits<T>::max());
  for (const Loss& loss : {Loss{SoftmaxCrossEntropy{}}, Loss{MeanSquaredError{}}}) {
    for (const double rate : {1e3, 1e10, 1e18, 1e30, std::sqrt(largest), largest / 1e6, largest}) {
      for (const double l2 : {0.0, 1e-3}) {
        for (const int threads : {1, 2}) {
          SCOPED_TRACE(::testing::Message()
                       << name_of(kind_of(loss)) << ", rate " << rate << ", l2 " << l2 << ", " << threads);
          const TrainerConfig config{
              .loss = loss, .optimizer = SGD{.learning_rate = rate}, .l2 = l2, .num_threads = threads};
          expect_usable_after<T>(linear, config, false);
          expect_usable_after<T>(deep, config, rate == largest);
        }
      }
    }
  }
}

TYPED_TEST(TrainingErrors, AStepThatFailsChangesNothingAndTheNextWorks) {
  using T = TypeParam;
  const Samples<T> good(20, 4, 3), bad = overflowing<T>();
  for (const Optimizer& optimizer : {Optimizer{SGD{.momentum = 0.9}}, Optimizer{Adam{}}}) {
    Model<T> model = small_model<T>(), twin = small_model<T>();
    Trainer<T> trainer(model, {.optimizer = optimizer}), undisturbed(twin, {.optimizer = optimizer});
    for (int i = 0; i < 3; ++i) {
      trainer.step(good.x(), good.classes);
      undisturbed.step(good.x(), good.classes);
      EXPECT_THROW(trainer.step(bad.x(), bad.classes), NonFiniteLossError);
      EXPECT_THROW(trainer.fit(bad.x(), bad.classes, {.batch_size = 4}), NonFiniteLossError);
    }
    EXPECT_TRUE(same_bits<T>(model.parameter_block(), twin.parameter_block()));
    EXPECT_EQ(trainer.steps(), 3);
  }
}

// Samples whose variance is infinite, so that all outputs of a batch normalisation are 0: finite, but wrong.
TYPED_TEST(TrainingErrors, RunningStatisticsThatOverflowAreNoticed) {
  using T = TypeParam;
  const Samples<T> good(20, 4, 3);
  Samples<T> bad = good;
  for (T& v : bad.features) v *= std::sqrt(std::numeric_limits<T>::max()) * 100;
  for (const Optimizer& optimizer : {Optimizer{SGD{.momentum = 0.9}}, Optimizer{Adam{}}, Optimizer{LBFGS{}}}) {
    for (const int threads : {1, 2}) {
      const auto make = [] { return Model<T>({.input_dim = 4, .layers = {BatchNorm{}, Dense{3}}, .seed = 2}); };
      Model<T> model = make(), twin = make();
      const TrainerConfig config{.optimizer = optimizer, .ema = 0.5, .num_threads = threads};
      Trainer<T> trainer(model, config), undisturbed(twin, config);
      for (int i = 0; i < 3; ++i) {
        trainer.step(good.x(), good.classes);
        undisturbed.step(good.x(), good.classes);
        EXPECT_THROW(trainer.step(bad.x(), bad.classes), NonFiniteLossError);
        EXPECT_THROW(trainer.fit(bad.x(), bad.classes, {.batch_size = 20}), NonFiniteLossError);
      }
      EXPECT_TRUE(same_bits<T>(model.parameter_block(), twin.parameter_block()));
      EXPECT_TRUE(same_bits<T>(model.buffer_block(), twin.buffer_block()));
      EXPECT_TRUE(same_bits<T>(trainer.ema_block(), undisturbed.ema_block()));
      EXPECT_EQ(trainer.steps(), 3);
    }
  }
}

TYPED_TEST(TrainingErrors, LossAndGradReportsANonFiniteLossAsItIs) {
  using T = TypeParam;
  Model<T> model = small_model<T>();
  Trainer<T> trainer(model);
  const Samples<T> samples = overflowing<T>();
  std::vector<T> gradient(model.parameter_block().size(), T(1));
  for (T& v : model.parameter_block()) v *= 100;
  EXPECT_FALSE(std::isfinite(trainer.loss_and_grad(samples.x(), samples.classes, gradient)));
  EXPECT_TRUE(std::isnan(gradient[0]));
  // A mean of squares that overflows is infinite, not NaN.
  Model<T> linear({.input_dim = 4, .layers = {Dense{3}}});
  Trainer<T> squares(linear, {.loss = MeanSquaredError{}});
  Samples<T> far(20, 4, 3);
  for (T& v : far.values) v = std::sqrt(std::numeric_limits<T>::max()) * T(16);
  gradient.assign(linear.parameter_block().size(), T(1));
  EXPECT_EQ(squares.loss_and_grad(far.x(), far.y(MeanSquaredError{}), gradient), HUGE_VAL);
  EXPECT_EQ(squares.loss_and_grad(far.x(), far.y(MeanSquaredError{}), {}), HUGE_VAL);
  EXPECT_TRUE(std::isnan(gradient[0]));
}

// Nothing is infinite there, and the error says so.
TYPED_TEST(TrainingErrors, AStepThatIsTooLongIsCalledSo) {
  using T = TypeParam;
  const Samples<T> samples(20, 4, 3);
  Model<T> model = small_model<T>();
  const double rate = static_cast<double>(std::numeric_limits<T>::max()) / 1e6;
  Trainer<T> trainer(model, {.optimizer = Adam{.learning_rate = rate}, .clip_norm = 100.0});
  for (const bool step : {false, true}) {
    try {
      step ? void(trainer.step(samples.x(), samples.classes)) : void(trainer.fit(samples.x(), samples.classes));
      ADD_FAILURE() << "not refused";
    } catch (const NonFiniteLossError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("the learning rate times the norm of the gradient is"), std::string::npos) << text;
      EXPECT_EQ(text.find("is not finite"), std::string::npos) << text;
      EXPECT_NE(error.cause.find("learning rate"), std::string::npos) << text;
    }
  }
}

}  // namespace
}  // namespace stoop
