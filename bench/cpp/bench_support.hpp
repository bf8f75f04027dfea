// What the benchmarks share: aligned arrays, the limits of the machine, and the counters that relate a kernel to them.
// Kernels are serial; benchmarks of those bound by memory share them out among threads as a plan does (bench_memory.hpp).
#pragma once

#include <benchmark/benchmark.h>

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <stoop/types.hpp>

#include "cpu/select.hpp"
#include "base/memory.hpp"

namespace stoop::bench {

// In what proportion a kernel reads and writes. A store to a line that was not read first makes the processor read it,
// so writing to other memory than was read costs more than the bytes counted say: each mix has a limit of its own.
enum class Mix {
  read,      // sum += a
  copy,      // c = s * a: STREAM's "scale", 2 streams counted
  triad,     // c = a + s * b: STREAM's "triad", 3 streams counted
  in_place,  // a += s * b: 3 streams, and no more than those move
};
inline constexpr int kMixCount = 4;
inline constexpr const char* kMixNames[kMixCount] = {"read", "copy", "triad", "in place"};

// The multiply-add peak of one thread, measured at the start of the program.
struct MachineLimits {
  double fma_gflops_float = 0.0;
  double fma_gflops_double = 0.0;
};
const MachineLimits& limits();

// GFLOP/s of one thread that does nothing but such dot products.
double dot_peak(const Bfloat16Table& table);

// GB/s of the loop that `mix` stands for: over a part, the next in each call, of arrays of 100 MB each, or over arrays
// of kL2Bytes together.
double stream_gbs(Mix mix, bool from_memory, int threads);

inline constexpr Index kL2Bytes = 192 * 1024;  // what a benchmark of the L2 cache touches: more than L1, less than L2

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

// n elements on a 64-byte boundary, uniform in [low, high), in the pages that models and plans get.
template <class T>
class Array {
 public:
  explicit Array(Index n, double low = -1.0, double high = 1.0) : data_(static_cast<T*>(allocate_aligned(bytes(n)))) {
    if (data_ == nullptr) throw std::bad_alloc();
    std::uint64_t random = 1;  // Knuth's generator: the large arrays are filled often, and <random> is slow
    for (Index i = 0; i < n; ++i) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      data_.get()[i] = static_cast<T>(low + (high - low) * 0x1p-32 * static_cast<double>(random >> 32));
    }
  }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }

 private:
  static Index bytes(Index n) { return (n > 0 ? n : 1) * static_cast<Index>(sizeof(T)); }
  struct Free {
    void operator()(T* data) const { std::free(data); }
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

// Each adds its benchmarks to the run.
void register_gemm();
void register_choice();
void register_activation();
void register_loss();
void register_normalization();
void register_team();
void register_optimizer();
void register_rows();
void register_tangent();
void register_predict();
void register_gather_share();

}  // namespace stoop::bench
