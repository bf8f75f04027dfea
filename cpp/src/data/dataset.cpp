#include "dataset.hpp"

#include "checks.hpp"

namespace stoop {

template <class T>
Dataset<T>::Dataset(std::string_view where, const InputView& x, const Targets<T>& y, const DataNeeds& needs,
                    Poller* poller, bool reads_all)
    : x_(with_stride(x)), y_(y), needs_(needs) {
  InputView checked = x;
  checked.mapped = x.mapped && !reads_all;
  check_samples<T>(where, checked, needs.inputs, poller);
  check_targets(where, y, needs.loss, x.rows, needs.outputs);
  check_weights(where, y.weights, x.rows);
  relative_weights(y.weights, weights_);
}

template <class T>
void Dataset<T>::check(std::string_view where, const DataNeeds& needs) const {
  if (needs == needs_) return;
  check_shape(where, x_, needs.inputs);
  check_targets(where, y_, needs.loss, x_.rows, needs.outputs);
}

template <class T>
SampleRows<T> Dataset<T>::as_they_lie() const {
  SampleRows<T> rows;
  rows.x = x_;
  rows.classes = y_.has_values ? nullptr : y_.classes.data();
  rows.values = with_stride(y_.values);
  rows.weights = weights_.empty() ? nullptr : weights_.data();
  return rows;
}

template class Dataset<float>;
template class Dataset<double>;

}  // namespace stoop
