// A crew is a calling thread and the threads that help it with one job after another. team.hpp says what a job is, and
// team.cpp lends crews.
//
// In each phase every worker has a range of shares of its own. It claims them from the front, with one atomic operation on
// a line that is nearly always its own. A worker that has none left takes shares from the end of other ranges. The worker
// that finishes the last share of a phase opens the next phase.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "team.hpp"
#include "thread.hpp"

namespace stoop::inline v0_1 {

inline void pause_thread() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until `done` or for some 50 microseconds. That covers the uneven ends of phases and the time between two calls of a
// loop. A pause takes 14 to 50 ns, depending on the CPU.
template <class Done>
bool spin_until(const Done& done) {
  using Clock = std::chrono::steady_clock;
  const auto give_up = Clock::now() + std::chrono::microseconds(50);
  do {
    for (int i = 0; i < 128; ++i) {
      if (done()) return true;
      pause_thread();
    }
  } while (Clock::now() < give_up);
  return false;
}

// The counts of phases and jobs wrap around.
inline bool is_before(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) < 0; }

// The rest of a worker's range of shares in a phase, in one word that is exchanged at once.
struct ClaimWord {
  std::uint32_t phase;
  std::uint32_t begin, end;  // 16 bits each

  std::uint64_t word() const { return std::uint64_t{phase} << 32 | begin << 16 | end; }
  static ClaimWord of(std::uint64_t word) {
    return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint32_t>(word >> 16) & 0xffffu,
            static_cast<std::uint32_t>(word) & 0xffffu};
  }
};

// Decides when the calling thread should work alone for a while: when threads that were stopped in the middle of a share
// have made it wait longer than they have helped.
class Seclusion {
 public:
  using Clock = std::chrono::steady_clock;

  bool is_on() const { return is_on_; }
  // Returns whether the caller should work alone now. The time of working alone ends by itself.
  bool still_on() {
    if (is_on_ && Clock::now() >= until_) is_on_ = false;
    return is_on_;
  }
  // Records a wait. `worked` is the time between the start of the job, or the last wait, and this one.
  void record_wait(Clock::duration worked, Clock::time_point end, Clock::duration waited) {
    if (waited < kShortest || waited < worked / 2) return;
    // The last time alone ended just now, so the cores are still busy.
    hold_ = end - until_ < hold_ ? std::min<Clock::duration>(2 * hold_, kLongestHold) : Clock::duration(kHold);
    until_ = end + hold_;
    is_on_ = true;
  }

 private:
  // A time slice of the scheduler is some milliseconds. Shorter waits come from uneven shares.
  static constexpr auto kShortest = std::chrono::microseconds(200);
  static constexpr auto kHold = std::chrono::milliseconds(60);
  static constexpr auto kLongestHold = std::chrono::milliseconds(1000);

  bool is_on_ = false;
  Clock::duration hold_{kHold};
  Clock::time_point until_{};
};

class Crew {
 public:
  explicit Crew(int cores) : cores_(cores), lines_(new Line[kMostThreads]) {}

  // Returns whether none of the first `workers` sleeps.
  bool is_awake(int workers) const {
    for (int i = 1; i < workers; ++i) {
      if (lines_[static_cast<std::size_t>(i)].asleep.load(std::memory_order_relaxed)) return false;
    }
    return true;
  }
  // Returns whether the last calls have shown that the calling thread is faster alone.
  bool is_secluded() { return seclusion_.still_on(); }

  // Makes threads until the crew has `workers`, the caller included. Returns how many it has.
  int grow(int workers) {
    while (workers_ < workers) {
      if (!start_thread(workers_)) break;
      ++workers_;
    }
    return workers_;
  }

  // Runs a job on the calling thread and up to `workers` - 1 others.
  void run(int workers, int shares, Work& work, bool first_is_callers) {
    const std::uint32_t number = job_.load(std::memory_order_relaxed) + 1;
    forget_old_claims();
    const std::uint32_t phase = phase_.load(std::memory_order_relaxed) + 1;
    // A thread that still looks at the last job and reads one of these also sees that the last job is over.
    work_.store(&work, std::memory_order_release);
    first_phase_.store(phase, std::memory_order_release);
    shares_.store(shares, std::memory_order_release);
    team_.store(workers, std::memory_order_release);
    first_is_callers_.store(first_is_callers, std::memory_order_release);
    dismissed_.store(false, std::memory_order_relaxed);
    job_.store(number, std::memory_order_release);
    phase_.store(phase, std::memory_order_release);  // its number tells a reader to which job it belongs
    call(workers);
    since_ = Seclusion::Clock::now();
    take_part(job_at(number), 0, phase);
  }

