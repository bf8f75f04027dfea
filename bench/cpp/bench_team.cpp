// What two threads cost each other: a meeting, and lines that the other thread has just written. These bound small
// networks, whose steps are a few microseconds: names team/meeting, team/lines/<order>/<bytes>.
#include <algorithm>
#include <chrono>
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

// A job in which two threads meet again and again; `body(share, phase)` is what they do in between.
template <class Body>
class Meetings final : public Work {
 public:
  Meetings(Index phases, const Body& body) : phases_(phases), body_(body) {}
  bool run(int share, Index phase, int) noexcept override {
    body_(share, phase);
    return phase + 1 < phases_;
  }

 private:
  const Index phases_;
  const Body& body_;
};

// False if the machine does not give two threads.
template <class Body>
bool on_two_threads(Index phases, const Body& body) {
  Team team(2);
  if (team.size() != 2) return false;
  Meetings<Body> meetings(phases, body);
  team.run(2, meetings);
  return true;
}

void run_meeting(benchmark::State& state) {
  constexpr Index kMeetings = 2000;
  double best = 1e30;
  for (auto _ : state) {
    Clock::time_point start;
    const bool two = on_two_threads(kMeetings + 1, [&](int share, Index phase) {
      if (share == 0 && phase == 1) start = Clock::now();
      if (share == 0 && phase == kMeetings) best = std::min(best, nanoseconds_since(start) / (kMeetings - 1));
    });
    if (!two) return state.SkipWithError("there is one thread only");
  }
  state.counters["ns"] = best;
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
  times.reserve(kTurns);
  for (auto _ : state) {
    times.clear();
    const bool two = on_two_threads(2 * kTurns, [&](int share, Index phase) {
      const bool writes = phase % 2 == 0;
      if (share == 1 && writes) {
        for (Index i = 0; i < lines * kLineFloats; ++i) data.data()[i] += 1.0f;
      }
      if (share != 0 || writes) return;
      const auto start = Clock::now();
      float sum = 0.0f;
      for (const Index line : order) sum += data.data()[line * kLineFloats];
      benchmark::DoNotOptimize(sum);
      times.push_back(nanoseconds_since(start));
    });
    if (!two) return state.SkipWithError("there is one thread only");
  }
  std::sort(times.begin(), times.end());
  const auto ns_a_line = [&](std::size_t i) { return times[i] / static_cast<double>(lines); };
  state.counters["fastest_ns_a_line"] = ns_a_line(0);
  state.counters["ns_a_line"] = ns_a_line(times.size() / 2);
}

}  // namespace

void register_team() {
  benchmark::RegisterBenchmark("team/meeting", run_meeting)->Unit(benchmark::kMicrosecond);
  for (const Index bytes : {8 << 10, 32 << 10, 128 << 10}) {
    for (const bool as_product : {false, true}) {
      const std::string name =
          std::string("team/lines/") + (as_product ? "product/" : "sequence/") + std::to_string(bytes);
      benchmark::RegisterBenchmark(name.c_str(), run_lines, bytes / 64, as_product)->Unit(benchmark::kMicrosecond);
    }
  }
}

}  // namespace stoop::bench
