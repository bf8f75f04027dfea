#include "workers.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "thread.hpp"

namespace stoop::inline v0_1 {
namespace {

// One call of Workers::run.
class Shift {
 public:
  Shift(Jobs& jobs, Index count, LentCores& cores) : jobs_(jobs), count_(count), cores_(cores) {}

  void run() {
    std::vector<Thread> threads;
    threads.reserve(static_cast<std::size_t>(cores_.size()));
    const FlushToZero::Mode mode = FlushToZero::get();
    working_ = cores_.size();  // before the first of them ends
    for (int i = 0; i < cores_.size(); ++i) {
      if (std::optional<Thread> thread = start_thread([this, i, mode] { work(i, mode); })) {
        threads.push_back(std::move(*thread));
      } else {
        leave();
      }
    }
    if (threads.empty()) return work_alone();
    watch();
    for (Thread& thread : threads) thread.join();
  }

 private:
  void work(int worker, FlushToZero::Mode mode) {
    FlushToZero::set(mode);
    jobs_.begin_thread();
    {
      const LentCores::Own core(cores_);
      for (Index job = next_++; job < count_; job = next_++) jobs_.run(job, worker);
    }
    leave();  // after the core was given back, which others may have now
    jobs_.end_thread();
  }

  void leave() {
    const std::lock_guard lock(mutex_);
    --working_;
    jobs_.on_idle(working_);
    change_.notify_one();
  }

  void watch() {
    std::unique_lock lock(mutex_);
    while (!change_.wait_for(lock, std::chrono::milliseconds(50), [this] { return working_ == 0; })) {
      lock.unlock();
      jobs_.watch();
      lock.lock();
    }
  }

  void work_alone() {
    const LentCores::Own core(cores_);
    for (Index job = 0; job < count_; ++job) {
      jobs_.watch();
      jobs_.run(job, 0);
    }
  }

  Jobs& jobs_;
  const Index count_;
  LentCores& cores_;
  std::atomic<Index> next_{0};
  std::mutex mutex_;
  std::condition_variable change_;
  int working_ = 0;
};

}  // namespace

Workers::Workers(Index jobs, int threads)
    : count_(jobs), threads_(threads), cores_(static_cast<int>(std::min<Index>(jobs, threads))) {
  if (cores_.size() < std::min<Index>(jobs, threads)) threads_ = cores_.size();
}

void Workers::run(Jobs& jobs) { Shift(jobs, count_, cores_).run(); }

}  // namespace stoop
