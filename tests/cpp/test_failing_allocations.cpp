// Memory that runs out while a model is made, predicts or is trained ends in std::bad_alloc, and the objects work on.
#include <gtest/gtest.h>

#include <string>

#include <stoop/trainer.hpp>

#include "base/memory.hpp"
#include "failing_allocations.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

constexpr Index kRows = 24, kInputs = 6, kOutputs = 3;
constexpr long kGrowth = 40;  // a fit has many allocations

ModelConfig config() {
  return {.input_dim = kInputs,
          .layers = {Normalization{}, Dense{.units = 8, .activation = Tanh{}}, BatchNorm{}, Dropout{.rate = 0.1},
                     Residual{{Dense{4, ReLU{}}, Dense{8}}}, Dense{.units = kOutputs}}};
}

Model<float> adapted_model(const Samples<float>& samples) {
  Model<float> model(config());
  model.adapt(samples.x());
  return model;
}

class FailingAllocations : public testing::Test {
 protected:
  const Samples<float> samples_{kRows, kInputs, kOutputs};
};

TEST_F(FailingAllocations, AreNoticed) {
  g_left = 0;
  EXPECT_THROW(std::string(100, 'x'), std::bad_alloc);
  g_left = 0;
  EXPECT_THROW(AlignedBuffer<float>(100), std::bad_alloc);
  g_left = kNever;
}

TEST_F(FailingAllocations, InMakingAModel) {
  fail_each([] { Model<float> model(config()); }, [](long) {});
}

// A model predicts the same after each failure.
TEST_F(FailingAllocations, InPrediction) {
  Model<float> model = adapted_model(samples_);
  const std::vector<float> wanted = predictions_of(model, samples_.x());
  std::vector<float> out(wanted.size());
  // A copy has made no plan yet.
  fail_each(
      [&] {
        const Model<float> copy = model;
        copy.predict(samples_.x(), matrix(out.data(), kRows, kOutputs));
        EXPECT_EQ(out, wanted);
      },
      [&](long n) { EXPECT_EQ(predictions_of(model, samples_.x()), wanted) << n; }, kGrowth);
}

// A fit that fails leaves finite parameters, and the trainer goes on from there.
TEST_F(FailingAllocations, InTraining) {
  for (const Optimizer& optimizer : {Optimizer{Adam{}}, Optimizer{LBFGS{.history_size = 3}}}) {
    for (const int threads : {1, 2}) {
      ModelConfig steady = config();
      steady.layers.erase(steady.layers.begin() + 3);  // LBFGS minimises what stays the same
      Model<float> model(steady);
      model.adapt(samples_.x());
      Trainer<float> trainer(model, {.optimizer = optimizer, .ema = 0.9, .num_threads = threads});
      const auto fit = [&] {
        trainer.fit(samples_.x(), samples_.y(SoftmaxCrossEntropy{}), {.epochs = 2, .batch_size = kRows});
      };
      fail_each(
          fit,
          [&](long n) {
            for (const float value : parameters_of(model)) ASSERT_TRUE(std::isfinite(value)) << n;
            fit();
          },
          kGrowth);
    }
  }
}

TEST_F(FailingAllocations, InOneFitOfATrainerThatGoesOn) {
  Model<float> model = adapted_model(samples_);
  Trainer<float> trainer(model, {.optimizer = Adam{}, .num_threads = 2});
  const Targets<float> y = samples_.y(SoftmaxCrossEntropy{});
  fail_each([&] { trainer.fit(samples_.x(), y, {.epochs = 1, .batch_size = 7}); },
            [&](long n) {
              const Index steps = trainer.state().steps;
              trainer.step(samples_.x(), y);
              EXPECT_EQ(trainer.state().steps, steps + 1) << n;
            },
            kGrowth);
}

}  // namespace
}  // namespace stoop
