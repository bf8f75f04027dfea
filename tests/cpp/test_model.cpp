// Model<T>: what it refuses, how its parameters lie in memory, copies, files, and prediction against a naive loop.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include <stoop/error.hpp>
#include <stoop/model.hpp>

#include "temporary_folder.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

namespace fs = std::filesystem;

template <class T>
class Models : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Models, ElementTypes);

// The message that building `config` is refused with; empty where it is not.
std::string refusal_of(const ModelConfig& config) {
  try {
    const Model<float> model(config);
  } catch (const ValueError& error) {
    return error.what();
  }
  return {};
}

void expect_refusal(const ModelConfig& config, const std::string& where, const std::string& part) {
  const std::string message = refusal_of(config);
  EXPECT_EQ(message.rfind("[" + where + "] ", 0), 0u) << message;
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST(ModelConfig, IllFormedOnesAreRefusedWithAReason) {
  const Initializer infinite = initializers::Constant{HUGE_VAL}, negative = initializers::Normal{-1.0};
  expect_refusal({.input_dim = 0, .layers = {Dense{3}}}, "Model", "input_dim=0");
  expect_refusal({.input_dim = -4, .layers = {Dense{3}}}, "Model", "input_dim=-4");
  expect_refusal({.input_dim = 2, .layers = {}}, "Model", "expected at least one Dense");
  expect_refusal({.input_dim = 2, .layers = {ReLU{}, Tanh{}}}, "Model", "2 layers without a Dense");
  expect_refusal({.input_dim = 2, .layers = {Dense{3}, Dense{0}}}, "Dense", "layer 1 has units=0");
  expect_refusal({.input_dim = 2, .layers = {Dense{-1}}}, "Dense", "units=-1");
  expect_refusal({.input_dim = 2, .layers = {Dense{3, LeakyReLU{-0.5}}}}, "LeakyReLU", "negative_slope=-0.5");
  expect_refusal({.input_dim = 2, .layers = {Dense{3}, LeakyReLU{NAN}}}, "LeakyReLU", "layer 1");
  expect_refusal({.input_dim = 2, .layers = {Dense{.units = 3, .kernel_init = infinite}}}, "constant", "inf");
  expect_refusal({.input_dim = 2, .layers = {Dense{.units = 3, .bias_init = negative}}}, "normal",
                 "expected a finite number, at least 0");
  for (const double bad : {0.0, kNaN<double>, HUGE_VAL, 1e300, 1e-300}) {
    expect_refusal({.input_dim = 2, .layers = {Dense{3}}, .input_scale = bad}, "Model", "input_scale=");
    if (bad == 0.0 || bad == 1e-300) continue;
    expect_refusal({.input_dim = 2, .layers = {Dense{3}}, .input_shift = bad}, "Model", "input_shift=");
  }
}

// Sizes whose product leaves 64 bits, or the memory of any machine: an exception, no wild pointer.
TEST(ModelConfig, AbsurdSizesThrow) {
  constexpr Index kLarge = Index{1} << 31;
  EXPECT_ANY_THROW(Model<float>({.input_dim = Index{1} << 62, .layers = {Dense{4}}}));
  EXPECT_ANY_THROW(Model<float>({.input_dim = kLarge, .layers = {Dense{kLarge}}}));
  EXPECT_ANY_THROW(Model<double>({.input_dim = (Index{1} << 33) + 1, .layers = {Dense{kLarge}}}));
}

ModelConfig three_layers() {
  return {.input_dim = 5,
          .layers = {Dense{.units = 7, .activation = Tanh{}}, LeakyReLU{0.25}, Dense{.units = 3, .use_bias = false},
                     Sigmoid{}, Dense{.units = 2}},
          .seed = 9};
}

TYPED_TEST(Models, ParametersLieAlignedInOneBlock) {
  using T = TypeParam;
  Model<T> model(three_layers());
  const std::vector<ParameterInfo>& infos = model.parameter_infos();
  std::vector<std::string> names;
  for (const ParameterInfo& info : infos) names.push_back(info.name);
  EXPECT_EQ(names, (std::vector<std::string>{"0.weight", "0.bias", "2.weight", "4.weight", "4.bias"}));
  EXPECT_EQ(model.num_parameters(), 5 * 7 + 7 + 7 * 3 + 3 * 2 + 2);
  EXPECT_EQ(model.input_dim(), 5);
  EXPECT_EQ(model.output_dim(), 2);
  EXPECT_EQ(infos[0].rows * 100 + infos[0].cols, 507);
  EXPECT_EQ(infos[1].rank, 1);
  const std::span<T> block = model.parameter_block();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.data()) % 64, 0u);
  std::vector<bool> padding(block.size(), true);
  for (const ParameterInfo& info : infos) {
    EXPECT_EQ(info.offset * static_cast<Index>(sizeof(T)) % 64, 0) << info.name;
    EXPECT_EQ(info.regularized, info.name.ends_with("weight")) << info.name;
    EXPECT_EQ(model.parameter(info.name).data, block.data() + info.offset);
    for (Index i = info.offset; i < info.offset + info.rows * info.cols; ++i) {
      ASSERT_TRUE(padding.at(static_cast<std::size_t>(i))) << info.name << " overlaps another";
      padding[static_cast<std::size_t>(i)] = false;
    }
  }
  for (std::size_t i = 0; i < block.size(); ++i) ASSERT_TRUE(!padding[i] || block[i] == T(0)) << "padding at " << i;
}

