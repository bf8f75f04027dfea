#include "fit_task.hpp"

#include <algorithm>

#include <stoop/error.hpp>

namespace stoop::inline v0_1 {
namespace {

// A trainer uses what a thread of fit_many lends as long as this object lives. Then it lets go of what only a fit needs,
// unless it is within another fit.
template <class T>
class Lease {
 public:
  Lease(TrainerCore<T>& core, Runners<T>& runners, const std::atomic<int>& granted)
      : core_(core), runners_(core.runners), granted_(core.granted) {
    core.runners = &runners;
    core.granted = &granted;
  }
  ~Lease() {
    core_.runners = runners_;
    core_.granted = granted_;
    if (core_.fits_running > 0) return;
    std::vector<std::int32_t>().swap(core_.order);
    std::vector<std::int32_t>().swap(core_.positions);
    core_.saved.drop();
    core_.state.gradient = {};
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

 private:
  TrainerCore<T>& core_;
  Runners<T>* const runners_;
  const std::atomic<int>* const granted_;
};

// How many passes over the samples an epoch is worth.
template <class T>
double passes_of_epoch(const TrainerCore<T>& core) {
  if (std::holds_alternative<NewtonCG>(core.config.optimizer)) return 20.0;
  return core.full_batch ? 2.0 : 1.0;
}

template <class T>
class TaskOf final : public FitTask {
 public:
  TaskOf(const FitJob<T>& job, std::size_t place, SharedData& shared, Poller* poller)
      : FitTask(place), job_(job), core_(TrainerAccess::core_of(*job.trainer)) {
    const std::string where = "fit_many, trainer " + std::to_string(place);
    const Index rows = job.rows ? static_cast<Index>(job.rows->size()) : job.x.rows;
    check_fit_options(where, job.options, rows);
    check_trainer(where);
    data_ = &shared.of<T>(false).find_or_check(where, job.x, job.y, core_.needs(), poller);
    if (job.options.validation_x) {
      validation_ = &shared.of<T>(true).find_or_check(where + ", validation data", *job.options.validation_x,
                                                      job.options.validation_y, core_.needs(), poller);
    }
    if (job.validation_rows) {
      validation_ = &validation_selection_.emplace(where + ", validation rows", *data_, *job.validation_rows);
    }
    if (job.rows) data_ = &selection_.emplace(where, *data_, *job.rows);
    check_fit_data(where, core_, job.options, *data_);
    constexpr double kOverhead = 500.0;  // of a row, in parameters
    cost = (kOverhead + static_cast<double>(core_.parameter_count())) * static_cast<double>(rows * job.options.epochs) *
           passes_of_epoch(core_);
  }

  void run(Loans& loans, double seconds, const std::function<bool()>& is_stopped) noexcept override {
    try {
      const FitOptions<T> options = options_with(seconds, is_stopped);
      Runners<T>& runners = loans.of<T>().runners_for(core_, largest_batch(core_, options, data_->rows()));
      const Lease<T> lease(core_, runners, granted);
      result.history = run_fit(core_, options, *data_, validation_);
    } catch (...) {
      result.error = std::current_exception();
      if (result.has_begun) result.history = core_.history;
    }
  }

  const void* trainer() const override { return &core_; }
  const void* model() const override { return &core_.model; }

 private:
  void check_trainer(const std::string& where) const {
    if (job_.validation_rows && job_.options.validation_x) {
      throw_value_error(where, "validation data and validation rows", "expected one of them", "leave one out");
    }
    if (core_.device.world.collectives.size > 1) {
      throw_value_error(where, "a trainer of several processes", "expected one of this process alone",
                        "call its `fit`, or give each process trainers of its own");
    }
    core_.check_not_swapped(where);
    core_.bind_model(where);
  }

  FitOptions<T> options_with(double seconds, const std::function<bool()>& is_stopped) {
    FitOptions<T> options = job_.options;
    options.max_seconds = std::min(options.max_seconds, seconds);
    options.on_begin = [this](const Checkpoint<T>* resumed) {
      result.has_begun = true;
      return !job_.options.on_begin || job_.options.on_begin(resumed);
    };
    options.on_progress = [this, &is_stopped](const Progress& now) {
      const double of_epoch = static_cast<double>(now.samples_done) / static_cast<double>(now.samples);
      part = (static_cast<double>(core_.fit.epochs) + of_epoch) / static_cast<double>(job_.options.epochs);
      if (is_stopped()) return Next::stop;
      return job_.options.on_progress ? job_.options.on_progress(now) : Next::go_on;
    };
    options.keep_going = [this, &is_stopped] {
      return !is_stopped() && (!job_.options.keep_going || job_.options.keep_going());
    };
    return options;
  }

  const FitJob<T>& job_;
  TrainerCore<T>& core_;
  const Dataset<T>* data_ = nullptr;
  const Dataset<T>* validation_ = nullptr;
  std::optional<Dataset<T>> selection_, validation_selection_;
};

}  // namespace

std::unique_ptr<FitTask> make_task(const AnyFitJob& job, std::size_t number, SharedData& shared, Poller* poller) {
  return std::visit(
      [&]<class T>(const FitJob<T>& of_type) -> std::unique_ptr<FitTask> {
        if (of_type.trainer == nullptr) {
          throw_value_error("fit_many, trainer " + std::to_string(number), "no trainer", "expected one",
                            "make it first");
        }
        return std::make_unique<TaskOf<T>>(of_type, number, shared, poller);
      },
      job);
}

}  // namespace stoop
