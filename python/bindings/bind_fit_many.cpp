// stoop::fit_many. The fits of trainers with callbacks take the GIL for them on their own threads; the others never need it.
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stoop/fit_many.hpp>

#include "bindings.hpp"
#include "fit_call.hpp"
#include "gil.hpp"
#include "numpy_view.hpp"
#include "trainer_handle.hpp"

namespace stoop::python {
namespace {

constexpr const char* kWhere = "fit_many";
constexpr const char* kValidation = "fit_many, validation_data";

using Rows = std::optional<Array<std::int32_t>>;

std::optional<std::span<const std::int32_t>> span_of(const Rows& rows) {
  if (!rows) return std::nullopt;
  return std::span(rows->data(), static_cast<std::size_t>(rows->size()));
}

// The exception that C++ threw, as Python would raise it.
py::object exception_object(const std::exception_ptr& error) {
  if (!error) return py::none();
  const py::cpp_function raise([&error] {
    try {
      std::rethrow_exception(error);
    } catch (const py::error_already_set& raised) {  // which may be raised only once
      if (raised.trace()) PyException_SetTraceback(raised.value().ptr(), raised.trace().ptr());
      return raised.value();
    }
  });
  try {
    return raise();
  } catch (const py::error_already_set& raised) {
    return raised.value();
  }
}

// The targets of all jobs. Those of the same arrays are the same views, so that the core checks them once.
template <class T>
class SharedTargets {
 public:
  const Targets<T>& of(const py::array& y, const Weights<T>& weights) {
    std::unique_ptr<TargetsView<T>>& view = views_[{y.ptr(), weights ? weights->ptr() : nullptr}];
    if (view == nullptr) view = std::make_unique<TargetsView<T>>(kWhere, y, weights);
    return view->get();
  }

 private:
  std::map<std::pair<PyObject*, PyObject*>, std::unique_ptr<TargetsView<T>>> views_;
};

struct SharedViews {
  SharedTargets<float> float32;
  SharedTargets<double> float64;

  template <class T>
  SharedTargets<T>& of() {
    if constexpr (std::is_same_v<T, float>) {
      return float32;
    } else {
      return float64;
    }
  }
};

// A job as Python gives it. It keeps all objects that the core reads.
class PythonJob {
 public:
  virtual ~PythonJob() = default;
  virtual AnyFitJob job() const = 0;
  // Ends the fit, on its thread: calls finish(job, reason, error, has_begun) of the package.
  virtual void end(std::size_t number, const FitResult& result, const py::function& finish) = 0;
};

template <class T>
class JobOf final : public PythonJob {
 public:
  JobOf(const py::tuple& given, SharedViews& shared)
      : given_(given),
        handle_(given[0].cast<TrainerHandle<T>&>()),
        exclusive_(handle_.enter()),
        call_(handle_, given[7]),
        rows_(given[5].cast<Rows>()),
        validation_rows_(given[6].cast<Rows>()) {
    const auto x = given[1].cast<py::array>();
    job_.trainer = &handle_.trainer;
    job_.x = input_view(kWhere, x);
    job_.y = shared.of<T>().of(given[2].cast<py::array>(), given[3].cast<Weights<T>>());
    job_.rows = span_of(rows_);
    job_.validation_rows = span_of(validation_rows_);
    pins_.push_back(std::make_unique<Pin>(x));
    if (!given[4].is_none()) validate_with(given[4].cast<py::tuple>(), shared);
    job_.options = call_.options;
  }

  AnyFitJob job() const override { return job_; }

  void end(std::size_t number, const FitResult& result, const py::function& finish) override {
    const AsGuest guest(handle_.gate);
    call_.add_rows(result.history);
    const auto [reason, error] = reason_of(result);
    call_python(finish, number, reason, error, result.has_begun);
  }