 private:
  struct Job {
    Work* work;
    std::uint32_t number, first_phase;
    int shares, workers;
    bool first_is_callers;
    bool spins;  // false where spinning threads would keep each other from a core
    int patience() const { return spins ? kPatience : 0; }
  };
  struct alignas(128) Line {  // of one worker
    std::atomic<std::uint64_t> claims{0};
    std::atomic<std::uint32_t> calls{0};
    std::atomic<bool> asleep{false};
  };
  // Shares that are done count themselves on a line of their group, and the last of a group on a line of all groups. On one
  // line alone they would wait for each other.
  struct alignas(128) Count {
    std::atomic<int> done{0};
  };
  static constexpr int kGroupShares = 16, kMostGroups = 64;
  // The number of pauses, about a microsecond, that a thread waits before it takes what another thread has not begun.
  static constexpr int kPatience = 40;

  Line& line_of(int worker) const { return lines_[static_cast<std::size_t>(worker)]; }

  // Returns what is known of the job with this number.
  Job job_at(std::uint32_t number) const {
    Job job{};
    job.number = number;
    job.work = work_.load(std::memory_order_acquire);
    job.first_phase = first_phase_.load(std::memory_order_acquire);
    job.shares = shares_.load(std::memory_order_acquire);
    job.workers = team_.load(std::memory_order_acquire);
    job.first_is_callers = first_is_callers_.load(std::memory_order_acquire);
    job.spins = job.workers <= cores_;
    return job;
  }

  // ---- claims ----

  // Returns the rest of the range of `owner`: all of it, if nobody has claimed any share in this phase.
  static ClaimWord left_of(const Job& job, int owner, std::uint32_t phase, std::uint64_t word) {
    const ClaimWord claims = ClaimWord::of(word);
    if (!is_before(claims.phase, phase)) return claims;
    const Range all = share(job.shares, owner, job.workers);
    return {phase, static_cast<std::uint32_t>(all.begin), static_cast<std::uint32_t>(all.end)};
  }

  // Claims a share of the range of `owner`: the first if the range is the worker's own, else the last. Returns -1 if there
  // is none.
  int claim(const Job& job, int owner, std::uint32_t phase, bool own) {
    std::atomic<std::uint64_t>& line = line_of(owner).claims;
    std::uint64_t word = line.load(std::memory_order_relaxed);
    for (;;) {
      ClaimWord claims = left_of(job, owner, phase, word);
      if (claims.phase != phase || claims.begin == claims.end) return -1;
      const std::uint32_t number = own ? claims.begin++ : --claims.end;
      if (line.compare_exchange_weak(word, claims.word(), std::memory_order_acq_rel, std::memory_order_relaxed)) {
        return static_cast<int>(number);
      }
    }
  }

  int claim_from_others(const Job& job, int worker, std::uint32_t phase) {
    for (int i = 1; i < job.workers; ++i) {
      const int owner = (worker + i) % job.workers;
      if (owner == 0 && job.first_is_callers) continue;
      if (const int number = claim(job, owner, phase, false); number >= 0) return number;
    }
    return -1;
  }

  // A worker may have had no share for so long that the count of phases has wrapped around; its word would look new.
  void forget_old_claims() {
    constexpr std::uint32_t kLong = 1u << 28;
    const std::uint32_t phase = phase_.load(std::memory_order_relaxed);
    if (phase - forgotten_at_ < kLong) return;
    for (int i = 0; i < kMostThreads; ++i) {
      line_of(i).claims.store(ClaimWord{phase - 1, 0, 0}.word(), std::memory_order_relaxed);
    }
    forgotten_at_ = phase;
  }

  // ---- phases ----

  void take_part(const Job& job, int worker, std::uint32_t phase) {
    int patience = job.patience();
    for (;;) {
      const bool helps = worker == 0 || !dismissed_.load(std::memory_order_relaxed);
      for (int number; helps && (number = claim(job, worker, phase, true)) >= 0;) run_share(job, number, phase, worker);
      if (!helps || !meet(job, worker, phase, patience)) return;
    }
  }

  void run_share(const Job& job, int number, std::uint32_t phase, int worker) {
    const bool more = job.work->run(number, static_cast<Index>(phase - job.first_phase) / 2, worker);
    if (!ends_phase(job.shares, number)) return;
    phase_.store(more ? phase + 2 : phase + 1, std::memory_order_seq_cst);
    if (waiting_.load(std::memory_order_seq_cst) > 0) phase_.notify_all();
  }

  // Counts a share that is done. Returns whether it was the last of the phase.
  bool ends_phase(int shares, int number) {
    const int groups = std::min((shares + kGroupShares - 1) / kGroupShares, kMostGroups);
    const int group = groups == 1 ? 0 : ((number + 1) * groups - 1) / shares;
    const Range members = share(shares, group, groups);
    if (!is_last(counts_[group].done, static_cast<int>(members.end - members.begin))) return false;
    return groups == 1 || is_last(groups_done_, groups);
  }
  static bool is_last(std::atomic<int>& count, int of) {
    if (count.fetch_add(1, std::memory_order_acq_rel) + 1 < of) return false;
    count.store(0, std::memory_order_relaxed);
    return true;
  }

