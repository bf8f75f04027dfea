// The Normalization layer in C++: statistics, files, fit, and calls without statistics.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include <stoop/ensemble.hpp>
#include <stoop/error.hpp>
#include <stoop/runtime.hpp>
#include <stoop/trainer.hpp>

#include "test_helpers.hpp"

namespace stoop {
namespace {

template <class T>
class InputNormalization : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(InputNormalization, ElementTypes);

constexpr Index kRows = 150, kCols = 21;

ModelConfig config_with(const Normalization& layer) {
  return {.input_dim = kCols, .layers = {layer, Dense{.units = 9, .activation = Tanh{}}, Dense{3}}, .seed = 2};
}

template <class T>
std::vector<T> raw_rows() {
  std::vector<T> x = numbers<T>(kRows * kCols, 4, 30.0);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += static_cast<T>(1000 * (i % kCols));
  return x;
}

template <class T>
std::vector<T> outputs_of(const Model<T>& model, const InputView& x) {
  std::vector<T> out(static_cast<std::size_t>(x.rows * 3));
  model.predict(x, matrix(out.data(), x.rows, Index{3}));
  return out;
}

template <class T>
std::vector<T> statistics_of(const Model<T>& model) {
  return {model.buffer_block().begin(), model.buffer_block().end()};
}

TYPED_TEST(InputNormalization, IsMeanAndDeviationOfEachColumn) {
  using T = TypeParam;
  const std::vector<T> x = raw_rows<T>();
  Model<T> model(config_with({}));
  model.adapt(matrix(x.data(), kRows, kCols));
  const auto at = [&](const char* name, Index c) {
    for (const ParameterInfo& info : model.buffer_infos()) {
      if (info.name == name) return model.buffer_block()[static_cast<std::size_t>(info.offset + c)];
    }
    return kNaN<T>;
  };
  for (Index c = 0; c < kCols; ++c) {
    long double sum = 0.0L, squares = 0.0L;
    for (Index i = 0; i < kRows; ++i) sum += x[static_cast<std::size_t>(i * kCols + c)];
    const long double mean = sum / kRows;
    for (Index i = 0; i < kRows; ++i) {
      const long double d = x[static_cast<std::size_t>(i * kCols + c)] - mean;
      squares += d * d;
    }
    const double shift = static_cast<double>(at("0.shift", c)) + static_cast<double>(at("0.shift_rest", c));
    EXPECT_NEAR(shift, static_cast<double>(mean), 1e-11 * static_cast<double>(mean + 1.0L));
    EXPECT_NEAR(static_cast<double>(at("0.scale", c)), static_cast<double>(1.0L / std::sqrt(squares / kRows)),
                2.0 * kEpsilon<T>);
  }
}

TYPED_TEST(InputNormalization, FitAdaptsOnceAndFilesKeepIt) {
  using T = TypeParam;
  const std::vector<T> x = raw_rows<T>();
  const InputView rows = matrix<const T>(x.data(), kRows, kCols);
  const Samples<T> samples(kRows, kCols, 3);
  for (const NormalizationKind kind :
       {NormalizationKind::standard, NormalizationKind::robust, NormalizationKind::minmax}) {
    const Normalization layer{.kind = kind, .clip = 3.0};
    Model<T> model(config_with(layer)), by_hand(config_with(layer));
    by_hand.adapt(rows);
    EXPECT_FALSE(model.is_adapted());
    Trainer<T> trainer(model, {.num_threads = 3});
    trainer.fit(rows, samples.classes, {.epochs = 2, .batch_size = 16});
    EXPECT_TRUE(model.is_adapted());
    EXPECT_TRUE(same_bits<T>(statistics_of(model), statistics_of(by_hand)));
    InputView others = rows;
    others.rows = 20;
    trainer.fit(others, std::span(samples.classes).first(20), {.batch_size = 16});
    EXPECT_TRUE(same_bits<T>(statistics_of(model), statistics_of(by_hand)));
    const std::filesystem::path path = std::filesystem::path(::testing::TempDir()) / "normalization.safetensors";
    model.save(path);
    EXPECT_TRUE(same_bits<T>(outputs_of(Model<T>::load(path), rows), outputs_of(model, rows)));
    std::filesystem::remove(path);
  }
}

TYPED_TEST(InputNormalization, CallsWithoutStatisticsAreRefused) {
  using T = TypeParam;
  const std::vector<T> x = raw_rows<T>();
  const InputView rows = matrix<const T>(x.data(), kRows, kCols);
  const Samples<T> samples(kRows, kCols, 3);
  Model<T> model(config_with({}));
  Trainer<T> trainer(model, {});
  std::vector<T> out(kRows * kCols * 3), factors(kRows * 3, T(1));
  const auto refused = [](const auto& call) { EXPECT_THROW(call(), ValueError); };
  refused([&] { outputs_of(model, rows); });
  refused([&] { model.jacobian(rows, matrix(out.data(), kRows, kCols * 3)); });
  refused([&] {
    model.input_gradient(rows, matrix<const T>(factors.data(), kRows, Index{3}), matrix(out.data(), kRows, kCols));
  });
  refused([&] { trainer.step(rows, samples.classes); });
  refused([&] { trainer.evaluate(rows, samples.classes); });
  refused([&] { trainer.loss_and_grad(rows, samples.classes, {}); });
  refused([&] { trainer.forward(rows, matrix(out.data(), kRows, Index{3}), {}); });
  refused([&] { Model<T>({.input_dim = 2, .layers = {Dense{3}}}).adapt(matrix<const T>(x.data(), 4, 2)); });
  EXPECT_FALSE(model.is_adapted());
}

TYPED_TEST(InputNormalization, AnInfinityOrAnEmptyColumnChangesNothing) {
  using T = TypeParam;
  std::vector<T> x = raw_rows<T>();
  const InputView rows = matrix<const T>(x.data(), kRows, kCols);
  InputView mapped = rows;
  mapped.mapped = true;
  for (const MissingValues missing : {MissingValues::error, MissingValues::mean}) {
    Model<T> model(config_with({.missing = missing}));
    x[5 * kCols + 2] = missing == MissingValues::error ? kNaN<T> : kInfinity<T>;
    for (const InputView& view : {rows, mapped}) {
      try {
        model.adapt(view);
        ADD_FAILURE() << "not noticed";
      } catch (const ValueError& error) {
        EXPECT_NE(std::string(error.what()).find("at row 5, column 2"), std::string::npos) << error.what();
      }
    }
    x[5 * kCols + 2] = T(1);
    EXPECT_FALSE(model.is_adapted());
  }
  for (Index i = 0; i < kRows; ++i) x[static_cast<std::size_t>(i * kCols + 7)] = kNaN<T>;
  Model<T> model(config_with({.missing = MissingValues::mean}));
  EXPECT_THROW(model.adapt(rows), ValueError);
  EXPECT_FALSE(model.is_adapted());
}

}  // namespace
}  // namespace stoop