 private:
  void validate_with(const py::tuple& validation, SharedViews& shared) {
    const auto x = validation[0].cast<py::array>();
    pins_.push_back(std::make_unique<Pin>(x));
    call_.options.validation_x = input_view(kValidation, x);
    call_.options.validation_y = shared.of<T>().of(validation[1].cast<py::array>(), validation[2].cast<Weights<T>>());
  }

  std::pair<std::string, py::object> reason_of(const FitResult& result) const {
    const std::exception_ptr& error = call_.raised() ? call_.raised() : result.error;
    return {error ? std::string("error") : std::string(name_of(result.history.stop_reason)), exception_object(error)};
  }

  const py::tuple given_;
  TrainerHandle<T>& handle_;
  const Exclusive exclusive_;
  FitCall<T> call_;
  const Rows rows_, validation_rows_;
  FitJob<T> job_;
  std::vector<std::unique_ptr<Pin>> pins_;
};

// The functions of fit_many that call Python.
class Calls {
 public:
  Calls(const std::vector<std::unique_ptr<PythonJob>>& jobs, py::function progress, py::function finish)
      : jobs_(jobs), progress_(std::move(progress)), finish_(std::move(finish)) {
    options.on_progress = [this](const FitManyProgress& now) {
      return guarded_([&] {
        check_signals();
        return call_python(progress_, now.running, now.done, now.failed, now.part).cast<bool>();
      });
    };
    options.keep_going = [this] {
      return guarded_([] {
        check_signals();
        return true;
      });
    };
    options.on_end = [this](std::size_t number, FitResult& result) { end(number, result); };
    options.on_thread_begin = [this] { threads_.begin(); };
    options.on_thread_end = [this] { threads_.end(); };
  }
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  void rethrow() const { guarded_.rethrow(); }
  // What came in on the calling thread, Ctrl-C for example, or what `finish` raised, or None.
  py::object raised() const { return exception_object(guarded_.raised() ? guarded_.raised() : ending_.raised()); }

  FitManyOptions options;

 private:
  // All that is kept of a fit is written here, on a thread that hears no signals: Ctrl-C cannot come between.
  void end(std::size_t number, const FitResult& result) {
    ending_.even_after([&] {
      jobs_[number]->end(number, result, finish_);
      return true;
    });
  }

  const std::vector<std::unique_ptr<PythonJob>>& jobs_;
  const py::function progress_, finish_;
  const CoreThreads threads_;
  GuardedCalls guarded_;  // on the calling thread
  GuardedCalls ending_;   // on the threads of the fits, one at a time
};

// Each job is a tuple (trainer, x, y, weights, validation, rows, validation_rows, options). `progress` is called with the
// numbers of fits that run, are done and have failed, and the part of all work that is done. Returns what ended all of them, or
// None.
py::object fit_many(const py::list& given, int num_threads, double max_seconds, const py::function& progress,
                    const py::function& finish) {
  SharedViews shared;
  std::vector<std::unique_ptr<PythonJob>> jobs;
  std::vector<AnyFitJob> core_jobs;
  for (const py::handle& item : given) {
    const auto job = item.cast<py::tuple>();
    if (py::isinstance<TrainerHandle<float>>(job[0])) {
      jobs.push_back(std::make_unique<JobOf<float>>(job, shared));
    } else {
      jobs.push_back(std::make_unique<JobOf<double>>(job, shared));
    }
    core_jobs.push_back(jobs.back()->job());
  }
  Calls calls(jobs, progress, finish);
  calls.options.num_threads = num_threads;
  calls.options.max_seconds = max_seconds;
  try {
    const ReleasedGil released;
    stoop::fit_many(core_jobs, calls.options);
  } catch (const Interrupted&) {  // while the data were checked
    calls.rethrow();
    throw;
  }
  return calls.raised();
}

}  // namespace

void bind_fit_many(py::module_& m) {
  m.def("fit_many", &fit_many, py::arg("jobs"), py::arg("num_threads"), py::arg("max_seconds"), py::arg("progress"),
        py::arg("finish"));
}

}  // namespace stoop::python
