// One job of fit_many: a fit with its data, which a thread runs with runners that it lends.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <stoop/fit_many.hpp>

#include "fit_run.hpp"
#include "lent_runners.hpp"

namespace stoop::inline v0_1 {

// The data sets of all jobs, each checked once.
template <class T>
class DataSets {
 public:
  explicit DataSets(bool reads_all) : reads_all_(reads_all) {}

  const Dataset<T>& find_or_check(std::string_view where, const InputView& x, const Targets<T>& y,
                                  const DataNeeds& needs, Poller* poller) {
    const Dataset<T>* same_x = nullptr;
    for (const std::unique_ptr<Dataset<T>>& known : known_) {
      if (!is_same(known->x(), with_stride(x))) continue;
      if (known->needs() == needs && is_same(known->y(), y)) return *known;
      if (known->needs().missing == needs.missing && known->needs().columns == needs.columns) same_x = known.get();
    }
    known_.push_back(same_x != nullptr ? std::make_unique<Dataset<T>>(where, *same_x, y, needs)
                                       : std::make_unique<Dataset<T>>(where, x, y, needs, poller, reads_all_));
    return *known_.back();
  }

 private:
  static bool is_same(const InputView& a, const InputView& b) {
    return a.data == b.data && a.type == b.type && a.rows == b.rows && a.cols == b.cols && a.stride == b.stride &&
           a.mapped == b.mapped;
  }
  static bool is_same(const MatrixView<const T>& a, const MatrixView<const T>& b) {
    return a.data == b.data && a.rows == b.rows && a.cols == b.cols && a.row_stride() == b.row_stride();
  }
  template <class Element>
  static bool is_same(std::span<const Element> a, std::span<const Element> b) {
    return a.data() == b.data() && a.size() == b.size();
  }
  static bool is_same(const Targets<T>& a, const Targets<T>& b) {
    return a.has_values == b.has_values && is_same(a.classes, b.classes) && is_same(a.values, b.values) &&
           is_same(a.weights, b.weights) && is_same(a.element_weights, b.element_weights);
  }

  const bool reads_all_;
  std::vector<std::unique_ptr<Dataset<T>>> known_;
};

// What jobs share until all are done.
struct SharedData {
  DataSets<float> float32{false}, float32_validation{true};
  DataSets<double> float64{false}, float64_validation{true};

  template <class T>
  DataSets<T>& of(bool is_validation) {
    if constexpr (sizeof(T) == sizeof(float)) {
      return is_validation ? float32_validation : float32;
    } else {
      return is_validation ? float64_validation : float64;
    }
  }
};

// What a thread lends to the fits that it runs.
struct Loans {
  LentRunners<float> float32;
  LentRunners<double> float64;

  template <class T>
  LentRunners<T>& of() {
    if constexpr (sizeof(T) == sizeof(float)) {
      return float32;
    } else {
      return float64;
    }
  }
};

class FitTask {
 public:
  explicit FitTask(std::size_t job) : number(job) {}
  virtual ~FitTask() = default;
  FitTask(const FitTask&) = delete;
  FitTask& operator=(const FitTask&) = delete;

  // Runs the fit for at most `seconds`. `is_stopped` is asked about every 50 ms.
  virtual void run(Loans& loans, double seconds, const std::function<bool()>& is_stopped) noexcept = 0;
  virtual const void* trainer() const = 0;
  virtual const void* model() const = 0;

  const std::size_t number;  // of the job
  double cost = 0.0;         // an estimate in no unit
  FitResult result;
  std::atomic<int> granted{1};    // threads
  std::atomic<double> part{0.0};  // that is done
};

// Checks a job. Throws ValueError and TypeError.
std::unique_ptr<FitTask> make_task(const AnyFitJob& job, std::size_t number, SharedData& shared, Poller* poller);

}  // namespace stoop
