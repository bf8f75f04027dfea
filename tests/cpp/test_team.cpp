// Teams: each share of each phase is run once, in order, by whoever has a core; a thread that does not come is not waited
// for. A thread without a core is one that the arrival hook holds up; no test looks at a clock to decide.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <fstream>
#include <functional>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include <stoop/runtime.hpp>
#include <stoop/trainer.hpp>

#include "team/crew.hpp"
#include "team/team.hpp"
#include "test_helpers.hpp"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define STOOP_TEST_SANITIZED 1
#endif
#elif defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STOOP_TEST_SANITIZED 1
#endif

namespace stoop {
namespace {

using namespace std::chrono_literals;

// Until `done` says so; false if it has not within a time that no healthy machine needs.
template <class Done>
bool wait_until(const Done& done) {
  const auto give_up = std::chrono::steady_clock::now() + 30s;
  while (!done()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::yield();
  }
  return true;
}

// Keeps the threads of all teams from their work as long as this lives.
class NoCores {
 public:
  NoCores() {
    closed() = true;
    set_team_arrival_hook([] {
      while (closed()) std::this_thread::sleep_for(1ms);
    });
  }
  ~NoCores() {
    open();
    set_team_arrival_hook(nullptr);
  }
  static void open() { closed() = false; }

 private:
  static std::atomic<bool>& closed() {
    static std::atomic<bool> value{false};
    return value;
  }
};

// Lends a whole team. A test before may have stopped a thread for so long that its caller goes on alone for a while.
class WholeTeam {
 public:
  explicit WholeTeam(int threads) {
    EXPECT_TRUE(wait_until([&] { return team_.emplace(threads).size() == threads; }));
  }
  void run(int shares, Work& work, Team::First first = Team::First::anyone) { team_->run(shares, work, first); }

 private:
  std::optional<Team> team_;
};

// Notes who ran what, and in which order.
class Recorded final : public Work {
 public:
  using Body = std::function<void(int share, Index phase, int worker)>;
  Recorded(int shares, Index phases, Body body = {})
      : shares_(shares), phases_(phases), body_(std::move(body)), workers_(cells()), in_order_(true) {
    for (std::atomic<int>& worker : workers_) worker = -1;
  }

  bool run(int share, Index phase, int worker) noexcept override {
    if (finished_.load() < phase * shares_) in_order_ = false;
    if (body_) body_(share, phase, worker);
    twice_ += workers_[static_cast<std::size_t>(phase * shares_ + share)].exchange(worker) != -1;
    ++finished_;
    return phase + 1 < phases_;
  }

  void expect_complete() const {
    EXPECT_EQ(finished_.load(), shares_ * phases_);
    EXPECT_EQ(twice_.load(), 0);
    EXPECT_TRUE(in_order_.load()) << "a phase began before the one before was over";
  }
  bool is_complete() const { return finished_.load() == shares_ * phases_ && twice_.load() == 0 && in_order_.load(); }
  int worker_of(int share, Index phase) const { return workers_[static_cast<std::size_t>(phase * shares_ + share)]; }
  std::set<int> workers() const { return {workers_.begin(), workers_.end()}; }

 private:
  std::size_t cells() const { return static_cast<std::size_t>(shares_ * phases_); }

