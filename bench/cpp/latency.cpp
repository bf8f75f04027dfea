// The time of Model::predict and Predictor::predict for one row, called again and again by one thread, as a service of single
// requests does, and that of stoop_predictor_predict, which C calls.
//   stoop_latency [ROUNDS]
// Prints for each network and number of threads the median, the best and the 99th percentile of single calls, and the
// latency between two cores, which bounds what a second thread can save.
#include <stoop/stoop.h>
#include <stoop/stoop.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kCalls = 1000;  // of a round

std::vector<stoop::Layer> layers_of(const std::vector<stoop::Index>& widths) {
  std::vector<stoop::Layer> layers;
  for (std::size_t i = 1; i + 1 < widths.size(); ++i) layers.push_back(stoop::Dense{widths[i], stoop::ReLU{}});
  layers.push_back(stoop::Dense{widths.back()});
  return layers;
}

// A predictor of the C interface, of a network with the same layers.
class FromC {
 public:
  explicit FromC(const std::vector<stoop::Index>& widths) {
    std::string layers;
    for (std::size_t i = 1; i < widths.size(); ++i) {
      layers += (i > 1 ? ", " : "") + std::string(R"({"type": "dense", "units": )") + std::to_string(widths[i]) +
                (i + 1 < widths.size() ? R"(, "activation": "relu"})" : "}");
    }
    const std::string json = R"({"input_dim": )" + std::to_string(widths.front()) + R"(, "layers": [)" + layers + "]}";
    stoop_model* const model = stoop_model_create(json.c_str());
    predictor_ = stoop_predictor_create(model);
    stoop_model_free(model);
    if (predictor_ != nullptr) return;
    std::fprintf(stderr, "%s\n", stoop_last_error());
    std::exit(1);
  }
  ~FromC() { stoop_predictor_free(predictor_); }
  FromC(const FromC&) = delete;
  FromC& operator=(const FromC&) = delete;

  void predict(const stoop::MatrixView<const float>& row, const stoop::MatrixView<float>& out) const {
    if (stoop_predictor_predict(predictor_, row.data, row.rows, out.data) != STOOP_OK) std::exit(1);
  }

 private:
  stoop_predictor* predictor_;
};

// Sorted microseconds of single calls. `Predicts` is a Model, a Predictor or one of the C interface.
template <class Predicts>
std::vector<double> times_of(const stoop::Model<float>& model, const Predicts& predicts, int rounds) {
  std::vector<float> x(static_cast<std::size_t>(model.input_dim()), 0.5f);
  std::vector<float> out(static_cast<std::size_t>(model.output_dim()));
  const auto row = stoop::matrix<const float>(x.data(), 1, model.input_dim());
  const auto result = stoop::matrix(out.data(), 1, model.output_dim());
  std::vector<double> times;
  for (int call = 0; call < rounds * kCalls; ++call) {
    const Clock::time_point start = Clock::now();
    predicts.predict(row, result);
    const double microseconds = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
    if (call >= kCalls) times.push_back(microseconds);  // the first round warms up
  }
  std::sort(times.begin(), times.end());
  return times;
}

void report(const std::string& name, const char* what, int threads, const std::vector<double>& times) {
  std::printf("%-16s %-9s %d thread%s  median %6.2f us  best %6.2f us  99th percentile %7.2f us\n", name.c_str(), what,
              threads, threads == 1 ? " " : "s", times[times.size() / 2], times.front(),
              times[times.size() * 99 / 100]);
}

void measure(const std::string& name, const std::vector<stoop::Index>& widths, int threads, int rounds) {
  stoop::set_num_threads(threads);
  const stoop::Model<float> model({.input_dim = widths.front(), .layers = layers_of(widths)});
  report(name, "Model", threads, times_of(model, model, rounds));
  report(name, "Predictor", threads, times_of(model, stoop::Predictor<float>(model), rounds));
  report(name, "from C", threads, times_of(model, FromC(widths), rounds));
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = std::max(2, argc > 1 ? std::atoi(argv[1]) : 20);
  std::printf("%s, core to core and back %.0f ns\n", stoop::active_isa().c_str(), stoop::measure_core_latency());
  for (const int threads : {1, 2}) {
    measure("64-64-2", {64, 64, 2}, threads, rounds);
    measure("784-512-256-10", {784, 512, 256, 10}, threads, rounds);
  }
  std::printf("core to core and back %.0f ns\n", stoop::measure_core_latency());
  return 0;
}
