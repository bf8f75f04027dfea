// The timing of kernels bound by memory, and the names of their benchmarks.
#include "bench_memory.hpp"

#include <algorithm>
#include <chrono>
#include <limits>

#include <stoop/runtime.hpp>

#include "team/team.hpp"

namespace stoop::bench {
namespace {

constexpr Index kElementsFromMemory = 25'000'000;  // of each array, all sets together: 100 MB
constexpr double kShortest = 1e-4;                 // seconds; shorter calls are timed several together

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Thread `thread` of the team takes the blocks that a plan would give it.
void run_share(const Cut& cut, int thread, int team, Index set, const SliceBody& body) {
  const Index blocks = (cut.extent + cut.grain - 1) / cut.grain;
  const Index begin = blocks * thread / team * cut.grain, end = blocks * (thread + 1) / team * cut.grain;
  if (begin < std::min(end, cut.extent)) body(set, begin, std::min(end, cut.extent));
}

// In the floating-point mode of training, which flushes denormal numbers: gelu makes them of large inputs.
double time_calls(const Case& c, const Cut& cut, Index set, Index calls, const SliceBody& body) {
  const double start = seconds_now();
  run_shares(c.threads, [&](int number, int shares) {
    for (Index i = 0; i < calls; ++i) run_share(cut, number, shares, set, body);
  });
  benchmark::ClobberMemory();
  return (seconds_now() - start) / static_cast<double>(calls);
}

}  // namespace

Index Case::stride() const {
  if (shape.rows == 1) return shape.cols;
  const Index padded = (shape.cols + 15) / 16 * 16;
  return padded % 1024 == 0 ? padded + 16 : padded;
}

Index Case::sets() const { return from_memory ? std::max<Index>(1, kElementsFromMemory / elements()) : 1; }

void measure(benchmark::State& state, const Case& c, Traffic traffic, Cut cut, const SliceBody& body) {
  for (Index set = 0; set < c.sets(); ++set) time_calls(c, cut, set, 1, body);  // pages touched, caches warm
  const Index calls = c.from_memory ? 1 : 1 + static_cast<Index>(kShortest / time_calls(c, cut, 0, 1, body));
  double best = std::numeric_limits<double>::infinity(), limit = 0.0;
  Index set = 0;
  for (auto _ : state) {  // by turns, so that what else the machine does befalls both
    limit = std::max(limit, stream_gbs(traffic.mix, c.from_memory, c.threads));
    best = std::min(best, time_calls(c, cut, set, calls, body));
    set = (set + 1) % c.sets();
  }
  const double gbs = traffic.bytes / best * 1e-9;
  state.counters["us"] = best * 1e6;
  state.counters["GB/s"] = gbs;
  state.counters["limit"] = limit;
  state.counters["share"] = gbs / limit;
}

void add_cases(const std::string& name, Shape l2, Shape memory, const RunCase& run) {
  for (const Case& c : {Case{l2, false, 1}, Case{memory, true, 1}, Case{memory, true, 2}}) {
    if (c.threads > usable_cores()) continue;
    const std::string rows = c.rows() == 1 ? "" : std::to_string(c.rows()) + "x";
    const std::string full = name + "/" + rows + std::to_string(c.cols()) + (c.from_memory ? "/memory" : "/L2") +
                             "/threads:" + std::to_string(c.threads);
    benchmark::RegisterBenchmark(full.c_str(), [c, run](benchmark::State& state) { run(state, c); })
        ->Unit(benchmark::kMicrosecond)
        ->UseRealTime();
  }
}

}  // namespace stoop::bench
