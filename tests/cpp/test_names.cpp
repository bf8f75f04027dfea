// Names, kinds and ranges of layers, losses and optimizers.
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <stoop/error.hpp>
#include <stoop/layers.hpp>
#include <stoop/losses.hpp>
#include <stoop/optimizers.hpp>
#include <stoop/trainer.hpp>

#include "spec/activations.hpp"
#include "spec/losses.hpp"
#include "spec/optimizers.hpp"

namespace stoop {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const ValueError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

void expect_refused(const Optimizer& optimizer, std::string_view part) {
  const std::string message = message_of([&] { validate(optimizer); });
  EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
}

TEST(Names, ActivationNamesAndKindsMatchTheVariant) {
  EXPECT_TRUE(std::holds_alternative<Identity>(activation_from_name("identity")));
  EXPECT_TRUE(std::holds_alternative<ReLU>(activation_from_name("relu")));
  EXPECT_TRUE(std::holds_alternative<LeakyReLU>(activation_from_name("leaky_relu")));
  EXPECT_TRUE(std::holds_alternative<Tanh>(activation_from_name("tanh")));
  EXPECT_TRUE(std::holds_alternative<Sigmoid>(activation_from_name("sigmoid")));
  EXPECT_EQ(kind_of(Activation(Tanh{})), kind_of<Tanh>());
  for_each_alternative<Activation>([]<class Op>(TypeOf<Op>) {
    EXPECT_EQ(name_of(kind_of<Op>()), Spec<Op>::kName);
    EXPECT_EQ(activation_from_name(Spec<Op>::kName), Activation(Op{}));
  });
}

TEST(Names, LastBatches) {
  EXPECT_EQ(last_batch_from_name("keep"), LastBatch::keep);
  EXPECT_EQ(last_batch_from_name("drop"), LastBatch::drop);
  EXPECT_EQ(last_batch_from_name("merge"), LastBatch::merge);
  EXPECT_NE(message_of([] { last_batch_from_name("marge"); }).find("did you mean \"merge\"?"), std::string::npos);
}

TEST(Names, InitializersRoundTrip) {
  const std::vector<std::string_view> names = {"zeros",     "ones",           "constant",      "normal",
                                               "uniform",   "glorot_uniform", "glorot_normal", "he_uniform",
                                               "he_normal", "lecun_uniform",  "lecun_normal",  "orthogonal"};
  std::size_t i = 0;
  for_each_alternative<Initializer>([&]<class Op>(TypeOf<Op>) {
    EXPECT_EQ(name_of(Initializer(Op{})), names[i]);
    EXPECT_EQ(initializer_from_name(names[i++]), Initializer(Op{}));
  });
  EXPECT_EQ(i, names.size());
}

TEST(Names, LossesAndOptimizersRoundTrip) {
  EXPECT_TRUE(std::holds_alternative<SoftmaxCrossEntropy>(loss_from_name("softmax_cross_entropy")));
  EXPECT_TRUE(std::holds_alternative<MeanSquaredError>(loss_from_name("mse")));
  EXPECT_TRUE(std::holds_alternative<SGD>(optimizer_from_name("sgd")));
  EXPECT_TRUE(std::holds_alternative<Adam>(optimizer_from_name("adam")));
  EXPECT_EQ(name_of(kind_of(Loss(MeanSquaredError{}))), "mse");
  for_each_alternative<Optimizer>([]<class Op>(TypeOf<Op>) {
    EXPECT_EQ(name_of(Optimizer(Op{})), Spec<Op>::kName);
    EXPECT_TRUE(std::holds_alternative<Op>(optimizer_from_name(Spec<Op>::kName)));
  });
  for_each_alternative<Loss>([]<class Op>(TypeOf<Op>) {
    EXPECT_EQ(name_of(kind_of<Op>()), Spec<Op>::kName);
    EXPECT_TRUE(std::holds_alternative<Op>(loss_from_name(Spec<Op>::kName)));
  });
  EXPECT_EQ(name_of(RMSProp{}), "rmsprop");
}

TEST(Names, UnknownNamesAreRefusedWithTheNearest) {
  EXPECT_NE(message_of([] { activation_from_name("sigmoyd", "Dense"); }).find("[Dense] unknown activation \"sigmoyd\""),
            std::string::npos);
  EXPECT_NE(message_of([] { activation_from_name("sigmoyd"); }).find("did you mean \"sigmoid\"?"), std::string::npos);
  EXPECT_NE(message_of([] { initializer_from_name("he_norm"); }).find("did you mean \"he_normal\"?"),
            std::string::npos);
  EXPECT_NE(message_of([] { loss_from_name("softmax_crossentropy"); }).find("did you mean \"softmax_cross_entropy\"?"),
            std::string::npos);
  EXPECT_NE(message_of([] { optimizer_from_name("adamm"); }).find("did you mean \"adam\"?"), std::string::npos);
  EXPECT_THROW(activation_from_name(""), ValueError);
  EXPECT_THROW(activation_from_name("relu "), ValueError);
}

TEST(Names, PropertiesOfActivations) {
  EXPECT_EQ(activation_from_name("leaky_relu"), Activation(LeakyReLU{0.01}));
  EXPECT_TRUE(is_relu_like(kind_of<ReLU>()));
  EXPECT_TRUE(is_relu_like(kind_of<LeakyReLU>()));
  EXPECT_FALSE(is_relu_like(kind_of<Tanh>()));
  EXPECT_FALSE(is_relu_like(kind_of<Identity>()));
}

TEST(Names, OnlyADenseLayerIsNoActivation) {
  EXPECT_FALSE(as_activation(Dense{3}).has_value());
  const std::optional<Activation> leaky = as_activation(LeakyReLU{0.3});
  ASSERT_TRUE(leaky.has_value());
  EXPECT_EQ(kind_of(*leaky), kind_of<LeakyReLU>());
  EXPECT_EQ(std::get<LeakyReLU>(*leaky).negative_slope, 0.3);
  EXPECT_EQ(kind_of(as_activation(Identity{}).value()), kind_of<Identity>());
}

TEST(Names, PropertiesOfLossesAndOptimizers) {
  EXPECT_TRUE(takes_classes(kind_of<SoftmaxCrossEntropy>()));
  EXPECT_FALSE(takes_classes(kind_of<MeanSquaredError>()));
  EXPECT_EQ(state_count(SGD{}), 0);
  EXPECT_EQ(state_count(SGD{.momentum = 0.9}), 1);
  EXPECT_EQ(state_count(Adam{}), 2);
  EXPECT_EQ(learning_rate_of(SGD{.learning_rate = 0.25}), 0.25);
  EXPECT_EQ(learning_rate_of(Adam{}), 0.001);
}

TEST(Validate, AcceptsDefaultsAndLimits) {
  EXPECT_NO_THROW(validate(SGD{}));
  EXPECT_NO_THROW(validate(Adam{}));
  EXPECT_NO_THROW(validate(SGD{.learning_rate = 0.0, .momentum = 0.999, .dampening = 1.0}));
  EXPECT_NO_THROW(validate(SGD{.momentum = 0.9, .nesterov = true}));
  EXPECT_NO_THROW(validate(Adam{.beta1 = 0.0, .beta2 = 0.0}));
}

TEST(Validate, RefusesWhatIsOutOfRange) {
  for (const double rate : {-0.1, kNaN, kInfinity}) {
    expect_refused(SGD{.learning_rate = rate}, "[SGD] learning_rate is ");
    expect_refused(Adam{.learning_rate = rate}, "[Adam] learning_rate is ");
  }
  for (const double value : {-0.1, 1.0, kNaN}) {
    expect_refused(SGD{.momentum = value}, "[SGD] momentum is ");
    expect_refused(Adam{.beta1 = value}, "[Adam] beta1 is ");
    expect_refused(Adam{.beta2 = value}, "[Adam] beta2 is ");
    expect_refused(AdamW{.beta1 = value}, "[AdamW] beta1 is ");
    expect_refused(Nadam{.beta2 = value}, "[Nadam] beta2 is ");
    expect_refused(Lion{.beta1 = value}, "[Lion] beta1 is ");
    expect_refused(RMSProp{.rho = value}, "[RMSProp] rho is ");
    expect_refused(RMSProp{.momentum = value}, "[RMSProp] momentum is ");
  }
  for (const double value : {-0.1, 1.1, kNaN}) expect_refused(SGD{.dampening = value}, "[SGD] dampening is ");
  for (const double value : {0.0, -1e-8, kNaN, kInfinity}) expect_refused(Adam{.eps = value}, "[Adam] eps is ");
  expect_refused(AdaGrad{.eps = 0.0}, "[AdaGrad] eps is 0");
  expect_refused(AdamW{.weight_decay = -0.1}, "[AdamW] weight_decay is -0.1");
  expect_refused(Lion{.weight_decay = kNaN}, "[Lion] weight_decay is nan");
  expect_refused(Nadam{.momentum_decay = -1.0}, "[Nadam] momentum_decay is -1");
}

TEST(Validate, NesterovNeedsMomentumAndNoDampening) {
  expect_refused(SGD{.nesterov = true}, "expected momentum > 0");
  expect_refused(SGD{.momentum = 0.9, .nesterov = true, .dampening = 0.5}, "expected dampening == 0");
}

TEST(Validate, ShowsTheValueInItsShortestForm) {
  expect_refused(SGD{.learning_rate = -0.1}, "learning_rate is -0.1; expected a finite number, at least 0;");
}

}  // namespace
}  // namespace stoop
