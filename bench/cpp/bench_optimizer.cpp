// One update of all parameters: SGD with momentum and Adam, in the L2 cache and in memory.
// Name: optimizer/<kind>/<parameters>.
#include <algorithm>
#include <iterator>

#include "bench_support.hpp"

namespace stoop::bench {
namespace {

constexpr Index kInCache = 32 * 1024;  // Adam: 512 KiB
constexpr Index kInMemory = 25'000'000;

// SGD reads weight, gradient and velocity and writes weight and velocity: 5 streams. Adam has one more state: 7.
void run_update(benchmark::State& state, OptimizerKind kind, Index n) {
  const bool is_adam = kind == OptimizerKind::adam;
  Array<float> weight(n), velocity(n, 0.0, 1e-3), second_moment(is_adam ? n : 0, 0.0, 1e-3);
  const Array<float> grad(n);
  double weight_sum = 0.0, grad_sum = 0.0;
  UpdateArgs<float> args{};
  args.n = n;
  args.weight = weight.data(), args.grad = grad.data();
  args.state0 = velocity.data(), args.state1 = is_adam ? second_moment.data() : nullptr;
  args.l2 = 1e-4f;
  args.weight_sum_of_squares = &weight_sum, args.grad_sum_of_squares = &grad_sum;
  const float sgd_rates[] = {1e-6f, 0.9f, 1.0f, 0.0f};
  const float adam_rates[] = {1e-6f, 0.9f, 0.999f, 1e-8f, 1.0f, 0.1f, 0.001f};
  if (is_adam) {
    std::copy(std::begin(adam_rates), std::end(adam_rates), args.rate);
  } else {
    std::copy(std::begin(sgd_rates), std::end(sgd_rates), args.rate);
  }
  const auto kernel = active_table<float>().update[static_cast<int>(kind)];
  const double seconds = time_kernel(state, [&] { kernel(args); });
  benchmark::DoNotOptimize(weight_sum + grad_sum);
  const double streams = is_adam ? 7.0 : 5.0;
  set_memory_counters(state, seconds, streams * sizeof(float) * static_cast<double>(n), n == kInMemory);
}

}  // namespace

void register_optimizer() {
  for (const Index n : {kInCache, kInMemory}) {
    for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adam}) {
      const std::string name = "optimizer/" + std::string(name_of(kind)) + "/" + std::to_string(n);
      benchmark::RegisterBenchmark(name.c_str(), run_update, kind, n)->Unit(benchmark::kMicrosecond);
    }
  }
}

}  // namespace stoop::bench
