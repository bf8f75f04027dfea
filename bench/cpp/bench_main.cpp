// Measures the limits of the machine, then runs the benchmarks of all kernels and relates each to its limit.
#include <algorithm>
#include <cstdio>

#include <stoop/runtime.hpp>

#include "bench_support.hpp"

namespace stoop::bench {
namespace {

// The triad of STREAM, written in place (a += s * b): without a separate destination no cache line is read merely to be
// overwritten, so the bytes counted are the bytes that move. 3 streams.
double triad_gbs(Array<float>& a, const Array<float>& b, Index n) {
  float* sum = a.data();
  const float* addend = b.data();
  const double start = thread_seconds();
  for (Index i = 0; i < n; ++i) sum[i] += 1e-3f * addend[i];
  benchmark::ClobberMemory();
  return 3e-9 * sizeof(float) * static_cast<double>(n) / (thread_seconds() - start);
}

MachineLimits measure_limits() {
  constexpr Index kElements = 25'000'000;  // 100 MB an array, beyond any last-level cache
  constexpr int kRepetitions = 15;         // the best counts: a limit is not lowered by what else the machine does
  MachineLimits result;
  Array<float> a(kElements);
  const Array<float> b(kElements);
  for (int i = 0; i < kRepetitions; ++i) {
    result.fma_gflops_float = std::max(result.fma_gflops_float, measure_fma_peak<float>(1));
    result.fma_gflops_double = std::max(result.fma_gflops_double, measure_fma_peak<double>(1));
    result.memory_gbs = std::max(result.memory_gbs, triad_gbs(a, b, kElements));
  }
  return result;
}

void describe_machine() {
  char peaks[96];
  std::snprintf(peaks, sizeof peaks, "float %.1f GFLOP/s, double %.1f GFLOP/s", limits().fma_gflops_float,
                limits().fma_gflops_double);
  char memory[32];
  std::snprintf(memory, sizeof memory, "%.1f GB/s", limits().memory_gbs);
  const BlasInfo blas = blas_info();
  benchmark::AddCustomContext("stoop", build_info().version + ", " + build_info().compiler);
  benchmark::AddCustomContext("instruction set", active_isa());
  benchmark::AddCustomContext("BLAS", blas.loaded ? blas.config : "none (" + blas.error + ")");
  benchmark::AddCustomContext("FMA peak, 1 thread", peaks);
  benchmark::AddCustomContext("memory, triad in place, 1 thread", memory);
}

}  // namespace

const MachineLimits& limits() {
  static const MachineLimits measured = measure_limits();
  return measured;
}

}  // namespace stoop::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  stoop::bench::describe_machine();
  stoop::bench::register_gemm();
  stoop::bench::register_activation();
  stoop::bench::register_optimizer();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
