#include "dataset.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include <stoop/error.hpp>

#include "checks.hpp"
#include "code_checks.hpp"

namespace stoop::inline v0_1 {
namespace {

// Data without weights share one object, so that a call on a single batch allocates nothing.
template <class T>
std::shared_ptr<const RelativeWeights<T>> shared_weights(const Targets<T>& y, bool by_element) {
  static const auto none = std::make_shared<const RelativeWeights<T>>();
  RelativeWeights<T> weights = relative_weights(y, by_element);
  return weights.of_rows.empty() ? none : std::make_shared<const RelativeWeights<T>>(std::move(weights));
}

}  // namespace

template <class T>
Dataset<T>::Dataset(std::string_view where, const InputView& x, const Targets<T>& y, const DataNeeds& needs,
                    Poller* poller, bool reads_all)
    : x_(with_stride(x)), y_(y), needs_(needs) {
  InputView checked = x;
  checked.mapped = x.mapped && !reads_all;
  check_samples<T>(where, checked, needs.inputs, poller, needs.missing);
  if (needs.columns != nullptr) check_codes(where, checked, *needs.columns);
  check_weights(where, y, needs.loss, x.rows, needs.outputs);
  weights_ = shared_weights(y, check_targets(where, y, needs.loss, x.rows, needs.outputs));
}

template <class T>
Dataset<T>::Dataset(std::string_view where, const Dataset& known, const Targets<T>& y, const DataNeeds& needs)
    : x_(known.x_), y_(y), needs_(needs) {
  check_shape(where, x_, needs.inputs);
  check_weights(where, y, needs.loss, x_.rows, needs.outputs);
  weights_ = shared_weights(y, check_targets(where, y, needs.loss, x_.rows, needs.outputs));
}

// Weights of all rows serve if they are those of the selection but for a power of two, which changes no bit unless they
// are so small that digits would be lost.
template <class T>
Dataset<T>::Dataset(std::string_view where, const Dataset& all, std::span<const std::int32_t> rows)
    : x_(all.x_), y_(all.y_), needs_(all.needs_), weights_(all.weights_), selection_(rows) {
  constexpr int kMostShift = 60;
  check_rows(where);
  if (weights_->of_rows.empty()) return;
  const T largest = largest_weight(y_, rows);
  if (!(largest > T(0))) {
    throw_value_error(where, "all weights of its rows are 0", "expected a positive sum", "give some of them a weight");
  }
  int exponent = 0;
  std::frexp(static_cast<double>(largest), &exponent);
  weight_shift_ = weights_->exponent - exponent;
  const bool by_element = y_.element_weights.data != nullptr || has_absent_targets();
  if (weights_->of_elements.empty() ? weight_shift_ < kMostShift : by_element && weight_shift_ == 0) return;
  weights_ = std::make_shared<const RelativeWeights<T>>(relative_weights(y_, by_element, rows));
  weight_shift_ = 0;
}

template <class T>
void Dataset<T>::check_rows(std::string_view where) const {
  if (selection_.empty()) {
    throw_value_error(where, "no rows", "expected at least one", "leave `rows` out for all of them");
  }
  const auto is_row = [this](std::int32_t row) { return row >= 0 && row < x_.rows; };
  const auto bad = std::ranges::find_if_not(selection_, is_row);
  if (bad == selection_.end()) return;
  throw_value_error(where,
                    "rows[" + std::to_string(bad - selection_.begin()) + "] is " + std::to_string(*bad) +
                        " and X has " + std::to_string(x_.rows) + " rows",
                    "expected 0 <= row < " + std::to_string(x_.rows), "number the rows from 0");
}

template <class T>
bool Dataset<T>::has_absent_targets() const {
  if (weights_->of_elements.empty()) return false;
  const MatrixView<const T>& values = y_.values;
  return std::ranges::any_of(selection_, [&](std::int32_t row) {
    const T* const of_row = values.data + row * values.row_stride();
    return std::any_of(of_row, of_row + values.cols, [](T value) { return std::isnan(value); });
  });
}

template <class T>
SampleRows<T> Dataset<T>::as_they_lie() const {
  SampleRows<T> rows;
  rows.x = x_;
  rows.classes = y_.has_values ? nullptr : y_.classes.data();
  rows.values = with_stride(y_.values);
  rows.weights = weights_->of_rows.empty() ? nullptr : weights_->of_rows.data();
  if (!weights_->of_elements.empty()) {
    rows.element_weights = matrix<const T>(weights_->of_elements.data(), x_.rows, weights_->columns);
  }
  if (selects()) {
    rows.order = selection_.data();
    rows.stored = x_.rows;
    rows.x.rows = this->rows();
  }
  return rows;
}

template <class T>
void Dataset<T>::to_samples(std::span<std::int32_t> positions) const {
  if (!selects()) return;
  for (std::int32_t& position : positions) position = selection_[static_cast<std::size_t>(position)];
}

template <class T>
double Dataset<T>::counted(const std::int32_t* order, Index samples) const {
  if (weights_->of_elements.empty()) return static_cast<double>(samples);
  if (order == nullptr && selects()) order = selection_.data();
  Index count = 0;
  for (Index i = 0; i < samples; ++i) {
    const T* weights = weights_->of_elements.data() + (order == nullptr ? i : order[i]) * weights_->columns;
    count += std::count_if(weights, weights + weights_->columns, [](T weight) { return weight > T(0); });
  }
  return static_cast<double>(count) / static_cast<double>(weights_->columns);
}

template <class T>
double Dataset<T>::weight() const {
  const std::vector<double>& weights = weights_->of_rows;
  if (weights.empty()) return static_cast<double>(rows());
  double sum = 0.0;
  for (Index i = 0; i < rows(); ++i)
    sum += weights[static_cast<std::size_t>(selects() ? selection_[static_cast<std::size_t>(i)] : i)];
  return sum;
}

template class Dataset<float>;
template class Dataset<double>;

}  // namespace stoop
