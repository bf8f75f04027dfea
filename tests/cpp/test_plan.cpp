// Golden texts of plans of every kind.
#include "plan/plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <string>

#include "plan_of.hpp"

namespace stoop {
namespace {

// Activations of their own before the first and after an activated layer, one that is fused, and a layer without bias.
Model<float> small_model() {
  return Model<float>({.input_dim = 5,
                       .layers = {ReLU{}, Dense{.units = 40, .activation = ReLU{}}, Tanh{}, Dense{.units = 7},
                                  Sigmoid{}, Identity{}, Dense{.units = 3, .use_bias = false}}});
}

std::string joined(std::initializer_list<const char*> parts) {
  std::string text;
  for (const char* part : parts) text += part;
  return text;
}

std::string text_of(PlanKind kind, LossKind loss) { return describe(plan_of(small_model(), kind, loss, 20)); }

TEST(PlanText, Inference) {
  EXPECT_EQ(text_of(PlanKind::inference, kind_of<MeanSquaredError>()), R"(inference of 20 rows, 7680 bytes
  x 5 (stride 16) external
  h1 5 (stride 16) at 3840, alive 0..1
  h2 40 (stride 48) at 0, alive 1..2
  h4 40 (stride 48) at 3840, alive 2..3
  h5 7 (stride 16) at 0, alive 3..4
  h7 3 (stride 16) external
  activation x -> h1 5x5 relu
  dense h1 -> h2 5x40 relu
  activation h2 -> h4 40x40 tanh
  dense h4 -> h5 40x7 sigmoid
  dense h5 -> h7 7x3
)");
}

TEST(PlanText, Evaluation) {
  EXPECT_EQ(text_of(PlanKind::evaluation, kind_of<MeanSquaredError>()), R"(evaluation of 20 rows, 7680 bytes
  x 5 (stride 16) external
  h1 5 (stride 16) at 3840, alive 0..1
  h2 40 (stride 48) at 0, alive 1..2
  h4 40 (stride 48) at 3840, alive 2..3
  h5 7 (stride 16) at 0, alive 3..4
  h7 3 (stride 16) at 1280, alive 4..5
  activation x -> h1 5x5 relu
  dense h1 -> h2 5x40 relu
  activation h2 -> h4 40x40 tanh
  dense h4 -> h5 40x7 sigmoid
  dense h5 -> h7 7x3
  loss h7 -> -
)");
}

TEST(PlanText, TrainingWithValuesAsTargets) {
  EXPECT_EQ(text_of(PlanKind::training, kind_of<MeanSquaredError>()), R"(training of 20 rows, 20480 bytes
  x 5 (stride 16) at 11520, alive 0..11
  h1 5 (stride 16) at 12800, alive 0..11
  h2 40 (stride 48) at 0, alive 0..11
  h4 40 (stride 48) at 3840, alive 0..11
  h5 7 (stride 16) at 14080, alive 0..11
  h7 3 (stride 16) at 15360, alive 0..11
  y 3 (stride 16) at 16640, alive 0..11
  d_out 3 (stride 16) at 17920, alive 0..11
  d6 7 (stride 16) at 19200, alive 0..11
  d4 40 (stride 48) at 7680, alive 0..11
  gather - -> x
  activation x -> h1 5x5 relu
  dense h1 -> h2 5x40 relu
  activation h2 -> h4 40x40 tanh
  dense h4 -> h5 40x7 sigmoid
  dense h5 -> h7 7x3
  gather_targets - -> y
  loss h7 -> d_out
  input_gradient d_out -> d6 with h5 7x3 sigmoid
  input_gradient d6 -> d4 with h4 40x7 tanh
  activation_gradient - -> d4 with h2 5x40 relu
= check_loss
  weight_gradient d_out -> - with h5 7x3 by 4/7 then update
  weight_gradient d6 -> - with h4 40x7 by 8/40 then update
  bias_gradient d6 -> - 40x7 by 7/7 then update
  weight_gradient d4 -> - with h1 5x40 by 4/5 then update
  bias_gradient d4 -> - 5x40 by 40/40 then update
)");
}

// The steps up to check_loss, buffers included, which all kinds of training with classes share.
const char* const kUpToLoss = R"( of 20 rows, 19200 bytes
  x 5 (stride 16) at 11520, alive 0..10
  h1 5 (stride 16) at 12800, alive 0..10
  h2 40 (stride 48) at 0, alive 0..10
  h4 40 (stride 48) at 3840, alive 0..10
  h5 7 (stride 16) at 14080, alive 0..10
  h7 3 (stride 16) at 15360, alive 0..10
  d_out 3 (stride 16) at 16640, alive 0..10
  d6 7 (stride 16) at 17920, alive 0..10
  d4 40 (stride 48) at 7680, alive 0..10
  gather - -> x
  activation x -> h1 5x5 relu
  dense h1 -> h2 5x40 relu
  activation h2 -> h4 40x40 tanh
  dense h4 -> h5 40x7 sigmoid
  dense h5 -> h7 7x3
  loss h7 -> d_out
  input_gradient d_out -> d6 with h5 7x3 sigmoid
  input_gradient d6 -> d4 with h4 40x7 tanh
  activation_gradient - -> d4 with h2 5x40 relu
= check_loss
)";

const char* const kGradients = R"(  weight_gradient d_out -> - with h5 7x3 by 4/7 then regularize
  weight_gradient d6 -> - with h4 40x7 by 8/40 then regularize
  bias_gradient d6 -> - 40x7 by 7/7 then regularize
  weight_gradient d4 -> - with h1 5x40 by 4/5 then regularize
  bias_gradient d4 -> - 5x40 by 40/40 then regularize
)";

