// Models of very wide layers: a thread takes fewer rows at a time, so that the values between the layers take little memory.
// What is computed does not depend on it.
#include <algorithm>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <stoop/ensemble.hpp>
#include <stoop/predictor.hpp>
#include <stoop/runtime.hpp>
#include <stoop/trainer.hpp>

#include "base/memory.hpp"
#include "graph/graph.hpp"
#include "run/infer.hpp"
#include "run/row_limit.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

constexpr Index kMiB = Index{1} << 20;

ModelConfig wide(Index width, Index inputs = 1) {
  return {.input_dim = inputs, .layers = {Dense{width, Tanh{}}, Dense{2}}};
}

ModelConfig members(Index k, Index width) {
  return {.input_dim = 1, .layers = {Members{.k = k}, Dense{width, ReLU{}}, Dense{1}}};
}

// What is planned for predictions.
template <class T>
TeamInference<T> planned(const ModelConfig& config, PlanKind kind = PlanKind::inference) {
  static std::vector<std::unique_ptr<Graph>> graphs;  // plans refer to them
  graphs.push_back(std::make_unique<Graph>(build_graph(config, kAlignment / static_cast<Index>(sizeof(T)))));
  return {PlanRequest{.kind = kind, .graph = graphs.back().get(), .element_size = sizeof(T)}, table_under_test<T>()};
}

TEST(WideModels, ThreadsOfUsualModelsTakeTheUsualRows) {
  const ModelConfig usual[] = {
      {.input_dim = 784, .layers = {Dense{512, ReLU{}}, Dense{256, ReLU{}}, Dense{10}}},
      {.input_dim = 4096, .layers = std::vector<Layer>(4, Dense{4096, Tanh{}})},
      members(32, 512),
      wide(20'000),
  };
  for (const ModelConfig& config : usual) {
    EXPECT_EQ(planned<float>(config).most_rows(), kChunkRows);
    EXPECT_EQ(planned<double>(config, PlanKind::evaluation).most_rows(), kChunkRows);
    EXPECT_GT(planned<float>(config).most_threads(), 1024);
  }
}

TEST(WideModels, ValuesOfWideLayersTakeLimitedMemory) {
  struct Case {
    ModelConfig config;
    Index rows;
  };
  const Case cases[] = {{wide(100'000), 80},      {wide(1'000'000), 8},    {wide(3'000'000), 7},
                        {members(1024, 1000), 7}, {members(1024, 60), 96}, {wide(2, 1'000'000), 8}};
  for (const auto& [config, rows] : cases) {
    for (const PlanKind kind : {PlanKind::inference, PlanKind::evaluation}) {
      const TeamInference<float> network = planned<float>(config, kind);
      const Graph graph = build_graph(config, kAlignment / Index{sizeof(float)});
      const Index most = most_value_bytes(graph, sizeof(float));
      EXPECT_LE(most, std::max(32 * kMiB, 8 * graph.parameter_elements));
      EXPECT_LE(network.most_rows(), rows);
      EXPECT_GE(network.most_rows(), rows / 2);
      EXPECT_LE(network.bytes_of_thread(), most + 8 * kMiB);
      EXPECT_LE(network.most_threads() * network.bytes_of_thread(), std::max(4 * most, network.bytes_of_thread()));
      EXPECT_GE(network.most_threads(), 1);
    }
  }
}

// The rows of a matrix that changes from row to row.
struct Rows {
  std::vector<float> numbers;
  Index cols;

  Rows(Index rows, Index columns) : numbers(stoop::numbers<float>(rows * columns, 7)), cols(columns) {}
  MatrixView<const float> view() const {
    return {numbers.data(), static_cast<Index>(numbers.size()) / cols, cols, cols};
  }
  MatrixView<const float> row(Index i) const { return {numbers.data() + i * cols, 1, cols, cols}; }
};

const ModelConfig kWide[] = {wide(100'000), members(64, 2000), wide(2, 70'000), wide(1'200'000)};
constexpr Index kCount = 150;

// Puts the number of threads back.
struct Threads {
  explicit Threads(int count) : before(get_num_threads()) { set_num_threads(count); }
  ~Threads() { set_num_threads(before); }
  const int before;
};

TEST(WideModels, PredictionsAreThoseOfSingleRows) {
  for (const ModelConfig& config : kWide) {
    const Model<float> model(config);
    const Index most = planned<float>(config).most_rows(), count = most < kRowBlock ? 20 : kCount;
    ASSERT_LT(most, kChunkRows);
    const Rows x(count, config.input_dim);
    const Index cols = model.output_dim();
    std::vector<float> single(static_cast<std::size_t>(count * cols)), all(single.size());
    for (Index i = 0; i < count; ++i) model.predict(x.row(i), {single.data() + i * cols, 1, cols, cols});
    for (const int threads : {1, 2, 3}) {
      const Threads with(threads);
      model.predict(x.view(), {all.data(), count, cols, cols});
      EXPECT_TRUE(same_bits<float>(all, single)) << threads;
      Predictor<float>(model).predict(x.view(), {all.data(), count, cols, cols});
      EXPECT_TRUE(same_bits<float>(all, single)) << threads;
    }
  }
}

TEST(WideModels, EnsemblesWithOneWideMember) {
  std::vector<Model<float>> models;
  models.emplace_back(wide(100'000));
  models.emplace_back(wide(3));
  models.emplace_back(wide(300'000));
  const Ensemble<float> ensemble(std::move(models));
  const Rows x(kCount, 1);
  std::vector<float> out(3 * kCount * 2), own(kCount * 2);
  for (const int threads : {1, 3}) {
    const Threads count(threads);
    ensemble.predict(x.view(), {out.data(), 3, kCount, 2});
    for (Index i = 0; i < 3; ++i) {
      ensemble[i].predict(x.view(), {own.data(), kCount, 2, 2});
      EXPECT_TRUE(same_bits<float>(
          own, std::span<const float>(out).subspan(static_cast<std::size_t>(i * kCount * 2), own.size())));
    }
  }
}

TEST(WideModels, DerivativesAreThoseOfSingleRows) {
  const Model<float> model(wide(150'000));
  const Rows x(40, 1), grad(40, 2);
  std::vector<float> single(40), all(40);
  for (Index i = 0; i < 40; ++i) model.input_gradient(x.row(i), grad.row(i), {single.data() + i, 1, 1, 1});
  for (const int threads : {1, 3}) {
    const Threads count(threads);
    model.input_gradient(x.view(), grad.view(), {all.data(), 40, 1, 1});
    EXPECT_TRUE(same_bits<float>(all, single)) << threads;
  }
}

TEST(WideModels, EvaluationHasTheSameBitsForAnyNumberOfThreads) {
  Model<float> model(wide(100'000));
  const Rows x(kCount, 1), y(kCount, 2);
  std::vector<double> losses;
  for (const int threads : {1, 2, 3}) {
    Trainer<float> trainer(model, {.loss = MeanSquaredError{}, .num_threads = threads});
    losses.push_back(trainer.evaluate(x.view(), y.view()).loss);
  }
  EXPECT_EQ(losses, std::vector<double>(3, losses.front()));
}

}  // namespace
}  // namespace stoop
