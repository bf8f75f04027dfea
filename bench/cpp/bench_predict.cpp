// Model::predict as a program calls it: rows in a buffer of the caller, one call after the other, outputs beforehand
// compared with plain loops. Names: predict/<layers>/<rows>/<threads>.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include <stoop/model.hpp>
#include <stoop/runtime.hpp>

#include "bench_support.hpp"

namespace stoop::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Widths = std::vector<Index>;

Model<float> make_model(const Widths& widths) {
  ModelConfig config;
  config.input_dim = widths.front();
  for (std::size_t i = 1; i < widths.size(); ++i) {
    config.layers.push_back(i + 1 < widths.size() ? Dense{widths[i], ReLU{}} : Dense{widths[i]});
  }
  Model<float> model(config);
  for (const ParameterInfo& info : model.parameter_infos()) {
    if (info.rank > 1) continue;  // a bias: zeros would not show whether it is added
    const auto bias = model.parameter(info.name);
    for (Index i = 0; i < bias.cols; ++i) bias.data[i] = 0.05f * static_cast<float>(i % 7);
  }
  return model;
}

// Whether `output` is what loops in double give, but for rounding: the largest difference by the largest output.
bool is_right(const Model<float>& model, MatrixView<const float> x, const float* output) {
  constexpr double kTolerance = 1e-4;  // 784 products added up in float: at most 784 * 2^-24 of their absolute sum
  const std::size_t layers = model.config().layers.size();
  double largest = 0.0, difference = 0.0;
  for (Index row = 0; row < x.rows; ++row) {
    std::vector<double> values(x.data + row * x.stride, x.data + row * x.stride + x.cols);
    for (std::size_t layer = 0; layer < layers; ++layer) {
      const auto weight = model.parameter(std::to_string(layer) + ".weight");
      const auto bias = model.parameter(std::to_string(layer) + ".bias");
      std::vector<double> next(bias.data, bias.data + weight.cols);
      for (Index i = 0; i < weight.rows; ++i) {
        for (Index j = 0; j < weight.cols; ++j) {
          next[static_cast<std::size_t>(j)] += values[static_cast<std::size_t>(i)] * weight.data[i * weight.stride + j];
        }
      }
      if (layer + 1 < layers) std::for_each(next.begin(), next.end(), [](double& v) { v = std::max(v, 0.0); });
      values = next;
    }
    for (std::size_t j = 0; j < values.size(); ++j) {
      const double got = output[row * static_cast<Index>(values.size()) + static_cast<Index>(j)];
      if (std::isnan(got)) return false;
      largest = std::max(largest, std::abs(values[j]));
      difference = std::max(difference, std::abs(got - values[j]));
    }
  }
  return largest > 0.0 && difference <= kTolerance * largest;
}

void run_predict(benchmark::State& state, const Widths& widths, Index rows, int threads) {
  const Model<float> model = make_model(widths);
  const Array<float> x(rows * widths.front());
  Array<float> output(rows * widths.back());
  const auto input = matrix<const float>(x.data(), rows, widths.front());
  const int threads_before = get_num_threads();
  set_num_threads(threads);
  model.predict(input, matrix(output.data(), rows, widths.back()));
  if (!is_right(model, input, output.data())) state.SkipWithError("the outputs are wrong");
  std::vector<double> microseconds;
  microseconds.reserve(static_cast<std::size_t>(state.max_iterations));
  for (auto _ : state) {
    const auto start = Clock::now();
    model.predict(input, matrix(output.data(), rows, widths.back()));
    microseconds.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  }
  set_num_threads(threads_before);
  if (microseconds.empty()) return;
  std::sort(microseconds.begin(), microseconds.end());
  state.counters["best_us"] = microseconds.front();
  state.counters["median_us"] = microseconds[microseconds.size() / 2];
}

}  // namespace

void register_predict() {
  const Widths widths{784, 512, 256, 10};
  std::string layers;
  for (const Index width : widths) layers += (layers.empty() ? "" : "-") + std::to_string(width);
  Widths teams{1};
  if (usable_cores() > 1) teams.push_back(usable_cores());
  for (const Index rows : {1, 2, 8, 64, 128}) {
    for (const Index threads : teams) {
      const std::string name = "predict/" + layers + "/" + std::to_string(rows) + "/" + std::to_string(threads);
      const auto run = [=](benchmark::State& state) { run_predict(state, widths, rows, static_cast<int>(threads)); };
      benchmark::RegisterBenchmark(name.c_str(), run)->Unit(benchmark::kMicrosecond)->UseRealTime();
    }
  }
}

}  // namespace stoop::bench