TYPED_TEST(Models, AnUnknownParameterSuggestsTheNearest) {
  const Model<TypeParam> model(three_layers());
  try {
    model.parameter("0.wieght");
    FAIL() << "not refused";
  } catch (const ValueError& error) {
    EXPECT_NE(std::string(error.what()).find("\"0.weight\""), std::string::npos) << error.what();
  }
}

TYPED_TEST(Models, TheSeedDecidesTheParameters) {
  ModelConfig config = three_layers();
  const Model<TypeParam> model(config);
  EXPECT_EQ(parameters_of(model), parameters_of(Model<TypeParam>(config)));
  config.seed = 10;
  EXPECT_NE(parameters_of(model), parameters_of(Model<TypeParam>(config)));
}

TEST(Model, FloatAndDoubleStartFromTheSameNumbers) {
  const Model<float> f32(three_layers());
  const Model<double> f64(three_layers());
  for (const ParameterInfo& info : f64.parameter_infos()) {
    const auto narrow = f32.parameter(info.name);
    const auto wide = f64.parameter(info.name);
    for (Index i = 0; i < info.rows * info.cols; ++i) ASSERT_EQ(narrow.data[i], static_cast<float>(wide.data[i]));
  }
}

TYPED_TEST(Models, CopiesAreIndependentAndMovesKeepTheBlock) {
  using T = TypeParam;
  Model<T> model(three_layers());
  const std::vector<T> before = parameters_of(model);
  Model<T> copy(model);
  EXPECT_EQ(parameters_of(copy), before);
  copy.parameter("4.bias").data[0] = T(5);
  EXPECT_EQ(parameters_of(model), before);

  const T* block = model.parameter_block().data();
  Model<T> moved(std::move(model));
  EXPECT_EQ(moved.parameter_block().data(), block);
  EXPECT_EQ(moved.config().layers.size(), 5u);

  Model<T> assigned({.input_dim = 1, .layers = {Dense{1}}});
  assigned = moved;
  EXPECT_EQ(parameters_of(assigned), before);
  EXPECT_NE(assigned.parameter_block().data(), block);
  assigned = std::move(moved);
  EXPECT_EQ(assigned.parameter_block().data(), block);
  const Model<T>& itself = assigned;
  assigned = itself;
  EXPECT_EQ(parameters_of(assigned), before);
  const Samples<T> samples(3, 5, 2);
  EXPECT_EQ(predictions_of(assigned, samples.x()), predictions_of(Model<T>(three_layers()), samples.x()));
}

