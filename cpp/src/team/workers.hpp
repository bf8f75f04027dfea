// Whole jobs, each on one thread from its beginning to its end. The calling thread does none of them: it waits and looks
// after them, so that it can answer signals at any time.
#pragma once

#include <stoop/types.hpp>

#include "team.hpp"

namespace stoop::inline v0_1 {

// What the threads of Workers do.
class Jobs {
 public:
  // Runs a job on the thread with this number, from 0. Each is run once.
  virtual void run(Index job, int worker) noexcept = 0;
  // A thread has no more jobs, and `working` others still have one.
  virtual void on_idle(int working) noexcept = 0;
  // The calling thread looks after the jobs, about every 50 ms.
  virtual void watch() noexcept = 0;
  // Each thread calls these, first and last.
  virtual void begin_thread() noexcept = 0;
  virtual void end_thread() noexcept = 0;

 protected:
  ~Jobs() = default;
};

// Threads for whole jobs. Each counts as lent while it works (team.hpp).
class Workers {
 public:
  // Takes up to `threads` threads for so many jobs, at least one of each: no more than there are jobs and, as a Team, no
  // more than the cores that other calls leave.
  Workers(Index jobs, int threads);

  // The number of threads that jobs run on.
  int size() const { return cores_.size(); }
  // The threads that the jobs may use. There are more than size() if there are fewer jobs.
  int threads() const { return threads_; }
  // Runs the jobs 0 .. count-1, taken in this order. Returns when all are done and no thread is left. The threads have the
  // floating-point mode of the calling one. If no thread can be started, the calling thread runs the jobs.
  void run(Jobs& jobs);

 private:
  const Index count_;
  int threads_;
  LentCores cores_;
};

}  // namespace stoop
