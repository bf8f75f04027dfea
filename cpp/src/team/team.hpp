// A team is several threads that work on one job. The job is cut into shares, and threads that have a core claim them.
// team.cpp lends the threads.
//
// A job goes through phases. In each phase every share is run once, and all shares of a phase are done before the next
// begins. A share belongs to a thread, so that it finds its data in cache, but another thread takes it if the owner does
// not come. So no call waits for a thread that has no core, unless that thread was stopped in the middle of a share. The
// bits do not depend on who computes a share, because a share is a property of the job.
#pragma once

#include <algorithm>
#include <atomic>

#include <stoop/runtime.hpp>
#include <stoop/types.hpp>

#include "../base/ranges.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace stoop::inline v0_1 {

// Flushes denormal numbers to zero while a team works, and restores the thread's mode afterwards. A denormal number costs
// a hundred cycles, and they come in crowds as weights decay. No floating-point exception traps meanwhile: kernels compute
// infinities that they do not use.
class FlushToZero {
 public:
#if defined(__x86_64__)
  using Mode = unsigned;
  static Mode get() { return _mm_getcsr(); }
  static void set(Mode mode) { _mm_setcsr(mode); }
  static Mode working(Mode mode) { return mode | 0x8040u | 0x1F80u; }  // FTZ and DAZ; the masks of all exceptions
#elif defined(__aarch64__)
  using Mode = unsigned long long;
  static Mode get() {
    Mode mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void set(Mode mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
  static Mode working(Mode mode) { return (mode | 1ull << 24) & ~0x9F00ull; }  // FZ; traps of exceptions are off
#else
  using Mode = unsigned;
  static Mode get() { return 0; }
  static void set(Mode) {}
  static Mode working(Mode mode) { return mode; }
#endif

  FlushToZero() : saved_(get()) { set(working(saved_)); }
  ~FlushToZero() { set(saved_); }
  FlushToZero(const FlushToZero&) = delete;
  FlushToZero& operator=(const FlushToZero&) = delete;

  // Restores the thread's own mode as long as this object lives, for a call out of the team.
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

// The work of a team.
class Work {
 public:
  // Runs `share` through `phase`, which counts from 0. Returns whether there is another phase; all shares of a phase return
  // the same. `worker` is the number of the thread; 0 is the one that called Team::run.
  virtual bool run(int share, Index phase, int worker) noexcept = 0;

 protected:
  ~Work() = default;
};

class Crew;
class Crews;

// Threads on loan, at most `threads` including the calling one. There are fewer if other calls have the cores, if no more
// threads can be made, and for a while after threads were stopped for so long that one thread alone is faster.
class Team {
 public:
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }
  // Returns whether its threads are awake and look for work. Threads that sleep take some 50 microseconds to come.
  bool is_awake() const;

  // Says who may run share 0. A job that calls a function of the user must do so on the user's thread.
  enum class First { anyone, caller };
  // Runs all phases of `work`, which has at most 65,535 shares. Denormal numbers are flushed to zero meanwhile.
  void run(int shares, Work& work, First first = First::anyone);

 private:
  Crews* lender_ = nullptr;
  Crew* crew_ = nullptr;  // null: the calling thread works alone
  int size_ = 1;
};

// Cores for threads that work without a team of their own (workers.hpp). They count as lent.
class LentCores {
 public:
  // Takes up to `wanted`, and no more than other calls leave.
  explicit LentCores(int wanted);
  ~LentCores();
  LentCores(const LentCores&) = delete;
  LentCores& operator=(const LentCores&) = delete;

  int size() const { return size_; }

  // A thread has one of them as long as this object lives, and gives it back then. A team that it makes takes that core too.
  class Own {
   public:
    explicit Own(LentCores& cores);
    ~Own();
    Own(const Own&) = delete;
    Own& operator=(const Own&) = delete;

   private:
    LentCores& cores_;
  };

 private:
  Crews* const lender_;
  const int size_;
  std::atomic<int> left_;
};

// For tests: each thread of a team calls this before it looks for shares. A function that waits acts as a thread without a
// core. It is null at first: then nothing is called.
void set_team_arrival_hook(void (*hook)());

// Calls body(share, shares) once for each share; there are as many shares as the team has threads, at most `threads`.
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

// Returns the number of threads that pays off for a pass over this many elements.
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
