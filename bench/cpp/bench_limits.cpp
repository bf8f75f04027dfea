// What the machine gives at most: multiply-adds in registers, and loads and stores in each mix that kernels have.
// Bytes are counted as STREAM does (McCalpin 1995): what the loop names, not what caches add to it.
#include <algorithm>
#include <chrono>
#include <map>

#include <stoop/runtime.hpp>

#include "bench_support.hpp"
#include "team/team.hpp"

// The widest vectors of the machine; without them, the loops in the L2 cache are bound by the number of instructions.
#if defined(__x86_64__) && defined(__linux__)
#define STOOP_WIDEST __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define STOOP_WIDEST
#endif

namespace stoop::bench {
namespace {

typedef float Line __attribute__((vector_size(64)));
constexpr Index kLineElements = 16;

// Two places are read at a time: processors fetch ahead for each, and one alone is not the most they can do.
STOOP_WIDEST void read_loop(const Line* a, Index lines, Line* sink) {
  Line s0{}, s1{}, s2{}, s3{};
  const Line* b = a + lines / 2;
  for (Index i = 0; i + 2 <= lines / 2; i += 2) s0 += a[i], s1 += a[i + 1], s2 += b[i], s3 += b[i + 1];
  *sink = (s0 + s1) + (s2 + s3);
}

STOOP_WIDEST void copy_loop(const Line* a, Line* c, Index lines) {
  for (Index i = 0; i < lines; ++i) c[i] = 0.999f * a[i];
}

STOOP_WIDEST void triad_loop(const Line* a, const Line* b, Line* c, Index lines) {
  for (Index i = 0; i < lines; ++i) c[i] = a[i] + 0.999f * b[i];
}

STOOP_WIDEST void in_place_loop(Line* a, const Line* b, Index lines) {
  for (Index i = 0; i < lines; ++i) a[i] += 1e-3f * b[i];
}

constexpr int kStreams[kMixCount] = {1, 2, 3, 3};
constexpr int kArrays[kMixCount] = {1, 2, 3, 2};

struct Arrays {
  Line *a, *b, *c;
};

void run_loop(Mix mix, const Arrays& x, Index begin, Index lines) {
  Line sink{};
  switch (mix) {
    case Mix::read:
      read_loop(x.a + begin, lines, &sink);
      break;
    case Mix::copy:
      copy_loop(x.a + begin, x.c + begin, lines);
      break;
    case Mix::triad:
      triad_loop(x.a + begin, x.b + begin, x.c + begin, lines);
      break;
    case Mix::in_place:
      in_place_loop(x.c + begin, x.b + begin, lines);
      break;
  }
  benchmark::DoNotOptimize(sink);
  benchmark::ClobberMemory();
}

double loop_gbs(Mix mix, const Arrays& x, Index lines, int threads, int calls) {
  const auto start = std::chrono::steady_clock::now();
  run_shares(threads, [&](int thread, int shares) {
    const Range part = share(lines, thread, shares);
    for (int i = 0; i < calls; ++i) run_loop(mix, x, part.begin, part.end - part.begin);
  });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return 64e-9 * kStreams[static_cast<int>(mix)] * static_cast<double>(lines) * calls / seconds;
}

MachineLimits measure_limits() {
  constexpr int kRepetitions = 15;  // the best counts: a limit is not lowered by what else the machine does
  MachineLimits result;
  for (int i = 0; i < kRepetitions; ++i) {
    result.fma_gflops_float = std::max(result.fma_gflops_float, measure_fma_peak<float>(1));
    result.fma_gflops_double = std::max(result.fma_gflops_double, measure_fma_peak<double>(1));
  }
  return result;
}

}  // namespace

const MachineLimits& limits() {
  static const MachineLimits measured = measure_limits();
  return measured;
}

double dot_peak(const Bfloat16Table& table) {
  constexpr Index kIterations = 20'000;
  constexpr int kRepetitions = 50;
  static std::map<const Bfloat16Table*, double> measured;
  double& peak = measured[&table];
  if (peak > 0.0) return peak;
  Array<float> sink(64, 0.0, 1.0);
  for (int i = 0; i < kRepetitions; ++i) {
    const double start = thread_seconds();
    table.dot_loop(kIterations, sink.data());
    const double flops = static_cast<double>(kIterations * table.dot_loop_flops);
    peak = std::max(peak, 1e-9 * flops / (thread_seconds() - start));
  }
  return peak;
}

double stream_gbs(Mix mix, bool from_memory, int threads) {
  constexpr Index kElements = 25'000'000;  // 100 MB an array, beyond any last-level cache,
  constexpr Index kParts = 6, kLines = kElements / kLineElements / kParts;  // in parts: short calls meet fewer others
  constexpr int kCallsInCache = 50;                                         // of some microseconds each
  static Array<float> a(kElements), b(kElements), c(kElements);
  static Index part = 0;
  Arrays x{reinterpret_cast<Line*>(a.data()), reinterpret_cast<Line*>(b.data()), reinterpret_cast<Line*>(c.data())};
  if (!from_memory) return loop_gbs(mix, x, kL2Bytes / 64 / kArrays[static_cast<int>(mix)], threads, kCallsInCache);
  part = (part + 1) % kParts;
  x.a += part * kLines, x.b += part * kLines, x.c += part * kLines;
  return loop_gbs(mix, x, kLines, threads, 1);
}

}  // namespace stoop::bench
