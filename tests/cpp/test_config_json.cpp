// Configurations as JSON: exact round trips, and refusal of everything that is not exactly a configuration.
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <stoop/error.hpp>

#include "alternatives.hpp"
#include "io/config_json.hpp"

namespace stoop {
namespace {

constexpr std::uint64_t kMaxSeed = std::numeric_limits<std::uint64_t>::max();

template <class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const ValueError& error) {
    return error.what();
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

struct BadText {
  const char* text;
  const char* part;  // of the message
};

std::string with_layer(const std::string& layer) { return R"({"input_dim": 4, "layers": [)" + layer + "]}"; }

Dense dense_from(const std::string& layer) {
  return std::get<Dense>(model_config_from_json(with_layer(layer)).layers.at(0));
}

// ---- models ----

// Written only where it is false, so that files without it mean what they meant.
TEST(ModelJson, EveryLayerTakesTrainable) {
  for (const bool trainable : {true, false}) {
    std::vector<Layer> layers = each_alternative<Layer>();
    for (Layer& layer : layers) {
      std::visit([trainable](auto& l) { l.trainable = trainable; }, layer);
      if (auto* dense = std::get_if<Dense>(&layer)) dense->units = 3;
      if (auto* block = std::get_if<Residual>(&layer)) block->layers = {Dense{3}};
    }
    for (const Activation& activation : each_alternative<Activation>()) {
      Dense dense{.units = 3, .activation = activation};
      std::visit([trainable](auto& a) { a.trainable = trainable; }, dense.activation);
      layers.push_back(dense);
    }
    const std::string text = to_json(ModelConfig{.input_dim = 3, .layers = layers, .seed = 0});
    EXPECT_EQ(model_config_from_json(text).layers, layers) << text;
  }
  const ModelConfig plain{.input_dim = 3, .layers = {ReLU{}, Dropout{}, Residual{{ReLU{}}}}, .seed = 0};
  EXPECT_EQ(to_json(plain), R"({"input_dim":3,"seed":0,"layers":[{"type":"relu"},{"type":"dropout","rate":0.5},)"
                            R"({"type":"residual","layers":[{"type":"relu"}]}]})");
}

// Written only where they change something, so that files without them are read by versions that do not know them.
TEST(ModelJson, InputScalingIsLeftOutWhereItDoesNothing) {
  const ModelConfig plain{.input_dim = 3, .layers = {ReLU{}}};
  EXPECT_EQ(to_json(plain), R"({"input_dim":3,"seed":0,"layers":[{"type":"relu"}]})");
  ModelConfig scaled = plain;
  scaled.input_scale = 1.0 / 255.0;
  scaled.input_shift = -0.5;
  const ModelConfig again = model_config_from_json(to_json(scaled));
  EXPECT_EQ(again.input_scale, scaled.input_scale);
  EXPECT_EQ(again.input_shift, scaled.input_shift);
  EXPECT_EQ(model_config_from_json(to_json(plain)).input_scale, 1.0);
}

TEST(ModelJson, EveryLayerAndFieldRoundTrips) {
  Dense dense{.units = 8, .activation = LeakyReLU{0.1 + 0.2}, .use_bias = false};
  dense.kernel_init = initializers::Normal{1.0 / 3.0};
  dense.bias_init = initializers::Constant{-5e-324};
  Dense orthogonal{.units = 3};
  orthogonal.kernel_init = initializers::Orthogonal{0.5};
  const ModelConfig config{.input_dim = 4,
                           .layers = {dense, orthogonal, Identity{}, ReLU{}, LeakyReLU{1e-300}, Tanh{}, Sigmoid{}},
                           .seed = kMaxSeed};
  const ModelConfig again = model_config_from_json(to_json(config));
  EXPECT_EQ(again.input_dim, 4);
  EXPECT_EQ(again.seed, kMaxSeed);
  ASSERT_EQ(again.layers.size(), config.layers.size());
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    EXPECT_EQ(again.layers[i].index(), config.layers[i].index()) << i;
  }
  const auto& read = std::get<Dense>(again.layers[0]);
  EXPECT_EQ(read.units, 8);
  EXPECT_EQ(read.activation, dense.activation);
  EXPECT_EQ(read.use_bias, false);
  EXPECT_EQ(read.kernel_init, dense.kernel_init);
  EXPECT_EQ(std::get<Dense>(again.layers[1]).kernel_init, orthogonal.kernel_init);
  EXPECT_EQ(read.bias_init, dense.bias_init);
  EXPECT_EQ(std::get<LeakyReLU>(again.layers[4]).negative_slope, 1e-300);
  EXPECT_EQ(to_json(again), to_json(config));
}

TEST(ModelJson, TextIsTheDocumentedOne) {
  const ModelConfig config{
      .input_dim = 4, .layers = {Dense{.units = 8, .activation = ReLU{}}, LeakyReLU{}, Tanh{}}, .seed = 0};
  EXPECT_EQ(to_json(config),
            R"({"input_dim":4,"seed":0,"layers":[{"type":"dense","units":8,"activation":"relu","use_bias":null,)"
            R"("kernel_init":null,"bias_init":"zeros","trainable":true,"l1":null,"l2":null},)"
            R"({"type":"leaky_relu","negative_slope":0.01},{"type":"tanh"}]})");
}

TEST(ModelJson, LeftOutKeysMeanDefaults) {
  const Dense dense = dense_from(R"({"type": "dense", "units": 2})");
  EXPECT_EQ(kind_of(dense.activation), kind_of<Identity>());
  EXPECT_FALSE(dense.use_bias.has_value());
  EXPECT_FALSE(dense.kernel_init.has_value());
  EXPECT_EQ(dense.bias_init, Initializer(initializers::Zeros{}));
  for (const char* gain_is_one : {R"("orthogonal")", R"({"type": "orthogonal"})"}) {
    const Dense given = dense_from(R"({"type": "dense", "units": 2, "kernel_init": )" + std::string(gain_is_one) + "}");
    EXPECT_EQ(given.kernel_init, Initializer(initializers::Orthogonal{1.0}));
  }
  EXPECT_EQ(model_config_from_json(with_layer(R"({"type": "relu"})")).seed, 0u);
}

TEST(ModelJson, ActivationMayBeNameOrObject) {
  EXPECT_EQ(dense_from(R"({"type": "dense", "units": 2, "activation": "leaky_relu"})").activation,
            Activation(LeakyReLU{}));
  const Dense dense =
      dense_from(R"({"type": "dense", "units": 2, "activation": {"type": "leaky_relu", "negative_slope": 1}})");
  EXPECT_EQ(dense.activation, Activation(LeakyReLU{1.0}));
}

TEST(ModelJson, RefusesWrongTextAsAWhole) {
  const BadText cases[] = {
      {"", "[model] the text stops being JSON at byte"},
      {"{", "stops being JSON"},
      {"[]", "[model] got an array; expected an object"},
      {"null", "[model] got null"},
      {R"({"layers": []})", "the key \"input_dim\" is missing"},
      {R"({"input_dim": 4})", "the key \"layers\" is missing"},
      {R"({"input_dim": 4, "layers": [], "sed": 1})", "[model] unknown key \"sed\"; expected one of input_dim, seed, "},
      {R"({"input_dim": 4, "layers": [], "sed": 1})", "did you mean \"seed\"?"},
      {R"({"input_dim": 4, "input_dim": 5, "layers": []})", "the key \"input_dim\" is there twice"},
      {R"({"input_dim": 4, "layers": {}})", "[model.layers] got an object; expected an array"},
      {R"({"input_dim": 1e999, "layers": []})", "number that is too large"},
      {"{\"input_dim\": 4, \"layers\": [], \"\xff\": 1}", "stops being JSON"},
  };
  for (const BadText& bad : cases) {
    const std::string message = message_of([&] { model_config_from_json(bad.text); });
    EXPECT_NE(message.find(bad.part), std::string::npos) << bad.text << "\n" << message;
  }
}

TEST(ModelJson, IntegersAreRealIntegersInRange) {
  for (const char* bad : {"4.0", "4.5", "true", "\"4\"", "null", "[4]", "9223372036854775808", "1e2"}) {
    const std::string text = std::string(R"({"layers": [], "input_dim": )") + bad + "}";
    const std::string message = message_of([&] { model_config_from_json(text); });
    EXPECT_NE(message.find("[model.input_dim] got "), std::string::npos) << message;
  }
  for (const char* bad : {"-1", "18446744073709551616", "0.0", "false"}) {
    const std::string text = std::string(R"({"layers": [], "input_dim": 4, "seed": )") + bad + "}";
    const std::string message = message_of([&] { model_config_from_json(text); });
    EXPECT_NE(message.find("expected a whole number from 0 to 18446744073709551615;"), std::string::npos) << message;
  }
}

TEST(ModelJson, RefusesWrongLayersWithTheirPath) {
  const BadText cases[] = {
      {R"("relu")", "[model.layers.0] got \"relu\"; expected an object"},
      {R"({"units": 3})", "[model.layers.0] the key \"type\" is missing"},
      {R"({"type": 3})", "[model.layers.0.type] got 3; expected a string"},
      {R"({"type": "dens"})", "[model.layers.0.type] unknown layer \"dens\"; expected one of dense, identity, relu,"},
      {R"({"type": "dens"})", "did you mean \"dense\"?"},
      {R"({"type": "dense"})", "[model.layers.0] the key \"units\" is missing"},
      {R"({"type": "dense", "unit": 3})", "[model.layers.0] unknown key \"unit\"; expected one of type, units,"},
      {R"({"type": "relu", "negative_slope": 0.1})",
       "unknown key \"negative_slope\"; expected one of type, trainable;"},
      {R"({"type": "leaky_relu", "negative_slope": "a"})", "[model.layers.0.negative_slope] got \"a\"; expected a"},
      {R"({"type": "leaky_relu", "negative_slope": true})", "got true; expected a number"},
      {R"({"type": "relu"}, {"type": "dense", "units": 3, "use_bias": 1})", "[model.layers.1.use_bias] got 1;"},
      {R"({"type": "dense", "units": 3, "activation": "rellu"})", "[model.layers.0.activation] unknown activation"},
      {R"({"type": "dense", "units": 3, "activation": null})", "[model.layers.0.activation] got null; expected a name"},
      {R"({"type": "dense", "units": 3, "activation": {"type": "dense", "units": 3}})", "unknown activation \"dense\""},
      {R"({"type": "dense", "units": 3, "kernel_init": "he"})", "[model.layers.0.kernel_init] unknown initializer"},
      {R"({"type": "dense", "units": 3, "kernel_init": "normal"})", "normal needs a value"},
      {R"({"type": "dense", "units": 3, "kernel_init": {"type": "normal"}})", "the key \"value\" is missing"},
      {R"({"type": "dense", "units": 3, "kernel_init": {"type": "zeros", "value": 1}})", "unknown key \"value\""},
      {R"({"type": "dense", "units": 3, "bias_init": null})", "[model.layers.0.bias_init] got null;"},
  };
  for (const BadText& bad : cases) {
    const std::string message = message_of([&] { model_config_from_json(with_layer(bad.text)); });
    EXPECT_NE(message.find(bad.part), std::string::npos) << bad.text << "\n" << message;
  }
}

TEST(ModelJson, NestingWithoutEndIsRefused) {
  const std::string deep = with_layer(std::string(1'000'000, '[') + std::string(1'000'000, ']'));
  EXPECT_NE(message_of([&] { model_config_from_json(deep); }).find("nested too deeply"), std::string::npos);
}

TEST(ModelJson, NumbersThatJsonCannotHoldAreNotWritten) {
  const ModelConfig config{.input_dim = 4, .layers = {LeakyReLU{std::numeric_limits<double>::quiet_NaN()}}, .seed = 0};
  EXPECT_NE(message_of([&] { to_json(config); }).find("[negative_slope] it is infinite or not a number"),
            std::string::npos);
}

// ---- trainers ----

TEST(TrainerJson, EveryLossAndOptimizerRoundTrips) {
  for (const Loss& loss : each_alternative<Loss>()) {
    EXPECT_EQ(kind_of(trainer_config_from_json(to_json(TrainerConfig{.loss = loss})).loss), kind_of(loss));
  }
  for (const Optimizer& optimizer : each_alternative<Optimizer>()) {
    const std::string text = to_json(TrainerConfig{.optimizer = optimizer});
    const TrainerConfig again = trainer_config_from_json(text);
    EXPECT_EQ(again.optimizer.index(), optimizer.index()) << text;
    EXPECT_EQ(to_json(again), text);
  }
}

TEST(TrainerJson, RoundTripsExactly) {
  const SGD sgd{.learning_rate = 0.1, .momentum = 0.9, .nesterov = true, .dampening = 1e-17};
  const TrainerConfig config{
      .loss = MeanSquaredError{}, .optimizer = sgd, .l2 = 1.0 / 7.0, .num_threads = 3, .seed = kMaxSeed};
  const TrainerConfig again = trainer_config_from_json(to_json(config));
  EXPECT_EQ(kind_of(again.loss), kind_of<MeanSquaredError>());
  const auto& read = std::get<SGD>(again.optimizer);
  EXPECT_EQ(read.learning_rate(0), 0.1);
  EXPECT_EQ(read.momentum, 0.9);
  EXPECT_TRUE(read.nesterov);
  EXPECT_EQ(read.dampening, 1e-17);
  EXPECT_EQ(again.l2, 1.0 / 7.0);
  EXPECT_EQ(again.num_threads, 3);
  EXPECT_EQ(again.seed, kMaxSeed);
}

TEST(TrainerJson, AdamRoundTrips) {
  const TrainerConfig config{.optimizer = Adam{0.003, 0.8, 0.99, 1e-7}};
  const auto adam = std::get<Adam>(trainer_config_from_json(to_json(config)).optimizer);
  EXPECT_EQ(adam.learning_rate(0), 0.003);
  EXPECT_EQ(adam.beta1, 0.8);
  EXPECT_EQ(adam.beta2, 0.99);
  EXPECT_EQ(adam.eps, 1e-7);
}

TEST(TrainerJson, NamesStandForDefaults) {
  const TrainerConfig config = trainer_config_from_json(R"({"loss": "mse", "optimizer": "sgd"})");
  EXPECT_EQ(kind_of(config.loss), kind_of<MeanSquaredError>());
  EXPECT_EQ(learning_rate_of(config.optimizer), 0.01);
  EXPECT_EQ(kind_of(trainer_config_from_json(R"({"loss": {"type": "mse"}})").loss), kind_of<MeanSquaredError>());
  EXPECT_EQ(name_of(trainer_config_from_json("{}").optimizer), "adam");
}

TEST(TrainerJson, RefusesWrongValuesWithTheirPath) {
  const BadText cases[] = {
      {R"({"optimiser": "sgd"})", "[trainer] unknown key \"optimiser\""},
      {R"({"optimizer": "sdg"})",
       "[trainer.optimizer] unknown optimizer \"sdg\"; expected one of sgd, adagrad, rmsprop, adam,"},
      {R"({"optimizer": {"type": "adam", "beta_1": 0.9}})", "[trainer.optimizer] unknown key \"beta_1\""},
      {R"({"optimizer": {"type": "adam", "momentum": 0.9}})", "unknown key \"momentum\""},
      {R"({"optimizer": {"type": "sgd", "nesterov": 1}})", "[trainer.optimizer.nesterov] got 1; expected true or"},
      {R"({"loss": 3})", "[trainer.loss] got 3; expected a name or an object"},
      {R"({"l2": "0"})", "[trainer.l2] got \"0\"; expected a number"},
      {R"({"num_threads": 2147483648})", "[trainer.num_threads] got 2147483648"},
      {R"({"seed": -1})", "[trainer.seed] got -1"},
  };
  for (const BadText& bad : cases) {
    const std::string message = message_of([&] { trainer_config_from_json(bad.text); });
    EXPECT_NE(message.find(bad.part), std::string::npos) << bad.text << "\n" << message;
  }
}

TEST(LossJson, TakesNameQuotedNameOrObject) {
  for (const char* text : {"mse", "\"mse\"", R"({"type": "mse"})", R"(  {"type": "mse"})"}) {
    EXPECT_EQ(kind_of(loss_from_json(text)), kind_of<MeanSquaredError>()) << text;
  }
  EXPECT_NE(message_of([] { loss_from_json("mean"); }).find("[loss] unknown loss \"mean\""), std::string::npos);
  EXPECT_NE(message_of([] { loss_from_json("\"msee\""); }).find("did you mean \"mse\"?"), std::string::npos);
  EXPECT_THROW(loss_from_json(""), ValueError);
  EXPECT_THROW(loss_from_json("{"), ValueError);
  EXPECT_THROW(loss_from_json(R"({"type": "mse", "delta": 1})"), ValueError);
}

// ---- the header of a safetensors file ----

TEST(HeaderJson, RoundTripsInTheOrderOfTheBytes) {
  const TensorHeader header{
      .tensors = {{"z", "F32", {2, 3}, 0, 24}, {"empty", "F32", {0}, 24, 24}, {"a", "F64", {}, 24, 32}},
      .metadata = {{"k\"ey", "va\nlue \u00e9"}}};
  const TensorHeader again = tensor_header_from_json(to_json(header));
  EXPECT_EQ(again.metadata, header.metadata);
  ASSERT_EQ(again.tensors.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(again.tensors[i].name, header.tensors[i].name);
    EXPECT_EQ(again.tensors[i].dtype, header.tensors[i].dtype);
    EXPECT_EQ(again.tensors[i].shape, header.tensors[i].shape);
    EXPECT_EQ(again.tensors[i].begin, header.tensors[i].begin);
    EXPECT_EQ(again.tensors[i].end, header.tensors[i].end);
  }
}

TEST(HeaderJson, RefusesDamageAsCheckpointError) {
  const BadText cases[] = {
      {"", "[m.st] the text stops being JSON"},
      {"[]", "[m.st] got an array"},
      {R"({"w": 1})", "[m.st: \"w\"] got 1; expected an object"},
      {R"({"w": {"dtype": "F32", "shape": []}})", "the key \"data_offsets\" is missing"},
      {R"({"w": {"dtype": "F32", "shape": [-1.5], "data_offsets": [0, 4]}})", "[m.st: \"w\".shape.0] got -1.5"},
      {R"({"w": {"dtype": "F32", "shape": [], "data_offsets": [0]}})", "got 1 numbers; expected [begin, end]"},
      {R"({"w": {"dtype": 4, "shape": [], "data_offsets": [0, 4]}})", "[m.st: \"w\".dtype] got 4; expected a string"},
      {R"({"w": {"dtype": "F32", "shape": [], "data_offsets": [0, 4], "x": 1}})", "unknown key \"x\""},
      {R"({"__metadata__": {"format": 1}})", "[m.st: \"__metadata__\".\"format\"] got 1; expected a string"},
      {R"({"__metadata__": "x"})", "expected an object"},
      {R"({"w": {}, "w": {}})", "the key \"w\" is there twice"},
  };
  for (const BadText& bad : cases) {
    EXPECT_THROW(tensor_header_from_json(bad.text, "m.st"), CheckpointError) << bad.text;
    const std::string message = message_of([&] { tensor_header_from_json(bad.text, "m.st"); });
    EXPECT_NE(message.find(bad.part), std::string::npos) << bad.text << "\n" << message;
  }
}

TEST(HeaderJson, DoesNotWriteWhatItWouldNotRead) {
  const TensorHeader twice{.tensors = {{"w", "F32", {}, 0, 4}, {"w", "F32", {}, 4, 8}}, .metadata = {}};
  EXPECT_THROW(to_json(twice), ValueError);
  EXPECT_THROW(to_json(TensorHeader{.tensors = {{"__metadata__", "F32", {}, 0, 4}}, .metadata = {}}), ValueError);
  EXPECT_THROW(to_json(TensorHeader{.tensors = {{"\xff", "F32", {}, 0, 4}}, .metadata = {}}), ValueError);
  EXPECT_THROW(to_json(TensorHeader{.tensors = {}, .metadata = {{"a", "\xff"}}}), ValueError);
}

}  // namespace
}  // namespace stoop