// ---- prediction ----

template <class T>
using Row = std::vector<Wide<T>>;

template <class T>
void activate_row(const Activation& activation, Row<T>& row) {
  for (Wide<T>& v : row)
    v = activate<Wide<T>>(kind_of(activation), v, static_cast<Wide<T>>(numbers_of(activation).of[0]));
}

// The network applied to one row, a layer at a time.
template <class T>
Row<T> naive_outputs(const Model<T>& model, Row<T> row) {
  for (std::size_t layer = 0; layer < model.config().layers.size(); ++layer) {
    const Layer& spec = model.config().layers[layer];
    const Dense* dense = std::get_if<Dense>(&spec);
    if (dense == nullptr) {
      activate_row<T>(*as_activation(spec), row);
      continue;
    }
    Row<T> next(static_cast<std::size_t>(dense->units), 0);
    const auto weight = model.parameter(std::to_string(layer) + ".weight");
    for (std::size_t j = 0; j < next.size(); ++j) {
      if (dense->use_bias.value_or(true)) next[j] = model.parameter(std::to_string(layer) + ".bias").data[j];
      for (std::size_t i = 0; i < row.size(); ++i) {
        next[j] += row[i] * weight.data[i * next.size() + j];
      }
    }
    row = next;
    activate_row<T>(dense->activation, row);
  }
  return row;
}

const std::vector<ModelConfig>& configs() {
  static const std::vector<ModelConfig> kConfigs = {
      {.input_dim = 1, .layers = {Dense{1}}},
      three_layers(),
      {.input_dim = 20, .layers = {Tanh{}, Dense{33}, ReLU{}, Sigmoid{}, Identity{}, Dense{17, LeakyReLU{}}, Tanh{}}},
      {.input_dim = 300,
       .layers = {Dense{.units = 65, .activation = Sigmoid{}, .bias_init = initializers::Ones{}}, Dense{10}}},
  };
  return kConfigs;
}

TYPED_TEST(Models, PredictEqualsANaiveLoop) {
  using T = TypeParam;
  for (const ModelConfig& config : configs()) {
    const Model<T> model(config);
    const Index in = model.input_dim(), outputs = model.output_dim(), gap = 3;
    for (const Index rows : {1, 2, 7, 8, 9, 127, 128, 129, 300}) {
      const std::vector<T> x = numbers<T>(rows * (in + gap), 5);
      std::vector<T> out(static_cast<std::size_t>(rows * (outputs + gap)), T(77));
      model.predict({x.data(), rows, in, in + gap}, {out.data(), rows, outputs, outputs + gap});
      for (Index i = 0; i < rows; ++i) {
        const Row<T> want = naive_outputs(model, Row<T>(x.begin() + i * (in + gap), x.begin() + i * (in + gap) + in));
        for (Index j = 0; j < outputs + gap; ++j) {
          const double got = static_cast<double>(out[static_cast<std::size_t>(i * (outputs + gap) + j)]);
          if (j >= outputs) {
            ASSERT_EQ(got, 77.0) << "written between the rows";
          } else {
            ASSERT_NEAR(got, static_cast<double>(want[static_cast<std::size_t>(j)]), 100 * kEpsilon<T>) << "row " << i;
          }
        }
      }
    }
  }
}

TYPED_TEST(Models, PredictionsDoNotDependOnTheRowsBeside) {
  using T = TypeParam;
  for (const ModelConfig& config : configs()) {
    const Model<T> model(config);
    const Index in = model.input_dim(), out = model.output_dim();
    const std::vector<T> x = numbers<T>(300 * in, 6);
    const std::vector<T> all = predictions_of(model, matrix(x.data(), 300, in));
    for (const Index rows : {1, 3, 8, 9, 128, 299}) {
      std::vector<T> parts;
      for (Index start = 0; start < 300; start += rows) {
        const auto part = predictions_of(model, matrix(x.data() + start * in, std::min(rows, 300 - start), in));
        parts.insert(parts.end(), part.begin(), part.end());
      }
      ASSERT_TRUE(same_bits<T>(parts, all)) << rows << " rows at a time, " << out << " outputs";
    }
  }
}

