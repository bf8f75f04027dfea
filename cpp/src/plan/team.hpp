// Teams of threads: the only file that starts them. A team's barrier and what a thread sets while it works in one.
#pragma once

#include <omp.h>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include <algorithm>
#include <atomic>
#include <mutex>

#include <stoop/runtime.hpp>
#include <stoop/types.hpp>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace stoop {

// Counts arrivals; the last one opens the barrier. Waiters spin for some 25 microseconds, which covers the uneven ends of a
// step's phases, then sleep in the kernel. Only std::atomic is used, so thread sanitizers see the order it makes.
class TeamBarrier {
 public:
  explicit TeamBarrier(bool may_spin) : spins_(may_spin ? 1000 : 0) {}

  void wait(int team_size) {
    if (team_size == 1) return;
    const unsigned generation = generation_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == team_size) {
      arrived_.store(0, std::memory_order_relaxed);
      generation_.fetch_add(1, std::memory_order_acq_rel);
      generation_.notify_all();
      return;
    }
    for (int i = 0; i < spins_; ++i) {
      if (generation_.load(std::memory_order_acquire) != generation) return;
      pause();
    }
    generation_.wait(generation, std::memory_order_acquire);
  }

 private:
  static void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  const int spins_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> generation_{0};
};

// Whether waiting threads of a team of this size may spin: not if they would keep others of it from a core.
inline bool may_spin(int threads) {
  static const int cores = usable_cores();  // found out by reading files
  return threads <= cores;
}

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

inline std::atomic<bool> g_forked{false};

// A forked child has none of its parent's threads, and the OpenMP runtime would wait for them: it works alone.
inline void watch_for_forks() {
#if defined(__unix__) || defined(__APPLE__)
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { g_forked.store(true); }); });
#endif
}

// Calls body(thread, team size, mode of the thread) on a team of at most `threads`.
template <class Body>
void run_team(int threads, const Body& body) {
  watch_for_forks();
  if (threads <= 1 || g_forked.load()) {
    const FlushToZero mode;
    body(0, 1, mode);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const FlushToZero mode;
    body(omp_get_thread_num(), omp_get_num_threads(), mode);
  }
}

struct Range {
  Index begin, end;
};

// A thread's part of `blocks`.
inline Range share(Index blocks, int thread, int team) {
  return {blocks * thread / team, blocks * (thread + 1) / team};
}

// As many threads as are worth waking to pass over so much memory.
inline int threads_for_elements(Index elements, int most) {
  constexpr Index kElementsPerThread = 1 << 17;
  return static_cast<int>(std::clamp<Index>(elements / kElementsPerThread, 1, most));
}

// Calls body(part) for the parts of [0, elements), on up to `most` threads.
template <class Body>
void share_elements(Index elements, int most, const Body& body) {
  run_team(threads_for_elements(elements, most),
           [&](int thread, int team, const FlushToZero&) { body(share(elements, thread, team)); });
}

}  // namespace stoop
