// Shows and sets what the library runs on: threads, instruction set, BLAS, version. Measures the limits of the machine.
#pragma once

#include <string>
#include <vector>

#include <stoop/api.hpp>

namespace stoop::inline v0_1 {

// No setting may ask for more threads than this.
inline constexpr int kMostThreads = 1024;

// The upper limit of threads for training and prediction in this process, from 1 to kMostThreads. It starts as
// STOOP_NUM_THREADS or, unset, as usable_cores(). A small step uses fewer.
STOOP_API void set_num_threads(int n);
STOOP_API int get_num_threads();

// Number of cores that this process may use: those of the affinity mask, limited by the cgroup CPU quota (rounded up); at
// least 1.
STOOP_API int usable_cores();

// The instruction sets that are compiled in and supported by this CPU, best first. The active one is STOOP_ISA or, unset,
// the best.
STOOP_API std::vector<std::string> available_isas();
STOOP_API std::string active_isa();

// The ways in which this CPU can compute products in bfloat16, best first: "amx_bf16", "avx512_bf16"; empty if there is
// none. The active one is STOOP_BFLOAT16 or, unset, the best; empty if there is none.
STOOP_API std::vector<std::string> available_bfloat16();
STOOP_API std::string active_bfloat16();

// The provider of matrix products that STOOP_GEMM chooses: "native", "blas" or "auto". Without a BLAS, "auto" is "native".
STOOP_API std::string active_gemm();

struct BlasInfo {
  bool loaded = false;
  std::string path;    // empty when none was found
  std::string config;  // the library's description of itself, with its kernel set
  std::string error;   // the reason why it could not be loaded
};

// Sets where to look for a CBLAS before the system's names are tried. STOOP_BLAS takes precedence. Has an effect only
// before the BLAS is first used.
STOOP_API void set_blas_path(std::string path);
// Loads the library if it is not loaded yet.
STOOP_API BlasInfo blas_info();

struct BuildInfo {
  std::string version;
  std::string compiler;
  std::string flags;
  std::string build_type;
  bool cuda = false;
};
STOOP_API BuildInfo build_info();

// Measures, for about 30 ms, the peak of fused multiply-adds of the active instruction set on `threads` threads, in
// GFLOP/s.
template <class T>
STOOP_API double measure_fma_peak(int threads);

// Measures, for about 0.2 s, the memory bandwidth in GB/s (10^9 bytes, read and written). Each of `threads` threads works
// on a slice of its own. The arrays are larger than the caches: 256 MB, more from 9 threads on, at most 2 GB.
STOOP_API double measure_memory_bandwidth(int threads);

// Measures how many nanoseconds one line of cache takes from a core to another and back: about 100 if the two share a
// cache, several times as much if they do not. This decides how much a second thread helps a small network, and on a
// virtual machine it changes within minutes. With more than two cores the first one is measured with up to four others,
// and the slowest pair counts. A pair takes 5 to 20 ms, at most 0.15 s beside busy processes. The two threads are pinned
// where the system allows it, and end with the call. Returns NaN if only one core is usable, or if other processes never
// leave both cores free.
STOOP_API double measure_core_latency();

}  // namespace stoop