TYPED_TEST(Models, PredictRefusesOtherShapesAndTakesNoRows) {
  using T = TypeParam;
  const Model<T> model(three_layers());
  std::vector<T> x(50), out(20, T(77));
  const auto predict = [&](MatrixView<const T> from, MatrixView<T> to) { model.predict(from, to); };
  EXPECT_THROW(predict(matrix<const T>(x.data(), 5, 4), matrix(out.data(), 5, 2)), ValueError);
  EXPECT_THROW(predict(matrix<const T>(x.data(), 5, 5), matrix(out.data(), 5, 3)), ValueError);
  EXPECT_THROW(predict(matrix<const T>(x.data(), 5, 5), matrix(out.data(), 4, 2)), ValueError);
  EXPECT_THROW(predict({x.data(), 5, 5, 4}, matrix(out.data(), 5, 2)), ValueError);
  EXPECT_THROW(predict(matrix<const T>(x.data(), 5, 5), {out.data(), 5, 2, 1}), ValueError);
  predict(matrix<const T>(nullptr, 0, 5), matrix<T>(nullptr, 0, 2));
  EXPECT_EQ(out, std::vector<T>(20, T(77)));
}

// ---- files ----

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& name) : path_(make_temporary_folder() / name) {}
  ~TemporaryFile() { fs::remove_all(path_.parent_path()); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

TYPED_TEST(Models, AFileKeepsEverything) {
  using T = TypeParam;
  const TemporaryFile file("model.safetensors");
  for (const ModelConfig& config : configs()) {
    const Model<T> model(config);
    model.save(file.path());
    EXPECT_EQ(file_dtype(file.path()), kDType<T>);
    const Model<T> loaded = Model<T>::load(file.path());
    EXPECT_TRUE(same_bits<T>(model.parameter_block(), loaded.parameter_block()));
    EXPECT_EQ(loaded.config().seed, config.seed);
    ASSERT_EQ(loaded.config().layers.size(), config.layers.size());
    for (std::size_t i = 0; i < config.layers.size(); ++i)
      EXPECT_EQ(loaded.config().layers[i].index(), config.layers[i].index());
    const std::vector<T> x = numbers<T>(4 * config.input_dim, 7);
    const auto view = matrix(x.data(), 4, config.input_dim);
    EXPECT_EQ(predictions_of(model, view), predictions_of(loaded, view));
  }
}

TYPED_TEST(Models, AnotherDTypeIsRefused) {
  using Other = std::conditional_t<sizeof(TypeParam) == 4, double, float>;
  const TemporaryFile file("dtype.safetensors");
  Model<TypeParam>(three_layers()).save(file.path());
  EXPECT_THROW(Model<Other>::load(file.path()), TypeError);
}

TYPED_TEST(Models, DamagedAndMissingFiles) {
  const TemporaryFile file("damaged.safetensors");
  EXPECT_THROW(Model<TypeParam>::load(file.path()), FileError);
  Model<TypeParam>(three_layers()).save(file.path());
  const auto size = fs::file_size(file.path());
  for (const auto left : {size - 1, size / 2, size / 4, std::uintmax_t{7}, std::uintmax_t{0}}) {
    fs::resize_file(file.path(), left);
    EXPECT_THROW(Model<TypeParam>::load(file.path()), CheckpointError) << left << " of " << size << " bytes";
  }
  EXPECT_THROW(Model<TypeParam>(three_layers()).save(file.path() / "no" / "folder"), FileError);
}

}  // namespace
}  // namespace stoop
