// What the library runs on: threads, instruction set, BLAS, version.
#pragma once

#include <string>
#include <vector>

#include <stoop/api.hpp>

namespace stoop {

// No setting may ask for more threads than this.
inline constexpr int kMostThreads = 1024;

// The upper limit of threads for training and prediction in this process, from 1 to kMostThreads. It starts as
// STOOP_NUM_THREADS or, unset, as usable_cores(). A small step uses fewer.
STOOP_API void set_num_threads(int n);
STOOP_API int get_num_threads();

// Cores this process may use: the affinity mask, cut by the cgroup CPU quota (rounded up), at least 1.
STOOP_API int usable_cores();

// Instruction sets compiled in and supported by this CPU, best first; the active one is the best or STOOP_ISA.
STOOP_API std::vector<std::string> available_isas();
STOOP_API std::string active_isa();

// How products in bfloat16 can be computed here, best first: "amx_bf16", "avx512_bf16"; empty: not at all. The active
// one is the best or STOOP_BFLOAT16, empty where there is none.
STOOP_API std::vector<std::string> available_bfloat16();
STOOP_API std::string active_bfloat16();

// Who computes matrix products, as STOOP_GEMM says: "native", "blas", "auto"; "native" for auto without a BLAS.
STOOP_API std::string active_gemm();

struct BlasInfo {
  bool loaded = false;
  std::string path;    // empty when none was found
  std::string config;  // what the library says of itself, its kernel set included
  std::string error;   // why it could not be loaded
};

// Where to look for a CBLAS before the system's names; STOOP_BLAS goes first. Has an effect until the first use.
STOOP_API void set_blas_path(std::string path);
// Loads the library if that was not done yet.
STOOP_API BlasInfo blas_info();

struct BuildInfo {
  std::string version;
  std::string compiler;
  std::string flags;
  std::string build_type;
  bool cuda = false;
};
STOOP_API BuildInfo build_info();

// Fused multiply-add peak in GFLOP/s of the active instruction set on `threads` threads, measured for about 30 ms.
template <class T>
STOOP_API double measure_fma_peak(int threads);

// Memory bandwidth in GB/s (10^9 bytes, read and written) of `threads` threads, each on a slice of its own of arrays that
// no cache holds: 256 MB, more from 9 threads on, at most 2 GB. Takes about 0.2 s.
STOOP_API double measure_memory_bandwidth(int threads);

// Nanoseconds that one line of cache takes from a core to another and back: about 100 where the two share a cache, several
// times as much where they do not. It decides how much a second thread helps a small network, and on a virtual machine it
// changes within minutes. Of more than two cores the first is measured with up to four others, and the slowest pair counts.
// Takes 5 to 20 ms a pair, at most 0.15 s beside busy processes. The two threads are pinned where the system allows it, and
// end with the call. NaN where only one core is usable, and where other processes never leave both cores free.
STOOP_API double measure_core_latency();

}  // namespace stoop
