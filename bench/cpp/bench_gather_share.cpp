// What gathering its rows takes of a step of training: CPU time of the kernel, on random rows of an array in memory and
// with a step in between so that caches are as in training, by that of a step of Trainer::fit in the same run.
// Names: gather_share/<type>/<order>/threads:<n>.
#include <algorithm>
#include <ctime>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <stoop/runtime.hpp>
#include <stoop/trainer.hpp>

#include "bench_support.hpp"
#include "team/team.hpp"

namespace stoop::bench {
namespace {

constexpr Index kSamples = 60'000, kInputs = 784, kBatch = 128, kClasses = 10;
constexpr Index kBatches = kSamples / kBatch;
constexpr Index kGrain = 8;  // rows, as a plan cuts them

// The workload `mnist` of `stoop bench`.
ModelConfig network(bool bytes) {
  ModelConfig config;
  config.input_dim = kInputs;
  for (const Index units : {512, 256}) {
    config.layers.insert(config.layers.end(), {Dense{units}, BatchNorm{}, ReLU{}, Dropout{0.2}});
  }
  config.layers.push_back(Dense{kClasses});
  if (bytes) config.input_scale = 1.0 / 255.0;
  return config;
}

// CPU time of all threads of the process: what waits at a barrier counts, as it does in the kernel's own time.
double process_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <class Element>
class GatherShare {
 public:
  GatherShare(bool shuffled, int threads)
      : threads_(threads),
        shuffled_(shuffled),
        x_(kSamples * kInputs, 0.0, sizeof(Element) == 1 ? 256.0 : 1.0),
        output_(kBatch * kInputs),
        y_(static_cast<std::size_t>(kSamples)),
        order_(y_.size()),
        model_(network(sizeof(Element) == 1)),
        trainer_(model_, settings(threads)) {
    std::mt19937 random(0);
    for (auto& label : y_) label = static_cast<std::int32_t>(random() % kClasses);
    std::iota(order_.begin(), order_.end(), 0);
    if (shuffled) std::shuffle(order_.begin(), order_.end(), random);
  }

  // CPU seconds of a step of fit, over an epoch.
  double step() {
    const double start = process_seconds();
    FitOptions<float> options;
    options.batch_size = kBatch, options.shuffle = shuffled_, options.last_batch = LastBatch::drop;
    trainer_.fit(rows(0, kSamples), y_, options);
    return (process_seconds() - start) / kBatches;
  }

  // CPU seconds of gathering each of the batches of an epoch, all threads together; a step follows each.
  void gather(std::vector<double>& seconds) {
    for (Index batch = 0; batch < kBatches; ++batch) {
      std::vector<double> of_thread(static_cast<std::size_t>(threads_), 0.0);
      run_shares(threads_, [&](int thread, int shares) {
        const Range part = share(kBatch / kGrain, thread, shares);
        const double start = thread_seconds();
        gather_rows(batch * kBatch, part.begin * kGrain, part.end * kGrain);
        of_thread[static_cast<std::size_t>(thread)] = thread_seconds() - start;
      });
      seconds.push_back(std::accumulate(of_thread.begin(), of_thread.end(), 0.0));
      // Other rows than the next batch's: those must not be in a cache yet.
      const Index other = (batch + kBatches / 2) % kBatches * kBatch;
      const std::span<const std::int32_t> labels(y_);
      trainer_.step(rows(other, kBatch), labels.subspan(static_cast<std::size_t>(other), kBatch));
    }
  }

 private:
  static TrainerConfig settings(int threads) {
    TrainerConfig config;
    config.num_threads = threads;
    return config;
  }

  InputView rows(Index first, Index count) const {
    return matrix<const Element>(x_.data() + first * kInputs, count, kInputs);
  }

  void gather_rows(Index first, Index begin, Index end) {
    const auto kernel = table_.gather[static_cast<int>(kInputType<Element>)];
    kernel({end - begin, kInputs, x_.data(), kInputs, order_.data() + first + begin, output_.data() + begin * kInputs,
            kInputs, sizeof(Element) == 1 ? 1.0f / 255.0f : 1.0f, 0.0f});
  }

  int threads_;
  bool shuffled_;
  Array<Element> x_;
  Array<float> output_;
  std::vector<std::int32_t> y_, order_;
  Model<float> model_;
  Trainer<float> trainer_;
  const OpTable<float>& table_ = active_table<float>();
};

template <class Element>
void run_share(benchmark::State& state, bool shuffled, int threads) {
  GatherShare<Element> work(shuffled, threads);
  work.step();  // warms up
  std::vector<double> gathers, steps;
  for (auto _ : state) {
    steps.push_back(work.step());
    work.gather(gathers);
  }
  const auto median = [](std::vector<double>& values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  };
  const double gather = median(gathers), step = median(steps);
  state.counters["gather_cpu_us"] = 1e6 * gather;
  state.counters["step_cpu_us"] = 1e6 * step;
  state.counters["percent"] = 100.0 * gather / step;
}

template <class Element>
void add_shares(const std::string& type) {
  for (const bool shuffled : {true, false}) {
    for (const int threads : {1, 2}) {
      if (threads > usable_cores()) continue;
      const std::string name =
          "gather_share/" + type + (shuffled ? "/shuffled" : "/in_order") + "/threads:" + std::to_string(threads);
      benchmark::RegisterBenchmark(name.c_str(), run_share<Element>, shuffled, threads)
          ->Unit(benchmark::kMillisecond)
          ->Iterations(3);
    }
  }
}

}  // namespace

void register_gather_share() {
  add_shares<std::uint8_t>("uint8");
  add_shares<float>("float32");
}

}  // namespace stoop::bench
