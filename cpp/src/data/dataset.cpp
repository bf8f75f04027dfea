#include "dataset.hpp"

#include <algorithm>

#include "checks.hpp"

namespace stoop {

template <class T>
Dataset<T>::Dataset(std::string_view where, const InputView& x, const Targets<T>& y, const DataNeeds& needs,
                    Poller* poller, bool reads_all)
    : x_(with_stride(x)), y_(y), needs_(needs) {
  InputView checked = x;
  checked.mapped = x.mapped && !reads_all;
  check_samples<T>(where, checked, needs.inputs, poller);
  check_weights(where, y, needs.loss, x.rows, needs.outputs);
  weights_ = relative_weights(y, check_targets(where, y, needs.loss, x.rows, needs.outputs));
}

template <class T>
void Dataset<T>::check(std::string_view where, const DataNeeds& needs) const {
  if (needs == needs_) return;
  check_shape(where, x_, needs.inputs);
  check_weights(where, y_, needs.loss, x_.rows, needs.outputs);
  check_targets(where, y_, needs.loss, x_.rows, needs.outputs);
}

template <class T>
SampleRows<T> Dataset<T>::as_they_lie() const {
  SampleRows<T> rows;
  rows.x = x_;
  rows.classes = y_.has_values ? nullptr : y_.classes.data();
  rows.values = with_stride(y_.values);
  rows.weights = weights_.of_rows.empty() ? nullptr : weights_.of_rows.data();
  if (!weights_.of_elements.empty()) {
    rows.element_weights = matrix<const T>(weights_.of_elements.data(), x_.rows, weights_.columns);
  }
  return rows;
}

template <class T>
double Dataset<T>::counted(const std::int32_t* order, Index samples) const {
  if (weights_.of_elements.empty()) return static_cast<double>(samples);
  Index count = 0;
  for (Index i = 0; i < samples; ++i) {
    const T* weights = weights_.of_elements.data() + (order == nullptr ? i : order[i]) * weights_.columns;
    count += std::count_if(weights, weights + weights_.columns, [](T weight) { return weight > T(0); });
  }
  return static_cast<double>(count) / static_cast<double>(weights_.columns);
}

template class Dataset<float>;
template class Dataset<double>;

}  // namespace stoop
