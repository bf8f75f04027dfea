// Training and prediction without encoded rows against the gradient with them, and the plans of both.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <stoop/trainer.hpp>

#include "plan_of.hpp"

namespace stoop {
namespace {

constexpr Index kRows = 70, kInputs = 3;

std::vector<double> drawn() {
  std::vector<double> x;
  for (Index i = 0; i < kRows * kInputs; ++i) x.push_back(std::sin(static_cast<double>(i * i)) * (i % 7 == 0 ? 50 : 1));
  for (Index i = 0; i < kRows; ++i) x[static_cast<std::size_t>(i * kInputs + 1)] = static_cast<double>(i % 6 - 1);
  return x;
}

ModelConfig encoded_model(std::vector<Layer> layers) {
  layers.insert(layers.begin(), Columns{.categories = {{1, 4}}, .bins = {20}});
  return {.input_dim = kInputs, .layers = std::move(layers), .seed = 3};
}

std::vector<Layer> members_and_dense() { return {Members{.k = 3}, Dense{9, Tanh{}}, MemberDense{.units = 2}}; }

TEST(EncodedProduct, AnUpdateFollowsTheGradientOfEncodedRows) {
  const std::vector<double> x = drawn();
  std::vector<std::int32_t> y;
  for (Index i = 0; i < kRows; ++i) y.push_back(static_cast<std::int32_t>(i % 2));
  const MatrixView<const double> samples = matrix(x.data(), kRows, kInputs);
  for (const std::vector<Layer>& layers : {members_and_dense(), {Dense{7, ReLU{}}, Dense{2}}, {Dense{2}}}) {
    for (const int threads : {1, 3}) {
      Model<double> model(encoded_model(layers));
      model.adapt(samples);
      Trainer<double> trainer(model, {.optimizer = SGD{0.5}, .l2 = 0.1, .num_threads = threads});
      for (int update = 0; update < 3; ++update) {
        std::vector<double> gradient(model.parameter_block().size());
        const double loss = trainer.loss_and_grad(samples, y, gradient);
        std::vector<double> expected(model.parameter_block().begin(), model.parameter_block().end());
        for (std::size_t i = 0; i < expected.size(); ++i) expected[i] -= 0.5 * gradient[i];
        if (model.members() == 1) {
          EXPECT_NEAR(trainer.evaluate(samples, y).loss, loss, 1e-12);
        }
        if (update == 1) {
          EXPECT_NEAR(trainer.step(samples, y), loss, 1e-12);
        } else {
          trainer.fit(samples, y, {.epochs = 1, .batch_size = kRows, .shuffle = false});
        }
        for (std::size_t i = 0; i < expected.size(); ++i) {
          ASSERT_NEAR(model.parameter_block()[i], expected[i], 1e-12) << i << " after update " << update;
        }
      }
    }
  }
}

TEST(EncodedProduct, PlansOfTrainingAndPredictionHaveNoEncodedRows) {
  const auto text = [](std::vector<Layer> layers, PlanKind kind) {
    const Model<double> model(encoded_model(std::move(layers)));
    return describe(plan_of(model, kind, kind_of<SoftmaxCrossEntropy>(), 32));
  };
  for (const PlanKind kind : {PlanKind::training, PlanKind::checked, PlanKind::inference, PlanKind::evaluation}) {
    const std::string plan = text(members_and_dense(), kind);
    EXPECT_NE(plan.find("encoded_dense x -> h3 44x9 tanh"), std::string::npos) << plan;
    EXPECT_EQ(plan.find("  columns"), std::string::npos) << plan;
  }
  const std::string training = text(members_and_dense(), PlanKind::training);
  EXPECT_NE(training.find("= encoded_gradient by columns x -> - with d4 44x9"), std::string::npos) << training;
  EXPECT_NE(text(members_and_dense(), PlanKind::gradient).find("  columns"), std::string::npos);
  EXPECT_NE(text({Members{.k = 3, .bias = true}, Dense{9}}, PlanKind::training).find("  columns"), std::string::npos);
}

}  // namespace
}  // namespace stoop
