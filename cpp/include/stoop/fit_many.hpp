// fit_many: trains many models at once, alike or not. Each fit is on one thread from its beginning to its end, so no thread
// waits for another. When fewer fits than threads are left, teams of threads work on those.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include <stoop/error.hpp>
#include <stoop/fit.hpp>
#include <stoop/input.hpp>
#include <stoop/trainer.hpp>

namespace stoop::inline v0_1 {

// A call of Trainer::fit. Jobs whose views are the same share the data, which are checked once and never copied.
template <class T>
struct FitJob {
  Trainer<T>* trainer = nullptr;
  InputView x{};
  Targets<T> y{};
  // `max_seconds` counts from where this fit begins. The functions are called on the thread of this fit. `on_progress` and
  // `keep_going` hear nothing of signals, which are for the thread that called fit_many.
  FitOptions<T> options{};
  // Numbers of rows of x and y, any more than once and in any order: the fit is one on these rows. Unset: all rows.
  std::optional<std::span<const std::int32_t>> rows{};
  // The validation data are these rows of x and y, in place of those in the options.
  std::optional<std::span<const std::int32_t>> validation_rows{};
};
using AnyFitJob = std::variant<FitJob<float>, FitJob<double>>;

struct FitResult {
  History history;           // what there is of it where the fit threw
  std::exception_ptr error;  // what the fit threw, or null
  // False: the fit never began, and its trainer is as it was. `stop_reason` says why.
  bool has_begun = false;
};

struct FitManyProgress {
  std::size_t jobs = 0, running = 0, done = 0, failed = 0;  // those that failed are done too
  double part = 0.0;                                        // of all the work, estimated
};

struct FitManyOptions {
  int num_threads = 0;  // 0: get_num_threads()
  // Fits that run then end after the running update, and no more begin.
  double max_seconds = std::numeric_limits<double>::infinity();
  // Is called about every 50 ms on the calling thread, which does not train; false ends all fits after their running updates.
  // It must not throw.
  std::function<bool(const FitManyProgress&)> on_progress{};
  // Is called on the thread of the fit when it has ended, or would have begun too late. It may change the result, and must
  // not throw.
  std::function<void(std::size_t job, FitResult& result)> on_end{};
  // Each thread that is made calls these first and last, for languages that must know their threads. They must not throw.
  std::function<void()> on_thread_begin{}, on_thread_end{};
  // Is asked while the data are checked, where false throws Interrupted.
  KeepGoing keep_going{};
};

// Trains each job's trainer, those that will take longest first, and returns the results in the order given. The bits are
// those of each fit alone. One that throws does not end the others.
//
// Throws ValueError or TypeError before anything is changed: for options or data that cannot be used, a trainer that is
// given twice, and two trainers of one model. Values of a mapped x are checked as its rows are read, by each fit.
STOOP_API std::vector<FitResult> fit_many(std::span<const AnyFitJob> jobs, const FitManyOptions& options = {});

}  // namespace stoop
