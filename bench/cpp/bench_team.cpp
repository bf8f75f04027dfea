// What two threads cost each other: a meeting, a share that is claimed or taken from the other thread, and lines that the
// other thread has just written. These bound small networks, whose steps are a few microseconds: names team/meeting,
// team/claim, team/steal, team/lines/<order>/<bytes>.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <thread>
#include <vector>

#include "bench_support.hpp"
#include "team/team.hpp"

namespace stoop::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr Index kLineFloats = 16;

double nanoseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

// A job in which two threads meet again and again; `body(share, phase, worker)` is what they do in between. On a busy machine
// a thread may take the share of the other one. Then nothing has moved between cores, so the bodies below look who runs them.
template <class Body>
class Meetings final : public Work {
 public:
  Meetings(Index phases, const Body& body) : phases_(phases), body_(body) {}
  bool run(int share, Index phase, int worker) noexcept override {
    body_(share, phase, worker);
    return phase + 1 < phases_;
  }

 private:
  const Index phases_;
  const Body& body_;
};

// False if the machine does not give two threads within two seconds. Other programs may have kept them apart for a while.
template <class Body>
bool on_two_threads(int shares, Index phases, const Body& body) {
  for (int tries = 0; tries < 40; ++tries) {
    Team team(2);
    if (team.size() == 2) {
      Meetings<Body> meetings(phases, body);
      team.run(shares, meetings);
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

// The fastest of many short windows in which each of the two threads has run its own share.
void run_meeting(benchmark::State& state) {
  constexpr Index kWindow = 20, kWindows = 200;
  double best = std::numeric_limits<double>::infinity();
  for (auto _ : state) {
    Clock::time_point start;
    std::atomic<Index> taken_in{-1};  // the last phase in which a thread took the share of the other one
    const bool two = on_two_threads(2, kWindow * kWindows + 1, [&](int share, Index phase, int worker) {
      if (worker != share) taken_in.store(phase, std::memory_order_relaxed);
      if (share != 0 || phase % kWindow != 0) return;
      const bool whole = phase > 0 && taken_in.load(std::memory_order_relaxed) < phase - kWindow;
      if (whole) best = std::min(best, nanoseconds_since(start) / kWindow);
      start = Clock::now();
    });
    if (!two) return state.SkipWithError("there is one thread only");
  }
  state.counters["ns"] = best;
}

// Many shares of no work: the fastest phase of which each thread has run a third or more.
void run_claims(benchmark::State& state) {
  constexpr int kShares = 512;
  double best = std::numeric_limits<double>::infinity();
  for (auto _ : state) {
    Clock::time_point start;
    alignas(128) std::atomic<int> of_other{0};
    const bool two = on_two_threads(kShares, 200, [&](int share, Index phase, int worker) {
      if (worker == 1) of_other.store(of_other.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      if (share != 0) return;
      const int others = of_other.exchange(0, std::memory_order_relaxed);
      const bool even = phase > 0 && others > kShares / 3 && others < kShares - kShares / 3;
      if (even) best = std::min(best, nanoseconds_since(start));
      start = Clock::now();
    });
    if (!two) return state.SkipWithError("there is one thread only");
  }
  state.counters["ns_a_share"] = best / kShares;
}

// Thread 1 is held by its first share, so thread 0 takes the other ones of thread 1.
void run_steals(benchmark::State& state) {
  constexpr int kOwn = 64;
  constexpr Index kPhases = 200;
  double best = std::numeric_limits<double>::infinity();
  for (auto _ : state) {
    Clock::time_point first, last;
    std::atomic<int> taken{0};
    const bool two = on_two_threads(2 * kOwn, kPhases, [&](int share, Index, int worker) {
      if (share == 0) taken.store(0, std::memory_order_relaxed);
      if (share == kOwn && worker == 1) {
        const auto start = Clock::now();
        while (taken.load(std::memory_order_acquire) < kOwn - 1 && nanoseconds_since(start) < 1e5) {
        }
      }
      if (share <= kOwn || worker != 0) return;
      last = Clock::now();
      const int count = taken.load(std::memory_order_relaxed) + 1;
      if (count == 1) first = last;
      if (count == kOwn - 1)
        best = std::min(best, std::chrono::duration<double, std::nano>(last - first).count() / (count - 1));
      taken.store(count, std::memory_order_release);
    });
    if (!two) return state.SkipWithError("there is one thread only");
  }
  state.counters["ns_a_share"] = best;
}

// Lines [0, lines), one after the other or as a product reads them: three of a row, then of the next, 512 bytes apart.
std::vector<Index> reading_order(Index lines, bool as_product) {
  constexpr Index kRowLines = 8, kPanelLines = 3;
  std::vector<Index> order;
  if (!as_product) {
    for (Index i = 0; i < lines; ++i) order.push_back(i);
    return order;
  }
  for (Index panel = 0; panel < kRowLines; panel += kPanelLines) {
    for (Index row = 0; row < lines; row += kRowLines) {
      for (Index i = panel; i < std::min(panel + kPanelLines, kRowLines); ++i) order.push_back(row + i);
    }
  }
  return order;
}

// One thread writes whole lines, they meet, the other reads one number of each: the fastest and the middle of many turns.
void run_lines(benchmark::State& state, Index lines, bool as_product) {
  constexpr int kTurns = 200;
  Array<float> data(lines * kLineFloats, 0.0, 1.0);
  const std::vector<Index> order = reading_order(lines, as_product);
  std::vector<double> times;
  for (auto _ : state) {
    int writer = 0;
    const bool two = on_two_threads(2, 2 * kTurns, [&](int share, Index phase, int worker) {
      const bool writes = phase % 2 == 0;
      if (share == 1 && writes) {
        writer = worker;
        for (Index i = 0; i < lines * kLineFloats; ++i) data.data()[i] += 1.0f;
      }
      if (share != 0 || writes || worker == writer) return;
      const auto start = Clock::now();
      float sum = 0.0f;
      for (const Index line : order) sum += data.data()[line * kLineFloats];
      benchmark::DoNotOptimize(sum);
      times.push_back(nanoseconds_since(start));
    });
    if (!two) return state.SkipWithError("there is one thread only");
  }
  if (times.empty()) return state.SkipWithError("the threads never had both cores");
  std::sort(times.begin(), times.end());
  const auto ns_a_line = [&](std::size_t i) { return times[i] / static_cast<double>(lines); };
  state.counters["fastest_ns_a_line"] = ns_a_line(0);
  state.counters["ns_a_line"] = ns_a_line(times.size() / 2);
}

}  // namespace

void register_team() {
  benchmark::RegisterBenchmark("team/meeting", run_meeting)->Unit(benchmark::kMicrosecond);
  benchmark::RegisterBenchmark("team/claim", run_claims)->Unit(benchmark::kMicrosecond);
  benchmark::RegisterBenchmark("team/steal", run_steals)->Unit(benchmark::kMicrosecond);
  for (const Index bytes : {8 << 10, 32 << 10, 128 << 10}) {
    for (const bool as_product : {false, true}) {
      const std::string name =
          std::string("team/lines/") + (as_product ? "product/" : "sequence/") + std::to_string(bytes);
      benchmark::RegisterBenchmark(name.c_str(), run_lines, bytes / 64, as_product)->Unit(benchmark::kMicrosecond);
    }
  }
}

}  // namespace stoop::bench