  const int shares_;
  const Index phases_;
  const Body body_;
  std::vector<std::atomic<int>> workers_;
  std::atomic<Index> finished_{0};
  std::atomic<int> twice_{0};
  std::atomic<bool> in_order_;
};

TEST(Team, RunsEachShareOfEachPhaseOnceAndInOrder) {
  for (const int threads : {1, 2, 3, 8}) {
    for (const int shares : {1, 2, 3, 8, 50, 300}) {
      for (const Index phases : {1, 2, 40}) {
        Team team(threads);
        Recorded work(shares, phases);
        team.run(shares, work);
        work.expect_complete();
      }
    }
  }
}

TEST(Team, ManyJobsInARow) {
  for (int i = 0; i < 20000; ++i) {
    Team team(2);
    Recorded work(2 + i % 3, 1 + i % 4);
    team.run(2 + i % 3, work);
    work.expect_complete();
  }
}

TEST(Team, TheCallerDoesAllWhereNobodyComes) {
  const NoCores none;
  for (const int threads : {2, 3, 8}) {
    WholeTeam team(threads);
    Recorded work(3 * threads, 20);
    team.run(3 * threads, work);
    work.expect_complete();
    EXPECT_EQ(work.workers(), std::set<int>{0});
  }
}

TEST(Team, AThreadThatComesLateTakesPart) {
  NoCores none;
  WholeTeam team(2);
  std::atomic<bool> came{false};
  Recorded work(2, 10, [&](int share, Index phase, int worker) {
    if (worker != 0) came = true;
    if (phase == 5 && share == 0) {  // the caller holds its share, so the other is free
      NoCores::open();
      EXPECT_TRUE(wait_until([&] { return came.load(); }));
    }
  });
  team.run(2, work);
  work.expect_complete();
  EXPECT_EQ(work.worker_of(1, 4), 0);
  EXPECT_EQ(work.worker_of(1, 5), 1);
}

TEST(Team, AThreadThatComesAfterTheEndDoesNothing) {
  std::atomic<int> others{0};
  const auto count = [&](int, Index, int worker) { others += worker != 0; };
  {
    const NoCores none;
    WholeTeam team(2);
    Recorded work(2, 3, count);
    team.run(2, work);
    work.expect_complete();
  }  // now it comes
  EXPECT_EQ(others.load(), 0);
  WholeTeam team(2);  // and it helps with a job of later
  Recorded work(2, 1, [&](int share, Index phase, int worker) {
    count(share, phase, worker);
    if (share == 0) {
      EXPECT_TRUE(wait_until([&] { return others.load() > 0; }));
    }
  });
  team.run(2, work);
  work.expect_complete();
}

TEST(Team, WaitsForAThreadThatHoldsAShare) {
  WholeTeam team(2);
  std::atomic<bool> held{false}, finished{false};
  Recorded work(2, 1, [&](int share, Index, int worker) {
    if (share == 0 && worker == 0) {
      EXPECT_TRUE(wait_until([&] { return held.load(); }));
    }
    if (share == 1 && worker == 1) {
      held = true;
      std::this_thread::sleep_for(30ms);
      finished = true;
    }
  });
  team.run(2, work);
  EXPECT_TRUE(finished.load());
  work.expect_complete();
}

TEST(Team, AnotherThreadTakesWhatTheCallerDoesNotComeTo) {
  WholeTeam team(2);
  Recorded work(64, 1, [](int, Index, int worker) {
    if (worker == 0) std::this_thread::sleep_for(20ms);
  });
  team.run(64, work);
  work.expect_complete();
  EXPECT_TRUE(work.workers().contains(1));
}

TEST(Team, TheFirstShareIsTheCallersWhereAskedFor) {
  WholeTeam team(3);
  Recorded work(3, 300, [](int share, Index phase, int) {
    if (share == 1 && phase % 50 == 0) std::this_thread::sleep_for(1ms);
  });
  team.run(3, work, Team::First::caller);
  work.expect_complete();
  for (Index phase = 0; phase < 300; ++phase) EXPECT_EQ(work.worker_of(0, phase), 0) << phase;
}

TEST(Team, SeveralCallersAtATime) {
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([] {
      for (int i = 0; i < 500; ++i) {
        Team team(1 + i % 4);
        Recorded work(4, 5);
        team.run(4, work);
        work.expect_complete();
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST(Team, AJobWithinAJob) {
  Team team(2);
  Recorded work(2, 4, [](int, Index, int) {
    Team inner(2);
    Recorded nested(3, 2);
    inner.run(3, nested);
    nested.expect_complete();
  });
  team.run(2, work);
  work.expect_complete();
}

TEST(Team, NothingSpinsAfterACall) {
  for (int i = 0; i < 100; ++i) run_shares(2, [](int, int) {});
  const std::clock_t before = std::clock();  // CPU time of the process
  std::this_thread::sleep_for(300ms);
  EXPECT_LT(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC, 0.03);
}

TEST(Team, CountsOfPhasesWrapAround) {
  EXPECT_TRUE(is_before(1, 2));
  EXPECT_FALSE(is_before(2, 2));
  EXPECT_TRUE(is_before(0xffffffffu, 0));
  EXPECT_FALSE(is_before(0, 0xffffffffu));
  const ClaimWord claims{0xfffffffeu, 3, 0xffff}, same = ClaimWord::of(claims.word());
  EXPECT_EQ(same.phase, claims.phase);
  EXPECT_EQ(same.begin, 3u);
  EXPECT_EQ(same.end, 0xffffu);
}

TEST(Seclusion, FollowsWaitsThatLastLongerThanTheyHelp) {
  const auto now = Seclusion::Clock::now() + 1h;
  Seclusion even, stopped;
  even.record_wait(10ms, now, 2ms);    // uneven shares
  even.record_wait(10us, now, 100us);  // a thread that woke
  EXPECT_FALSE(even.is_on());
  stopped.record_wait(1ms, now, 4ms);
  EXPECT_TRUE(stopped.still_on());
}

TEST(Seclusion, EndsByItself) {
  Seclusion stopped;
  stopped.record_wait(1ms, Seclusion::Clock::now() - 1h, 4ms);
  EXPECT_TRUE(stopped.is_on());
  EXPECT_FALSE(stopped.still_on());
}

// ---- what a user calls ----

template <class T>
class TeamCalls : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(TeamCalls, ElementTypes);

// All that a user calls, in a row: what it leaves in the model and returns.
template <class T>
std::vector<T> results_of_calls(int threads) {
  set_num_threads(threads);
  Model<T> model(
      {.input_dim = 40, .layers = {Dense{300}, BatchNorm{}, ReLU{}, Dropout{0.2}, Dense{300, Tanh{}}, Dense{3}}});
  const Samples<T> samples(500, 40, 3);
  Trainer<T> trainer(model, {.clip_norm = 1.0, .num_threads = threads});
  trainer.fit(samples.x(), samples.classes, {.epochs = 2, .batch_size = 64});
  std::vector<T> results(model.parameter_block().size());
  results.push_back(static_cast<T>(trainer.loss_and_grad(samples.x(), samples.classes, results)));
  results.push_back(static_cast<T>(trainer.step(samples.x(), samples.classes)));
  results.push_back(static_cast<T>(trainer.evaluate(samples.x(), samples.classes).loss));
  for (const Index rows : {1, 8, 500}) {
    const MatrixView<const T> x{samples.x().data, rows, samples.x().cols, samples.x().stride};
    for (int call = 0; call < 3; ++call) {
      const std::vector<T> out = predictions_of(model, x);
      results.insert(results.end(), out.begin(), out.end());
    }
  }
  const auto block = model.parameter_block();
  results.insert(results.end(), block.begin(), block.end());
  set_num_threads(usable_cores());
  return results;
}

TYPED_TEST(TeamCalls, EndWithTheSameBitsWhereNobodyComes) {
  using T = TypeParam;
  const std::vector<T> alone = results_of_calls<T>(1);
  const NoCores none;
  for (const int threads : {2, 3, 8}) EXPECT_TRUE(same_bits<T>(alone, results_of_calls<T>(threads))) << threads;
}

TEST(Team, IsSmallerWhereNoMoreThreadsCanBeMade) {
#if defined(STOOP_TEST_SANITIZED)
  GTEST_SKIP() << "sanitizers need more memory than the test leaves";
#endif
  const pid_t child = ::fork();  // it has no thread of a team yet
  if (child == 0) {
    ::alarm(60);
    rlim_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    pthread_attr_t attributes;
    ::pthread_attr_init(&attributes);
    std::size_t stack = 0;
    ::pthread_attr_getstacksize(&attributes, &stack);  // 8 MB or less, as the system has it
    const rlim_t bytes = pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + 4 * stack + (4 << 20);
    const rlimit little{bytes, bytes};
    ::setrlimit(RLIMIT_AS, &little);
    Team team(64);
    Recorded work(64, 10);
    team.run(64, work);
    ::_exit(team.size() < 64 && work.is_complete() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(Team, AForkedChildHasATeamOfItsOwn) {
#if defined(STOOP_TEST_SANITIZED)
  GTEST_SKIP() << "sanitizers do not follow a fork of a process with threads";
#endif
  for (int i = 0; i < 10; ++i) run_shares(2, [](int, int) {});
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    Team team(2);
    std::atomic<bool> came{false};
    Recorded work(2, 1, [&](int, Index, int worker) {
      if (worker != 0) came = true;
      wait_until([&] { return came.load(); });
    });
    team.run(2, work);
    ::_exit(came.load() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace stoop
