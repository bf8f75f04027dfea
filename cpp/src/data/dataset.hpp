// Samples and targets that were checked once, so that trainers which share them need not check again. The memory belongs to
// the caller and must outlive this object.
#pragma once

#include <string_view>
#include <vector>

#include <stoop/losses.hpp>
#include <stoop/trainer.hpp>

#include "../team/poller.hpp"
#include "sample_rows.hpp"

namespace stoop {

// The demands of a model and its loss on samples and targets.
struct DataNeeds {
  Index inputs = 0;
  Index outputs = 0;
  LossKind loss = kind_of<MeanSquaredError>();

  bool operator==(const DataNeeds&) const = default;
};

template <class T>
class Dataset {
 public:
  // Checks shapes, values and weights. ValueError and TypeError name the place. If there is a poller, it is asked, and its no
  // throws Interrupted. The values of a mapped x are checked later, as its rows are read, unless `reads_all` is set.
  Dataset(std::string_view where, const InputView& x, const Targets<T>& y, const DataNeeds& needs,
          Poller* poller = nullptr, bool reads_all = false);

  // For another trainer: checks only those of its needs that were not checked yet.
  void check(std::string_view where, const DataNeeds& needs) const;

  Index rows() const { return x_.rows; }
  const InputView& x() const { return x_; }
  const Targets<T>& y() const { return y_; }
  bool has_classes() const { return !y_.has_values; }

  // Returns them in the form that a run reads, in the order in which they lie.
  SampleRows<T> as_they_lie() const;

 private:
  InputView x_;
  Targets<T> y_;
  DataNeeds needs_;
  std::vector<double> weights_;  // relative to the largest
};

}  // namespace stoop
