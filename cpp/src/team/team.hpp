// Teams: several threads work on one job, cut into shares that whoever has a core claims. team.cpp starts the threads.
//
// A job goes through phases. In each phase every share is run once, and all shares of a phase are done before the next
// begins. A share belongs to a thread, so that it finds its data in cache, but another thread takes it where the owner does
// not come: no call waits for a thread that has no core, unless that thread was stopped in the middle of a share. Who
// computes a share does not matter for the bits, because a share is a property of the job.
#pragma once

#include <algorithm>

#include <stoop/runtime.hpp>
#include <stoop/types.hpp>

#include "../base/ranges.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace stoop {

// Denormal numbers cost a hundred cycles each, and as weights decay they come in crowds: they are flushed to zero while
// a team works, and the thread's mode is restored afterwards.
class FlushToZero {
 public:
#if defined(__x86_64__)
  using Mode = unsigned;
  static Mode get() { return _mm_getcsr(); }
  static void set(Mode mode) { _mm_setcsr(mode); }
  static constexpr Mode kFlush = 0x8040u;  // FTZ and DAZ
#elif defined(__aarch64__)
  using Mode = unsigned long long;
  static Mode get() {
    Mode mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void set(Mode mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
  static constexpr Mode kFlush = 1ull << 24;  // FZ
#else
  using Mode = unsigned;
  static Mode get() { return 0; }
  static void set(Mode) {}
  static constexpr Mode kFlush = 0;
#endif

  FlushToZero() : saved_(get()) { set(saved_ | kFlush); }
  ~FlushToZero() { set(saved_); }
  FlushToZero(const FlushToZero&) = delete;
  FlushToZero& operator=(const FlushToZero&) = delete;

  // The thread's own mode again as long as this lives, for a call out of the team.
  class Paused {
   public:
    explicit Paused(const FlushToZero& mode) : flushing_(get()) { set(mode.saved_); }
    ~Paused() { set(flushing_); }
    Paused(const Paused&) = delete;
    Paused& operator=(const Paused&) = delete;

   private:
    const Mode flushing_;
  };

 private:
  const Mode saved_;
};

// What a team does.
class Work {
 public:
  // Runs `share` through `phase`, which counts from 0. True: there is another phase; all shares of a phase say the same.
  // `worker` is the thread: 0 is the one that called Team::run.
  virtual bool run(int share, Index phase, int worker) noexcept = 0;

 protected:
  ~Work() = default;
};

class Crew;
class Crews;

// Threads on loan, at most `threads` with the calling one: fewer where other calls have the cores, where no more threads
// can be made, and for a while after threads of a team were stopped for so long that one alone is faster.
class Team {
 public:
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }
  // Whether its threads look out for work; otherwise they sleep and take some 50 microseconds to come.
  bool is_awake() const;

  // Who may run the share 0: a job that calls out to the user does so on the user's thread.
  enum class First { anyone, caller };
  // Runs all phases of `work`, with at most 65,535 shares. Meanwhile denormals are flushed to zero.
  void run(int shares, Work& work, First first = First::anyone);

 private:
  Crews* lender_ = nullptr;
  Crew* crew_ = nullptr;  // null: the calling thread works alone
  int size_ = 1;
};

// For tests: called by each thread of a team that is about to look for shares. A function that waits stands for a thread
// that has no core. Null, as at the start: nothing is called.
void set_team_arrival_hook(void (*hook)());

// Calls body(share, shares) once for each of as many shares as the team has threads, at most `threads`.
template <class Body>
void run_shares(int threads, const Body& body, Team::First first = Team::First::anyone) {
  class Once final : public Work {
   public:
    Once(const Body& body, int shares) : body_(body), shares_(shares) {}
    bool run(int share, Index, int) noexcept override {
      body_(share, shares_);
      return false;
    }

   private:
    const Body& body_;
    const int shares_;
  };
  Team team(threads);
  Once once(body, team.size());
  team.run(team.size(), once, first);
}

// As many threads as are worth waking to pass over so much memory.
inline int threads_for_elements(Index elements, int most) {
  constexpr Index kElementsPerThread = 1 << 17;
  return static_cast<int>(std::clamp<Index>(elements / kElementsPerThread, 1, most));
}

// Calls body(part) for the parts of [0, elements), on up to `most` threads.
template <class Body>
void share_elements(Index elements, int most, const Body& body) {
  run_shares(threads_for_elements(elements, most),
             [&](int number, int shares) { body(share(elements, number, shares)); });
}

}  // namespace stoop