TEST(PlanText, Gradient) {
  EXPECT_EQ(text_of(PlanKind::gradient, kind_of<SoftmaxCrossEntropy>()), joined({"gradient", kUpToLoss, kGradients}));
}

TEST(PlanText, CheckedTraining) {
  EXPECT_EQ(text_of(PlanKind::checked, kind_of<SoftmaxCrossEntropy>()),
            joined({"checked", kUpToLoss, kGradients, R"(= check_gradient
  update_parameter - -> - 7x3 by 4/7 then update
  update_parameter - -> - 40x7 by 8/40 then update
  update_parameter - -> - 40x7 by 7/7 then update
  update_parameter - -> - 5x40 by 4/5 then update
  update_parameter - -> - 5x40 by 40/40 then update
)"}));
}

TEST(PlanText, OneLayer) {
  const Model<double> model({.input_dim = 512, .layers = {Dense{.units = 2, .activation = Tanh{}}}});
  EXPECT_EQ(describe(plan_of(model, PlanKind::training, kind_of<MeanSquaredError>(), 9)),
            R"(training of 9 rows, 39168 bytes
  x 512 (stride 520) at 0, alive 0..5
  h1 2 (stride 8) at 37440, alive 0..5
  y 2 (stride 8) at 38016, alive 0..5
  d_out 2 (stride 8) at 38592, alive 0..5
  gather - -> x
  dense x -> h1 512x2 tanh
  gather_targets - -> y
  loss h1 -> d_out
  activation_gradient - -> d_out with h1 512x2 tanh
= check_loss
  weight_gradient d_out -> - with x 512x2 by 32/512 then update
  bias_gradient d_out -> - 512x2 by 2/2 then update
)");
}

std::string steps_of(const Plan& plan) {
  const std::string text = describe(plan);
  return text.substr(text.find("  gather"));
}

// No gradient goes to the batch normalisation, but its running statistics follow the batch.
TEST(PlanText, FrozenBatchNormFirst) {
  const Model<double> model({.input_dim = 3, .layers = {BatchNorm{.trainable = false}, Dense{2}}});
  EXPECT_EQ(steps_of(plan_of(model, PlanKind::training, kind_of<MeanSquaredError>(), 9)), R"(  gather - -> x
  batch_moments x -> - 3x3
= batch_norm x -> h1 3x3
  dense h1 -> h2 3x2
  gather_targets - -> y
  loss h2 -> d_out
= check_loss
  weight_gradient d_out -> - with h1 3x2 by 3/3 then update
  bias_gradient d_out -> - 3x2 by 2/2 then update
  update_statistics - -> - 3x3 by 3/3
)");
}

// A dropout is done with the product before it (+), backward with the one after it. It overwrites what it drops, unless
// the derivative needs more than a sign; of two in a row the second stands apart.
TEST(PlanText, DropoutBetweenDenses) {
  const Model<float> model(
      {.input_dim = 2,
       .layers = {Dense{16, ReLU{}}, Dropout{0.5}, Dense{8, Tanh{}}, Dropout{0.5}, Dense{4}, Dropout{0.1}, Dropout{0.2},
                  BatchNorm{}, Dense{7}, GELU{}, Dropout{0.5}, Dense{3}}});
  const std::string steps = steps_of(plan_of(model, PlanKind::gradient, kind_of<SoftmaxCrossEntropy>(), 20));
  EXPECT_EQ(steps.substr(0, steps.find("= check_loss")), R"(  gather - -> x
  dense x -> h1 2x16 relu
+ dropout h1 -> h1 16x16
  dense h1 -> h4 16x8 tanh
+ dropout h4 -> h6 8x8
  dense h6 -> h7 8x4
+ dropout h7 -> h7 4x4
  dropout h7 -> h7 4x4
  batch_moments h7 -> - 4x4
= batch_norm h7 -> h10 4x4
  dense h10 -> h11 4x7
  activation h11 -> h12 7x7 gelu
  dropout h12 -> h12 7x7
  dense h12 -> h14 7x3
  loss h14 -> d_out
  input_gradient d_out -> d13 7x3
+ dropout_gradient - -> d13 7x7
  activation_gradient - -> d13 with h11 7x7 gelu
= input_gradient d13 -> d10 4x7
+ batch_sums h7 -> - with d10 4x4
= batch_norm_gradient h7 -> d10 4x4
  dropout_gradient - -> d10 4x4
  dropout_gradient - -> d10 4x4
  input_gradient d10 -> d6 with h4 8x4 tanh
+ dropout_gradient - -> d6 8x8
  input_gradient d6 -> d3 with h1 16x8 relu
+ dropout_gradient - -> d3 16x16
)");
}

// The sums of a batch normalisation are taken with the products (+), one barrier each for those of all rows; one more
// for the statistics of the last, which the thread with the first rows has written.
TEST(PlanText, BatchNormBetweenDenses) {
  const Model<float> model(
      {.input_dim = 2,
       .layers = {Dense{16}, BatchNorm{}, ReLU{}, Dropout{0.5}, Dense{16}, BatchNorm{}, LeakyReLU{}, Dense{3}}});
  const Plan plan = plan_of(model, PlanKind::training, kind_of<SoftmaxCrossEntropy>(), 300);
  EXPECT_EQ(steps_of(plan), R"(  gather - -> x
  dense x -> h1 2x16
+ batch_moments h1 -> - 16x16
= batch_norm h1 -> h2 16x16 relu
  dropout h2 -> h2 16x16
  dense h2 -> h5 16x16
+ batch_moments h5 -> - 16x16
= batch_norm h5 -> h6 16x16 leaky_relu
  dense h6 -> h8 16x3
  loss h8 -> d_out
= input_gradient d_out -> d7 16x3
+ batch_sums h5 -> - with d7 16x16 leaky_relu
= batch_norm_gradient h5 -> d7 16x16 leaky_relu
  input_gradient d7 -> d4 16x16
+ dropout_gradient - -> d4 16x16
+ batch_sums h1 -> - with d4 16x16 relu
= batch_norm_gradient h1 -> d4 16x16 relu
= check_loss
  weight_gradient d_out -> - with h6 16x3 by 4/16 then update
  bias_gradient d_out -> - 16x3 by 3/3 then update
  stored_gradient sums6 -> - 16x16 by 16/16 then update
  stored_gradient sums6 -> - 16x16 by 16/16 then update
  weight_gradient d7 -> - with h2 16x16 by 4/16 then update
  stored_gradient sums2 -> - 16x16 by 16/16 then update
  stored_gradient sums2 -> - 16x16 by 16/16 then update
  weight_gradient d4 -> - with x 2x16 by 2/2 then update
  update_statistics - -> - 16x16 by 16/16
  update_statistics - -> - 16x16 by 16/16
)");
  for (const Buffer& buffer : plan.buffers) {  // 300 rows are 13 groups of 24, but 128 would be 16 of 8
    const Index sums = buffer.name.starts_with("moments") ? kMomentSums : kGradientSums;
    const bool is_sums = buffer.name.starts_with("moments") || buffer.name.starts_with("gradients");
    EXPECT_TRUE(!is_sums || buffer.rows == 16 * sums) << buffer.name << " " << buffer.rows;
  }
}

// A weight larger than the rows that go in and out is not read by every thread; what follows takes the cut along.
TEST(PlanText, LargeWeightsByColumns) {
  const Model<float> model(
      {.input_dim = 256, .layers = {Dense{256}, BatchNorm{}, Tanh{}, Dense{256}, ReLU{}, Dense{3}}});
  EXPECT_EQ(steps_of(plan_of(model, PlanKind::gradient, kind_of<SoftmaxCrossEntropy>(), 120)), R"(  gather - -> x
= dense by columns x -> h1 256x256
+ batch_moments by columns h1 -> - 256x256
  batch_norm by columns h1 -> h2 256x256
  activation by columns h2 -> h3 256x256 tanh
= dense by columns h3 -> h4 256x256 relu
= dense h4 -> h6 256x3
  loss h6 -> d_out
  input_gradient d_out -> d5 with h4 256x3 relu
= input_gradient by columns d5 -> d3 with h3 256x256 tanh
  batch_sums by columns h1 -> - with d3 256x256
  batch_norm_gradient by columns h1 -> d3 256x256
= check_loss
  weight_gradient d_out -> - with h4 256x3 by 16/256 then regularize
  bias_gradient d_out -> - 256x3 by 3/3 then regularize
  weight_gradient d5 -> - with h3 256x256 by 16/256 then regularize
  bias_gradient d5 -> - 256x256 by 64/256 then regularize
  stored_gradient sums2 -> - 256x256 by 64/256 then regularize
  stored_gradient sums2 -> - 256x256 by 64/256 then regularize
  weight_gradient d3 -> - with x 256x256 by 16/256 then regularize
)");
  const Plan many = plan_of(model, PlanKind::gradient, kind_of<SoftmaxCrossEntropy>(), 128);
  EXPECT_TRUE(std::none_of(many.steps.begin(), many.steps.end(), [](const Step& s) { return s.cut == Cut::columns; }));
}

}  // namespace
}  // namespace stoop
