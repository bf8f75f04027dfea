// fit_many: whole fits on the threads of Workers, those that take longest first, so that the threads end together. Once fewer
// fits run than there are threads, each gets more of them, which its team takes up within 50 ms.

#include <stoop/fit_many.hpp>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include <stoop/error.hpp>

#include "../team/workers.hpp"
#include "fit_task.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr const char* kFitMany = "fit_many";
using Clock = std::chrono::steady_clock;
using Tasks = std::vector<std::unique_ptr<FitTask>>;

void check_options(const FitManyOptions& options) {
  if (options.num_threads < 0 || options.num_threads > kMostThreads) {
    throw_value_error(kFitMany, "num_threads=" + std::to_string(options.num_threads),
                      "expected 1 to " + std::to_string(kMostThreads), "leave it out for get_num_threads()");
  }
  if (!(options.max_seconds >= 0.0)) {
    throw_value_error(kFitMany, "max_time=" + number_text(options.max_seconds), "expected at least 0 seconds",
                      "leave it out for no limit");
  }
}

void check_different(const Tasks& tasks) {
  std::set<const void*> trainers, models;
  for (const std::unique_ptr<FitTask>& task : tasks) {
    if (!trainers.insert(task->trainer()).second) {
      throw_value_error(kFitMany, "trainer " + std::to_string(task->number) + " is given twice", "expected each once",
                        "check the list of trainers");
    }
    if (!models.insert(task->model()).second) {
      throw_value_error(kFitMany, "trainer " + std::to_string(task->number) + " has the model of another",
                        "expected a model for each", "give each trainer a copy of the model");
    }
  }
}

Tasks make_tasks(std::span<const AnyFitJob> jobs, SharedData& shared, const FitManyOptions& options) {
  Poller checking(options.keep_going);
  Poller* const asked = options.keep_going ? &checking : nullptr;
  Tasks tasks;
  tasks.reserve(jobs.size());
  for (const AnyFitJob& job : jobs) tasks.push_back(make_task(job, tasks.size(), shared, asked));
  check_different(tasks);
  return tasks;
}

class Run final : public Jobs {
 public:
  Run(const Tasks& tasks, const FitManyOptions& options, const Workers& workers)
      : options_(options),
        threads_(workers.threads()),
        loans_(static_cast<std::size_t>(workers.size())),
        active_(loans_.size()),
        working_(workers.size()) {
    for (const std::unique_ptr<FitTask>& task : tasks) {
      order_.push_back(task.get());
      all_ += task->cost;
    }
    std::ranges::stable_sort(order_, std::greater<>(), &FitTask::cost);
  }

  void run(Index job, int worker) noexcept override {
    FitTask& task = *order_[static_cast<std::size_t>(job)];
    const double left = seconds_left();
    if (stopped_ || left <= 0.0) {
      task.result.history.stop_reason = stopped_ ? StopReason::interrupted : StopReason::max_time;
    } else {
      begin(worker, task);
      task.run(loans_[static_cast<std::size_t>(worker)], left, is_stopped_);
      end(worker, task);
    }
    if (options_.on_end) options_.on_end(task.number, task.result);
  }

  void on_idle(int working) noexcept override {
    const std::lock_guard lock(mutex_);
    working_ = working;
    deal_threads();
  }

  void watch() noexcept override {
    if (stopped_ || !options_.on_progress) return;
    FitManyProgress now{.jobs = order_.size()};
    {
      const std::lock_guard lock(mutex_);
      now.done = done_;
      now.failed = failed_;
      double cost = cost_done_;
      for (const FitTask* task : active_) {
        if (task == nullptr) continue;
        ++now.running;
        cost += task->cost * task->part;
      }
      now.part = cost / all_;
    }
    if (!options_.on_progress(now)) stopped_ = true;
  }

  void begin_thread() noexcept override {
    if (options_.on_thread_begin) options_.on_thread_begin();
  }
  void end_thread() noexcept override {
    if (options_.on_thread_end) options_.on_thread_end();
  }

 private:
  double seconds_left() const {
    return options_.max_seconds - std::chrono::duration<double>(Clock::now() - began_).count();
  }

  void begin(int worker, FitTask& task) {
    const std::lock_guard lock(mutex_);
    active_[static_cast<std::size_t>(worker)] = &task;
    deal_threads();
  }

  void end(int worker, const FitTask& task) {
    const std::lock_guard lock(mutex_);
    active_[static_cast<std::size_t>(worker)] = nullptr;
    ++done_;
    if (task.result.error) ++failed_;
    cost_done_ += task.cost;
  }

  // Threads that have no job are those of the fits that run.
  void deal_threads() {
    const int sharers = std::max(working_, 1);
    int rank = 0;
    for (FitTask* task : active_) {
      if (task != nullptr) task->granted = threads_ / sharers + (rank++ < threads_ % sharers ? 1 : 0);
    }
  }

  const FitManyOptions& options_;
  const int threads_;
  std::vector<FitTask*> order_;
  std::vector<Loans> loans_;  // by worker
  double all_ = 0.0;          // cost
  const Clock::time_point began_ = Clock::now();
  const std::thread::id caller_ = std::this_thread::get_id();
  std::atomic<bool> stopped_{false};
  // Where no thread could be started, the calling thread runs the fits, and watches meanwhile.
  const std::function<bool()> is_stopped_ = [this] {
    if (std::this_thread::get_id() == caller_) watch();
    return stopped_.load();
  };

  std::mutex mutex_;
  std::vector<FitTask*> active_;  // by worker
  int working_;                   // workers that have a job
  std::size_t done_ = 0, failed_ = 0;
  double cost_done_ = 0.0;
};

}  // namespace

std::vector<FitResult> fit_many(std::span<const AnyFitJob> jobs, const FitManyOptions& options) {
  check_options(options);
  SharedData shared;
  const Tasks tasks = make_tasks(jobs, shared, options);
  std::vector<FitResult> results;
  if (tasks.empty()) return results;
  {
    const int threads = options.num_threads > 0 ? options.num_threads : get_num_threads();
    Workers workers(static_cast<Index>(tasks.size()), threads);
    Run run(tasks, options, workers);
    workers.run(run);
  }
  for (const std::unique_ptr<FitTask>& task : tasks) results.push_back(std::move(task->result));
  return results;
}

}  // namespace stoop