  // Returns whether a phase that was read does not belong to the job, because the job is over. Others may have followed.
  bool is_over(std::uint32_t number, std::uint32_t phase) const {
    return phase % 2 != 0 || job_.load(std::memory_order_relaxed) != number;
  }

  // Waits for the next phase, which it sets, and takes the shares of workers that do not come. Returns false if the job is
  // over.
  bool meet(const Job& job, int worker, std::uint32_t& phase, int& patience) {
    int waited = 0;
    while (phase_.load(std::memory_order_acquire) == phase) {
      if (waited++ >= patience) {
        if (const int number = claim_from_others(job, worker, phase); number >= 0) {
          patience = 0;  // a worker that is not there now will hardly come for the next phase
          run_share(job, number, phase, worker);
          waited = 0;
          continue;
        }
        patience = job.patience();  // all are at work
        wait_for_end(job, worker, phase);
        break;
      }
      pause_thread();
    }
    phase = phase_.load(std::memory_order_acquire);
    if (is_over(job.number, phase)) return false;
    if (worker == 0 && dismissed_.load(std::memory_order_relaxed) && !seclusion_.still_on()) {
      dismissed_.store(false, std::memory_order_relaxed);
      call(job.workers);
    }
    return true;
  }

  // Waits for the end of a phase whose shares are all claimed.
  void wait_for_end(const Job& job, int worker, std::uint32_t phase) {
    if (job.spins && spin_until([&] { return phase_.load(std::memory_order_acquire) != phase; })) return;
    const auto start = worker == 0 ? Seclusion::Clock::now() : Seclusion::Clock::time_point{};
    waiting_.fetch_add(1, std::memory_order_seq_cst);
    phase_.wait(phase, std::memory_order_acquire);
    waiting_.fetch_sub(1, std::memory_order_relaxed);
    if (worker != 0) return;
    const auto end = Seclusion::Clock::now();
    seclusion_.record_wait(start - since_, end, end - start);
    since_ = end;
    dismissed_.store(seclusion_.is_on(), std::memory_order_relaxed);
  }

  // ---- threads ----

  void call(int workers) {
    for (int i = 1; i < workers; ++i) {
      Line& line = line_of(i);
      line.calls.fetch_add(1, std::memory_order_seq_cst);
      if (line.asleep.load(std::memory_order_seq_cst)) line.calls.notify_one();
    }
  }

  // The life of a thread. It begins as if the thread had just been called.
  void serve(int worker) {
    const FlushToZero mode;
    Line& line = line_of(worker);
    for (std::uint32_t seen = line.calls.load(std::memory_order_acquire) - 1;;) {
      wait_for_call(line, seen);
      seen = line.calls.load(std::memory_order_acquire);
      if (void (*hook)() = arrival_hook.load(std::memory_order_relaxed)) hook();
      help(worker);
    }
  }

  static void wait_for_call(Line& line, std::uint32_t seen) {
    if (spin_until([&] { return line.calls.load(std::memory_order_acquire) != seen; })) return;
    line.asleep.store(true, std::memory_order_seq_cst);
    line.calls.wait(seen, std::memory_order_seq_cst);
    line.asleep.store(false, std::memory_order_relaxed);
  }

  // Helps with the current job, if there is one. What was read of the job belongs together if the job had not ended when the
  // phase was read. If it ends later, all shares of that phase are claimed already, so no claim succeeds.
  void help(int worker) {
    const std::uint32_t number = job_.load(std::memory_order_acquire);
    const Job job = job_at(number);
    const std::uint32_t phase = phase_.load(std::memory_order_acquire);
    if (!is_over(number, phase) && worker < job.workers) take_part(job, worker, phase);
  }

  bool start_thread(int worker) {
    std::optional<Thread> thread = stoop::start_thread([this, worker] { serve(worker); });
    if (thread) thread->detach();
    return thread.has_value();
  }

 public:
  static inline std::atomic<void (*)()> arrival_hook{nullptr};

 private:
  const int cores_;
  int workers_ = 1;
  std::uint32_t forgotten_at_ = 0;
  Seclusion seclusion_;
  Seclusion::Clock::time_point since_{};  // when the job began, or the caller last waited
  const std::unique_ptr<Line[]> lines_;   // by worker
  // These are written when a job begins.
  alignas(128) std::atomic<std::uint32_t> job_{0};
  std::atomic<std::uint32_t> first_phase_{0};
  std::atomic<Work*> work_{nullptr};
  std::atomic<int> shares_{0}, team_{0};
  std::atomic<bool> first_is_callers_{false}, dismissed_{false};
  Count counts_[kMostGroups];  // written by each share
  alignas(128) std::atomic<int> groups_done_{0};
  std::atomic<int> waiting_{0};  // threads that sleep until the next phase
  // Written once a phase: an even number, or an odd one when a job is over. Both facts must be one number, so that a thread
  // which reads that a job is over has seen all that was done for it.
  alignas(128) std::atomic<std::uint32_t> phase_{1};
};

}  // namespace stoop
