// What a model says about its outputs, and what of a trainer can be taken out, put back and changed while it lives.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>

#include <stoop/error.hpp>
#include <stoop/gradcheck.hpp>
#include <stoop/optimizer_step.hpp>
#include <stoop/trainer.hpp>

#include "io/config_json.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

template <class T>
class Outputs : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Outputs, ElementTypes);

const ClassNames kAnimals{.names = {"bird", "cat", "dog"}};

ModelConfig config_of(Index outputs) {
  return {.input_dim = 4, .layers = {Dense{9, Tanh{}}, Dense{outputs}}, .seed = 2};
}

// A callable that must throw ValueError with `part` in its message.
template <class Call>
void expect_refused(const Call& call, const std::string& part) {
  try {
    call();
    ADD_FAILURE() << "not refused: " << part;
  } catch (const ValueError& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(OutputJson, IsLeftOutWhereNothingIsKnown) {
  ModelConfig config{.input_dim = 3, .layers = {ReLU{}}};
  EXPECT_EQ(to_json(config), R"({"input_dim":3,"seed":0,"layers":[{"type":"relu"}]})");
  config.output = OutputKind::sigmoid;
  config.classes = ClassNames{.names = {"-1", "0", "1"}, .dtype = "int8"};
  const std::string text = to_json(config);
  EXPECT_EQ(text, R"({"input_dim":3,"seed":0,"layers":[{"type":"relu"}],"output":"sigmoid",)"
                  R"("classes":{"dtype":"int8","names":["-1","0","1"]}})");
  const ModelConfig again = model_config_from_json(text);
  EXPECT_EQ(again.output, config.output);
  EXPECT_EQ(again.classes, config.classes);
  EXPECT_EQ(to_json(again), text);
}

TYPED_TEST(Outputs, NamesThatDoNotFitAreRefused) {
  using T = TypeParam;
  const auto refuse = [](Index outputs, const ClassNames& classes, const std::string& part) {
    ModelConfig config = config_of(outputs);
    config.classes = classes;
    expect_refused([&] { Model<T> model(config); }, part);
    Model<T> model(config_of(outputs));
    expect_refused([&] { model.set_classes(classes); }, part);
    EXPECT_FALSE(model.config().classes);
  };
  refuse(3, {.names = {"a", "b"}}, "2 names for 3 outputs");
  refuse(1, {.names = {"a"}}, "1 names for 1 output");
  refuse(2, {.names = {"a", "a"}}, "twice");
  refuse(2, {.names = {"1", "b"}, .dtype = "int64"}, "\"b\" is no int64");
  refuse(2, {.names = {"1", "300"}, .dtype = "uint8"}, "\"300\" is no uint8");
  refuse(2, {.names = {"-1", "1"}, .dtype = "uint64"}, "\"-1\" is no uint64");
  refuse(2, {.names = {"1", "1.5"}, .dtype = "float64"}, "\"1.5\" is no float64");
  refuse(2, {.names = {"no", "True"}, .dtype = "bool"}, "\"no\" is no bool");
  refuse(2, {.names = {"a", "b"}, .dtype = "text"}, "unknown dtype of classes \"text\"");
  Model<T> one(config_of(1));
  one.set_classes(ClassNames{.names = {"False", "True"}, .dtype = "bool"});
  EXPECT_EQ(one.config().classes->names[1], "True");
  expect_refused([&] { one.set_output(OutputKind::softmax); }, "sigmoid");
}

TYPED_TEST(Outputs, TrainingSetsTheOutputUnlessItWasGiven) {
  using T = TypeParam;
  const Samples<T> samples(20, 4, 3);
  Model<T> model(config_of(3)), given(config_of(3));
  given.set_output(OutputKind::softmax);
  const Loss losses[] = {MeanSquaredError{}, SoftmaxCrossEntropy{}};
  for (const Loss& loss : losses) {
    Trainer<T> trainer(model, {.loss = loss}), other(given, {.loss = loss});
    trainer.evaluate(samples.x(), samples.y(loss));
    trainer.fit(samples.x(), samples.y(loss), {});
    other.step(samples.x(), samples.y(loss));
    EXPECT_EQ(model.config().output, output_of(kind_of(loss)));
    EXPECT_EQ(given.config().output, OutputKind::softmax);
  }
}

TYPED_TEST(Outputs, AFileKeepsOutputAndNames) {
  using T = TypeParam;
  const auto path = std::filesystem::temp_directory_path() / ("stoop_outputs_" + std::to_string(sizeof(T)));
  const Samples<T> samples(20, 4, 3);
  Model<T> model(config_of(3));
  model.set_classes(kAnimals);
  Trainer<T>(model, {}).step(samples.x(), samples.y(SoftmaxCrossEntropy{}));
  model.save(path);
  Model<T> loaded = Model<T>::load(path);
  std::filesystem::remove(path);
  EXPECT_EQ(loaded.config().output, OutputKind::softmax);
  EXPECT_EQ(loaded.config().classes, kAnimals);
  Trainer<T>(loaded, {.loss = MeanSquaredError{}}).step(samples.x(), samples.y(MeanSquaredError{}));
  EXPECT_EQ(loaded.config().output, OutputKind::identity);
}

TYPED_TEST(Outputs, AFileKeepsMetadata) {
  using T = TypeParam;
  const auto path = std::filesystem::temp_directory_path() / ("stoop_metadata_" + std::to_string(sizeof(T)));
  const Metadata texts = {{"table", R"({"columns": ["a \"b\"", "\u00e9"]})"}, {"", ""}};
  ModelConfig config = config_of(3);
  config.metadata = texts;
  Model<T> model(config);
  model.save(path);
  EXPECT_EQ(Model<T>::load(path).config().metadata, texts);
  Trainer<T> trainer(model, {});
  trainer.save_checkpoint(path);
  model.set_metadata({});
  trainer.load_checkpoint(path);
  std::filesystem::remove(path);
  EXPECT_EQ(model.config().metadata, texts);
  EXPECT_EQ(Model<T>(model).config().metadata, texts);
}

TYPED_TEST(Outputs, TooMuchMetadataIsRefused) {
  using T = TypeParam;
  Model<T> model(config_of(3));
  Metadata texts = {{"four", std::string(kMostMetadataBytes - 4, 'x')}};
  model.set_metadata(texts);
  texts["four"] += 'x';
  expect_refused([&] { model.set_metadata(texts); }, "expected at most 4194304");
  EXPECT_EQ(model.config().metadata.at("four").size(), kMostMetadataBytes - 4);
  ModelConfig config = config_of(3);
  config.metadata = texts;
  expect_refused([&] { Model<T> other(config); }, "4194305 bytes");
}

TYPED_TEST(Outputs, OneOutputIsRefusedForSoftmaxCrossEntropy) {
  using T = TypeParam;
  Model<T> model(config_of(1));
  expect_refused([&] { Trainer<T> trainer(model, {}); }, "binary_cross_entropy");
  Trainer<T> trainer(model, {.loss = BinaryCrossEntropy{}});
}

// Rows of targets add up to 1 to within 1e-3.
TYPED_TEST(Outputs, RowsOfProbabilitiesAddUpToOne) {
  using T = TypeParam;
  Model<T> model(config_of(3));
  Trainer<T> trainer(model, {});
  const std::vector<T> x = numbers<T>(8, 1);
  for (const double total : {0.5, 0.998, 0.9995, 1.0005, 1.002, 2.0}) {
    const std::vector<T> y(6, static_cast<T>(total / 3.0));
    const auto call = [&] { trainer.evaluate(matrix(x.data(), 2, 4), matrix<const T>(y.data(), 2, 3)); };
    if (std::abs(total - 1.0) < 1e-3) {
      EXPECT_NO_THROW(call()) << total;
    } else {
      expect_refused(call, "row 0 of y sums to");
    }
  }
}

// ---- state ----

TYPED_TEST(Outputs, ATrainerGoesOnFromAState) {
  using T = TypeParam;
  const Samples<T> samples(40, 4, 3);
  const Loss loss = SoftmaxCrossEntropy{};
  const Optimizer optimizers[] = {Adam{.learning_rate = 0.01}, SGD{.learning_rate = 0.1}, LBFGS{.history_size = 2},
                                  NewtonCG{}};
  for (const Optimizer& optimizer : optimizers) {
    const TrainerConfig config{.loss = loss, .optimizer = optimizer, .ema = 0.9, .seed = 4};
    const FitOptions<T> options{.epochs = 4, .batch_size = is_full_batch(optimizer) ? 40 : 16};
    Model<T> model(config_of(3)), other(config_of(3));
    Trainer<T> trainer(model, config), twin(other, config);
    trainer.fit(samples.x(), samples.y(loss), options);
    twin.set_state(trainer.state());
    EXPECT_EQ(twin.epoch(), trainer.epoch());
    const History expected = trainer.fit(samples.x(), samples.y(loss), options);
    const History history = twin.fit(samples.x(), samples.y(loss), options);
    EXPECT_EQ(history.loss, expected.loss) << name_of(optimizer);
    EXPECT_TRUE(same_bits<T>(parameters_of(model), parameters_of(other)));
    EXPECT_EQ(twin.state().average, trainer.state().average);
    EXPECT_EQ(twin.state().optimizer, trainer.state().optimizer);
  }
}

TYPED_TEST(Outputs, AStateOfAnotherConfigurationIsRefused) {
  using T = TypeParam;
  Model<T> model(config_of(3)), narrow(config_of(2));
  const Trainer<T> adam(model, {.optimizer = Adam{}}), averaged(model, {.optimizer = SGD{}, .ema = 0.5});
  const Trainer<T> small(narrow, {.optimizer = SGD{}});
  Trainer<T> trainer(model, {.optimizer = SGD{}}), lbfgs(model, {.optimizer = LBFGS{.history_size = 1}});
  expect_refused([&] { trainer.set_state(adam.state()); }, "arrays of the optimizer's state");
  expect_refused([&] { trainer.set_state(averaged.state()); }, "elements of the average");
  expect_refused([&] { trainer.set_state(small.state()); }, "elements of the parameters");
  Model<T> wide({.input_dim = 4, .layers = {Dense{.units = 3, .use_bias = false}}});
  Model<T> tall({.input_dim = 3, .layers = {Dense{.units = 4, .use_bias = false}}});
  Trainer<T> of_wide(wide, {.optimizer = SGD{}}), of_tall(tall, {.optimizer = SGD{}});
  expect_refused([&] { of_wide.set_state(of_tall.state()); }, "shapes of the parameters");
  TrainingState<T> state = lbfgs.state();
  state.optimizer.assign(4, std::vector<T>(state.parameters.size()));
  expect_refused([&] { lbfgs.set_state(state); }, "arrays of the optimizer's state");
  trainer.set_state(trainer.state());
}

// Also from the callback of a running fit: clip_norm needs all gradients before the first update.
TYPED_TEST(Outputs, SettingsHoldFromTheNextEpochOn) {
  using T = TypeParam;
  const Samples<T> samples(40, 4, 3);
  const Loss loss = SoftmaxCrossEntropy{};
  const TrainerConfig plain{.loss = loss, .optimizer = SGD{.learning_rate = 0.1}};
  const TrainerConfig limited{.loss = loss,
                              .optimizer = SGD{.learning_rate = 0.1},
                              .l1 = 0.01,
                              .l2 = 0.02,
                              .clip_norm = 0.1,
                              .clip_value = 0.05};
  Model<T> model(config_of(3)), other(config_of(3));
  Trainer<T> trainer(model, plain), first(other, plain), second(other, limited);
  FitOptions<T> options{.epochs = 1, .batch_size = 16};
  first.fit(samples.x(), samples.y(loss), options);
  second.set_state(first.state());
  const History expected = second.fit(samples.x(), samples.y(loss), options);
  options.epochs = 2;
  options.on_epoch = [&](const EpochResult&) {
    trainer.set_penalties(0.01, 0.02);
    trainer.set_clipping(0.1, 0.05);
    return true;
  };
  const History history = trainer.fit(samples.x(), samples.y(loss), options);
  EXPECT_EQ(history.loss[1], expected.loss[0]);
  EXPECT_TRUE(same_bits<T>(parameters_of(model), parameters_of(other)));
  expect_refused([&] { trainer.set_penalties(-1.0, 0.0); }, "l1=-1");
  expect_refused([&] { trainer.set_clipping(0.0, std::nullopt); }, "clip_norm=0");
  EXPECT_EQ(trainer.config().l1, 0.01);
  EXPECT_EQ(trainer.config().clip_norm, 0.1);
}

TYPED_TEST(Outputs, AnUpdaterGoesOnFromAState) {
  using T = TypeParam;
  ParameterUpdater<T> updater(Adam{}), twin(Adam{}), sgd(SGD{});
  std::vector<T> a = numbers<T>(7, 1), b = numbers<T>(3, 2);
  const std::vector<T> of_a = numbers<T>(7, 3), of_b = numbers<T>(3, 4);
  const std::span<const T> gradients[] = {of_a, of_b};
  const auto step = [&](ParameterUpdater<T>& each, std::vector<T>& first, std::vector<T>& second) {
    const std::span<T> parameters[] = {first, second};
    each.step(parameters, gradients);
  };
  twin.set_state(updater.state());  // before any update
  step(updater, a, b);
  twin.set_state(updater.state());
  std::vector<T> a2 = a, b2 = b;
  step(updater, a, b);
  step(twin, a2, b2);
  EXPECT_EQ(a, a2);
  EXPECT_EQ(b, b2);
  EXPECT_EQ(twin.steps(), 2);
  expect_refused([&] { sgd.set_state(updater.state()); }, "another optimizer");
}

}  // namespace
}  // namespace stoop
