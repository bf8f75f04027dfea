// Whatever is saved can be loaded: a reader lets the texts of a file cost memory by the size of the file, so a file of much
// text and few numbers must be made larger. What no reader takes is refused when it is saved.
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <stoop/checkpoint.hpp>
#include <stoop/ensemble.hpp>
#include <stoop/error.hpp>

#include "io/config_json.hpp"
#include "safetensors_folder.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

using FileLimits = SafetensorsFolder;

std::vector<Layer> repeated(const std::vector<Layer>& layers, int count) {
  std::vector<Layer> all;
  for (int i = 0; i < count; ++i) all.insert(all.end(), layers.begin(), layers.end());
  all.push_back(Dense{1});
  return all;
}

ModelConfig of_codes(Index columns) {
  std::vector<std::vector<Index>> categories;
  for (Index i = 0; i < columns; ++i) categories.push_back({i, 1});
  return {.input_dim = columns, .layers = {Columns{.categories = std::move(categories), .one_hot = 1}, Dense{1}}};
}

ModelConfig of_classes(Index count) {
  ClassNames classes{.names = {}, .dtype = "str"};
  for (Index i = 0; i < count; ++i) classes.names.push_back(std::to_string(i));
  return {.input_dim = 1, .layers = {Dense{.units = count, .use_bias = false}}, .classes = std::move(classes)};
}

// Models of the most text for the numbers they have.
std::vector<ModelConfig> models_of_texts() {
  const Layer rich = Dense{.units = 1,
                           .activation = LeakyReLU{0.1},
                           .use_bias = false,
                           .kernel_init = initializers::Normal{0.1},
                           .bias_init = initializers::Constant{0.1},
                           .trainable = false,
                           .l1 = 0.1,
                           .l2 = 0.1};
  return {{.input_dim = 1, .layers = repeated({ReLU{}}, static_cast<int>(kMostLayers) - 1)},
          {.input_dim = 1, .layers = repeated({Residual{{ReLU{}}}}, 5000)},
          {.input_dim = 1, .layers = repeated({LeakyReLU{0.3, false}, Dropout{.rate = 0.1}}, 2000)},
          {.input_dim = 1, .layers = repeated({rich}, 5000)},
          {.input_dim = 1, .layers = repeated({FeatureScale{.trainable = false}, GELU{}}, 5000)},
          of_codes(20'000),
          of_classes(50'000)};
}

TEST_F(FileLimits, ModelsOfMuchText) {
  for (const ModelConfig& config : models_of_texts()) {
    Model<float> model(config);
    model.save(path_);
    const Model<float> loaded = Model<float>::load(path_);
    EXPECT_EQ(to_json(loaded.config_now()), to_json(model.config_now()));
    EXPECT_TRUE(same_bits<float>(loaded.parameter_block(), model.parameter_block()));
  }
}

TEST_F(FileLimits, ValuesAreCountedAsTheReaderOfAModelCountsThem) {
  constexpr std::size_t kAny = std::size_t{1} << 40;
  ModelConfig config{.input_dim = 2, .layers = {Dense{3, LeakyReLU{0.3}}, Residual{{ReLU{}}}, Dropout{}, Dense{2}}};
  config.metadata = {{"a \"quote\", and \\", "{[\n1, 2]}"}, {"", ""}};
  config.classes = ClassNames{.names = {"x:y", "\u00fc"}, .dtype = "str"};
  std::string text = to_json(config);
  for (const char* space : {"", " ", "\n\t"}) {
    std::size_t left = kAny;
    model_config_from_json(text, &left);
    EXPECT_EQ(memory_of_values(text), kAny - left) << text;
    text.insert(text.find("\"layers\":") + 9, space);
  }
}

TEST_F(FileLimits, MetadataOfManyTexts) {
  Metadata metadata;
  for (int i = 0; i < 60'000; ++i) metadata[std::to_string(i)] = "";
  std::string values = "[";
  for (int i = 0; i < 60'000; ++i) values += "{},";
  for (const Metadata& texts : {metadata, Metadata{{"a table", values}}}) {
    Model<double> model({.input_dim = 1, .layers = {Dense{1}}});
    model.set_metadata(texts);
    model.save(path_);
    EXPECT_EQ(Model<double>::load(path_).config_now().metadata, texts);
    Trainer<double>(model, {.loss = MeanSquaredError{}}).save_checkpoint(path_);
    EXPECT_EQ(Model<double>::load(path_).config_now().metadata, texts);
  }
}

TEST_F(FileLimits, EnsemblesOfManyShortMembers) {
  std::vector<Model<float>> members;
  for (int i = 0; i < 2000; ++i) members.emplace_back(ModelConfig{.input_dim = 1, .layers = repeated({ReLU{}}, 3)});
  Ensemble<float>(std::move(members)).save(path_);
  EXPECT_EQ(Ensemble<float>::load(path_).size(), 2000);
}

TEST_F(FileLimits, CheckpointsOfManyLayersAndEpochs) {
  const ModelConfig config{.input_dim = 1, .layers = repeated({Tanh{}}, 3000)};
  const std::vector<float> zeros(2, 0.0f);
  const MatrixView<const float> x{zeros.data(), 2, 1, 1};
  for (const int epochs : {1, 3000}) {
    Model<float> model(epochs == 1 ? config : ModelConfig{.input_dim = 1, .layers = {Dense{1}}});
    Trainer<float> trainer(model, {.loss = MeanSquaredError{}});
    trainer.fit(x, x, {.epochs = epochs});
    CheckpointExtras extras;
    for (int i = 0; i < 3000; ++i) extras.text += i == 0 ? "[{}" : ",{}";
    extras.text += "]";
    trainer.save_checkpoint(path_, extras);
    Model<float> other(model.config_now());
    Trainer<float> loaded(other, {.loss = MeanSquaredError{}});
    loaded.load_checkpoint(path_);
    EXPECT_TRUE(same_bits<float>(other.parameter_block(), model.parameter_block()));
    EXPECT_EQ(loaded.history().loss, trainer.history().loss);
  }
}

TEST_F(FileLimits, WhatNoReaderTakesIsNotSaved) {
  const std::vector<float> one = {1.0f};
  const std::vector<TensorToSave> deep = {{"w", DType::float32, std::vector<Index>(65, 1), one.data()}};
  EXPECT_THROW(save_tensors(path_, deep, {}), ValueError);
  EXPECT_THROW(save_tensors(path_, {}, {{"k", std::string((std::size_t{1} << 26) + 1, ' ')}}), ValueError);
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(FileLimits, AFileIsNoLargerThanItsTextsAskFor) {
  const Model<float> model({.input_dim = 1, .layers = repeated({ReLU{}}, 1000)});
  model.save(path_);
  EXPECT_LT(fs::file_size(path_), 1000 * 25);  // of each layer {\"type\":\"relu\"},
  const Model<float> longer({.input_dim = 1, .layers = repeated({ReLU{}}, 10'000)});
  longer.save(path_);
  EXPECT_LT(fs::file_size(path_), 10'000 * 67);
}

}  // namespace
}  // namespace stoop
