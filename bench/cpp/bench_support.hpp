// What the benchmarks share: the limits of the machine, aligned arrays, and the counters that relate one to the other.
// Kernels are serial, so every figure and every limit is that of one thread.
#pragma once

#include <benchmark/benchmark.h>

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <stoop/types.hpp>

#include "ops/select.hpp"

namespace stoop::bench {

// Measured at the start of the program.
struct MachineLimits {
  double fma_gflops_float = 0.0;
  double fma_gflops_double = 0.0;
  double memory_gbs = 0.0;  // triad in place, see measure_limits()
};
const MachineLimits& limits();

template <class T>
double fma_peak() {
  return sizeof(T) == 4 ? limits().fma_gflops_float : limits().fma_gflops_double;
}

template <class T>
const char* dtype_name() {
  return sizeof(T) == 4 ? "float" : "double";
}

template <class T>
const OpTable<T>& active_table() {
  return op_table<T>(select_isa());
}

// n elements on a 64-byte boundary, uniform in [low, high).
template <class T>
class Array {
 public:
  explicit Array(Index n, double low = -1.0, double high = 1.0)
      : data_(static_cast<T*>(::operator new(bytes(n), kAlignment))) {
    std::uint64_t random = 1;  // Knuth's generator: the large arrays are filled often, and <random> is slow
    for (Index i = 0; i < n; ++i) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      data_.get()[i] = static_cast<T>(low + (high - low) * 0x1p-32 * static_cast<double>(random >> 32));
    }
  }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  static std::size_t bytes(Index n) { return static_cast<std::size_t>(n > 0 ? n : 1) * sizeof(T); }
  struct Free {
    void operator()(T* data) const { ::operator delete(data, kAlignment); }
  };
  std::unique_ptr<T[], Free> data_;
};

// CPU time of the calling thread: unlike the time of day it leaves out what else runs on a shared machine.
inline double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Repeats `kernel` as often as Google Benchmark asks; the mean seconds of a call.
template <class Kernel>
double time_kernel(benchmark::State& state, const Kernel& kernel) {
  kernel();  // pages touched, caches as warm as they stay
  const double start = thread_seconds();
  for (auto _ : state) {
    kernel();
    benchmark::ClobberMemory();
  }
  return (thread_seconds() - start) / static_cast<double>(state.iterations());
}

// `bytes`: the fewest that must be read and written. The share makes sense only for arrays larger than the caches.
inline void set_memory_counters(benchmark::State& state, double seconds, double bytes, bool from_memory) {
  const double gbs = bytes / seconds * 1e-9;
  state.counters["GB/s"] = gbs;
  if (from_memory) state.counters["share_of_memory"] = gbs / limits().memory_gbs;
}

// Each adds its benchmarks to the run.
void register_gemm();
void register_activation();
void register_optimizer();

}  // namespace stoop::bench
