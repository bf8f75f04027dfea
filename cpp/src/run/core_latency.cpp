// Measures how long one line of cache takes from a core to another and back.
// Two threads, each pinned to a CPU of its own, pass a turn through one atomic variable. Both end with the measurement, so
// that no setting of the process is left changed.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#elif defined(_WIN32)
#include <windows.h>
#endif

#include <stoop/runtime.hpp>

#include "../cpu/cpu_features.hpp"
#include "../team/thread.hpp"

namespace stoop::inline v0_1 {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
constexpr int kTurns = 1000;  // of a round, which is short against a time slice: one undisturbed round is enough
constexpr int kRounds = 40;
constexpr int kMostPairs = 4;
constexpr std::chrono::milliseconds kTimeLimit{100};  // of a pair; busy cores reach it
constexpr std::chrono::milliseconds kPatience{50};    // until a thread that has no core is let go

struct Exchange {
  alignas(128) std::atomic<int> turn{0};  // the number of the turn; thread 0 takes the even ones, thread 1 the odd ones
  alignas(128) std::atomic<int> running{0};
  SteadyClock::time_point end = SteadyClock::now() + kTimeLimit;
  double seconds = std::numeric_limits<double>::infinity();  // of the fastest round; written by thread 1
};

// Waits for turn `mine` and hands the next one on. False when the time is up.
bool pass_turn(Exchange& exchange, int mine) noexcept {
  for (int spins = 1; exchange.turn.load(std::memory_order_acquire) != mine; ++spins) {
    if (spins % 4096 == 0 && SteadyClock::now() > exchange.end) return false;
  }
  exchange.turn.store(mine + 1, std::memory_order_release);
  return true;
}

void play(Exchange& exchange, int player) noexcept {
  for (int round = 0; round < kRounds; ++round) {
    SteadyClock::time_point start;
    for (int i = 0; i < kTurns; ++i) {
      if (!pass_turn(exchange, 2 * (round * kTurns + i) + player)) return;
      if (i == 0) start = SteadyClock::now();
    }
    const double seconds = std::chrono::duration<double>(SteadyClock::now() - start).count();
    if (player == 1) exchange.seconds = std::min(exchange.seconds, seconds / (kTurns - 1));
  }
}

// Restricts a thread to these CPUs. A system that refuses leaves the thread where it is, and the figure less exact.
void restrict_to([[maybe_unused]] Thread::Handle thread, [[maybe_unused]] const std::vector<int>& cpus) {
#if defined(__linux__)
  if (cpus.empty()) return;
  const int most = *std::max_element(cpus.begin(), cpus.end()) + 1;
  std::vector<cpu_set_t> mask(CPU_ALLOC_SIZE(most) / sizeof(cpu_set_t) + 1);
  const std::size_t bytes = mask.size() * sizeof(cpu_set_t);
  for (const int cpu : cpus) CPU_SET_S(static_cast<std::size_t>(cpu), bytes, mask.data());
  static_cast<void>(pthread_setaffinity_np(thread, bytes, mask.data()));
#elif defined(_WIN32)
  DWORD_PTR mask = 0;
  for (const int cpu : cpus) mask |= DWORD_PTR{1} << cpu;
  if (mask != 0) static_cast<void>(SetThreadAffinityMask(thread, mask));
#endif
}

// Nanoseconds to and fro between the CPUs of `pair`, which is empty where threads cannot be pinned; NaN where the two
// threads never ran at the same time. `all` are the CPUs of the process.
double measure_pair(const std::vector<int>& pair, const std::vector<int>& all) {
  Exchange exchange;
  std::vector<Thread> players;
  players.reserve(2);
  for (int player = 0; player < 2; ++player) {
    ++exchange.running;
    std::optional<Thread> thread = start_thread([&exchange, player] {
      play(exchange, player);
      --exchange.running;
    });
    if (!thread) {  // the first one ends when its time is up
      --exchange.running;
      break;
    }
    players.push_back(std::move(*thread));
    if (!pair.empty()) restrict_to(players.back().native_handle(), {pair[static_cast<std::size_t>(player)]});
  }
  while (exchange.running > 0 && SteadyClock::now() < exchange.end + kPatience) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  for (Thread& player : players) {
    if (exchange.running > 0) restrict_to(player.native_handle(), all);  // its CPU may never be free
    player.join();
  }
  return std::isfinite(exchange.seconds) ? 1e9 * exchange.seconds : kUnknown;
}

// A text that the CPUs of a core have in common.
std::string core_of(int cpu) {
#if defined(_WIN32)
  DWORD bytes = 0;
  GetLogicalProcessorInformation(nullptr, &bytes);
  std::vector<SYSTEM_LOGICAL_PROCESSOR_INFORMATION> parts(bytes / sizeof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION));
  if (!GetLogicalProcessorInformation(parts.data(), &bytes)) parts.clear();
  for (const auto& part : parts) {
    if (part.Relationship == RelationProcessorCore && (part.ProcessorMask >> cpu & 1) != 0)
      return std::to_string(part.ProcessorMask);
  }
#else
  std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
  std::string core;
  if (std::getline(file, core)) return core;
#endif
  return std::to_string(cpu);
}

// One CPU of each core, for two hardware threads of a core share all caches. All CPUs where there is only one core.
std::vector<int> one_cpu_per_core(const std::vector<int>& cpus) {
  std::vector<int> chosen;
  std::vector<std::string> cores;
  for (const int cpu : cpus) {
    std::string core = core_of(cpu);
    if (std::find(cores.begin(), cores.end(), core) != cores.end()) continue;
    cores.push_back(std::move(core));
    chosen.push_back(cpu);
  }
  return chosen.size() > 1 ? chosen : cpus;
}

}  // namespace

double measure_core_latency() {
  if (usable_cores() < 2) return kUnknown;
  const std::vector<int> all = affinity_cpus();
  const std::vector<int> cpus = one_cpu_per_core(all);
  if (cpus.size() < 2) return measure_pair({}, all);
  const int others = static_cast<int>(cpus.size()) - 1;
  const int pairs = std::min(others, kMostPairs);
  double farthest = kUnknown;
  for (int i = 1; i <= pairs; ++i) {  // the other CPUs are spread evenly, the last one included
    const double latency = measure_pair({cpus[0], cpus[static_cast<std::size_t>(i * others / pairs)]}, all);
    farthest = std::fmax(farthest, latency);  // ignores NaN
  }
  return farthest;
}

}  // namespace stoop
