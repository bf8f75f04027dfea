// Measures the limits of the machine, then runs the benchmarks of all kernels and relates each to its limit.
#include <algorithm>
#include <cstdio>

#include <stoop/runtime.hpp>

#include "bench_support.hpp"

namespace stoop::bench {
namespace {

std::string stream_text(bool from_memory, int threads) {
  constexpr int kRepetitions = 60;
  std::string text;
  for (int m = 0; m < kMixCount; ++m) {
    double best = 0.0;
    for (int i = 0; i < kRepetitions; ++i) best = std::max(best, stream_gbs(static_cast<Mix>(m), from_memory, threads));
    char one[48];
    std::snprintf(one, sizeof one, "%s%s %.1f", m == 0 ? "" : ", ", kMixNames[m], best);
    text += one;
  }
  return text + " GB/s";
}

void describe_machine() {
  char peaks[96];
  std::snprintf(peaks, sizeof peaks, "float %.1f GFLOP/s, double %.1f GFLOP/s", limits().fma_gflops_float,
                limits().fma_gflops_double);
  const BlasInfo blas = blas_info();
  benchmark::AddCustomContext("stoop", build_info().version + ", " + build_info().compiler);
  benchmark::AddCustomContext("instruction set", active_isa());
  benchmark::AddCustomContext("BLAS", blas.loaded ? blas.config : "none (" + blas.error + ")");
  benchmark::AddCustomContext("FMA peak, 1 thread", peaks);
  benchmark::AddCustomContext("L2 cache, 1 thread", stream_text(false, 1));
  benchmark::AddCustomContext("memory, 1 thread", stream_text(true, 1));
  if (usable_cores() > 1) benchmark::AddCustomContext("memory, 2 threads", stream_text(true, 2));
}

}  // namespace
}  // namespace stoop::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  stoop::bench::describe_machine();
  stoop::bench::register_gemm();
  stoop::bench::register_choice();
  stoop::bench::register_activation();
  stoop::bench::register_loss();
  stoop::bench::register_normalization();
  stoop::bench::register_team();
  stoop::bench::register_optimizer();
  stoop::bench::register_rows();
  stoop::bench::register_tangent();
  stoop::bench::register_predict();
  stoop::bench::register_gather_share();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
