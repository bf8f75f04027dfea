// Threads, instruction set, BLAS and build as the public interface shows them, and the measured limits of the machine.
#include <stoop/runtime.hpp>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <stoop/error.hpp>

#include "../cpu/cpu_features.hpp"
#include "../cpu/gemm_blas.hpp"
#include "../cpu/select.hpp"
#include "../team/thread.hpp"

#ifndef STOOP_VERSION
#define STOOP_VERSION "unknown"
#endif
#ifndef STOOP_COMPILER
#define STOOP_COMPILER "unknown"
#endif
#ifndef STOOP_FLAGS
#define STOOP_FLAGS ""
#endif
#ifndef STOOP_BUILD_TYPE
#define STOOP_BUILD_TYPE "unknown"
#endif

namespace stoop::inline v0_1 {
namespace {

std::atomic<int> chosen_threads{0};  // 0: set_num_threads() was not called

int initial_threads() {
  const char* text = std::getenv("STOOP_NUM_THREADS");
  if (text == nullptr || *text == '\0') return usable_cores();
  const std::string_view view = text;
  int value = 0;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  if (error != std::errc() || end != view.data() + view.size() || value < 1 || value > kMostThreads) {
    throw_value_error("STOOP_NUM_THREADS", "the environment variable is \"" + std::string(view) + "\"",
                      "expected a whole number from 1 to " + std::to_string(kMostThreads),
                      "unset it to use all usable cores");
  }
  return value;
}

using Clock = std::chrono::steady_clock;

// Runs `loop(thread)` once on each of `threads` threads, which start together. Returns the seconds until the last is done.
template <class Loop>
double timed_run(int threads, const Loop& loop) {
  std::atomic<int> waiting{threads};
  std::atomic<bool> cancelled{false};
  const auto body = [&](int thread) {
    --waiting;
    while (waiting.load() > 0 && !cancelled.load()) std::this_thread::yield();
    if (!cancelled.load()) loop(thread);
  };
  std::vector<Thread> team;
  team.reserve(static_cast<std::size_t>(threads));
  const auto join_all = [&] {
    for (Thread& member : team) member.join();
  };
  for (int i = 1; i < threads; ++i) {
    std::optional<Thread> thread = start_thread([&body, i] { body(i); });
    if (!thread) {
      cancelled = true;
      join_all();
      throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again), "no thread is left");
    }
    team.push_back(std::move(*thread));
  }
  while (waiting.load() > 1) std::this_thread::yield();
  const Clock::time_point start = Clock::now();
  body(0);
  join_all();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr int kRuns =
    8;  // runs of a measurement; the best counts, since other work does not lower the limit of a machine

template <class Loop>
double best_run(int threads, const Loop& loop) {
  double best = timed_run(threads, loop);
  for (int run = 1; run < kRuns; ++run) best = std::min(best, timed_run(threads, loop));
  return best;
}

void check_threads(const char* where, int threads) {
  if (threads >= 1 && threads <= kMostThreads) return;
  throw_value_error(where, "threads is " + std::to_string(threads), "expected 1 to " + std::to_string(kMostThreads),
                    "usable_cores() is the number this process may use");
}

}  // namespace

int usable_cores() { return count_usable_cores(); }

void set_num_threads(int n) {
  if (n < 1 || n > kMostThreads) {
    throw_value_error("set_num_threads", "n is " + std::to_string(n), "expected 1 to " + std::to_string(kMostThreads),
                      "usable_cores() is the number this process may use");
  }
  chosen_threads = n;
}

int get_num_threads() {
  if (const int n = chosen_threads) return n;
  static const int initial = initial_threads();  // an invalid value throws here again at the next call
  return initial;
}

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Isa isa : supported_isas()) names.emplace_back(name_of(isa));
  return names;
}

std::string active_isa() { return name_of(select_isa()); }

std::vector<std::string> available_bfloat16() {
  std::vector<std::string> names;
  for (const Bfloat16Isa isa : supported_bfloat16()) names.emplace_back(name_of(isa));
  return names;
}

std::string active_bfloat16() { return supported_bfloat16().empty() ? "" : name_of(select_bfloat16()); }

std::string active_gemm() { return name_of(select_gemm_provider()); }

void set_blas_path(std::string path) { set_preferred_blas(std::move(path)); }

BlasInfo blas_info() { return load_blas(); }

BuildInfo build_info() {
  BuildInfo info;
  info.version = STOOP_VERSION;
  info.compiler = STOOP_COMPILER;
  info.flags = STOOP_FLAGS;
  info.build_type = STOOP_BUILD_TYPE;
#if defined(STOOP_HAVE_CUDA)
  info.cuda = true;
#endif
  return info;
}

template <class T>
double measure_fma_peak(int threads) {
  check_threads("measure_fma_peak", threads);
  const OpTable<T>& table = op_table<T>(select_isa());
  Index iterations = 1024;
  const auto loop = [&](int) {
    alignas(64) T sink[256] = {};  // 32 of the widest vectors: as many as there are registers
    table.fma_loop(iterations, sink);
  };
  constexpr double kRunSeconds = 3e-3;  // long compared with the start of a thread, short compared with a time slice
  double seconds = timed_run(1, loop);
  while (seconds < kRunSeconds / 4 && iterations < (Index{1} << 40)) {
    iterations *= 2;
    seconds = timed_run(1, loop);
  }
  iterations = std::max<Index>(1, static_cast<Index>(static_cast<double>(iterations) * kRunSeconds / seconds));
  const double flops = static_cast<double>(iterations * table.fma_loop_flops) * threads;
  return flops / best_run(threads, loop) * 1e-9;
}

template double measure_fma_peak<float>(int threads);
template double measure_fma_peak<double>(int threads);

// Computes sum += addend over two arrays. Three passes are counted: sum and addend are read, sum is written. A write to
// memory that was just read moves only its own bytes. A write to a third array would first read the lines it overwrites.
double measure_memory_bandwidth(int threads) {
  check_threads("measure_memory_bandwidth", threads);
  const OpTable<float>& table = op_table<float>(select_isa());
  // Two arrays have 32 MB for each thread, since many threads have many last-level caches; at least 256 MB, at most 2 GB.
  constexpr Index kMegabyte = (Index{1} << 20) / sizeof(float);
  const Index slice = std::clamp<Index>(16 * threads, 128, 1024) * kMegabyte / threads;
  const auto size = static_cast<std::size_t>(slice * threads);
  const std::unique_ptr<float[]> sum(new float[size]), addend(new float[size]);  // not initialised, see below
  timed_run(threads, [&](int thread) {  // memory lies near the core that first writes to it
    std::fill_n(sum.get() + thread * slice, slice, 0.0f);
    std::fill_n(addend.get() + thread * slice, slice, 1.0f);
  });
  const double seconds = best_run(threads, [&](int thread) {
    const Index begin = thread * slice;
    table.add({1, slice, addend.get() + begin, slice, sum.get() + begin, slice, false});
  });
  return 3.0 * sizeof(float) * static_cast<double>(size) / seconds * 1e-9;
}

}  // namespace stoop
