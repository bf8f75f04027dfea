// Samples and targets that were checked once: whoever trains on them need not look again, however many trainers share
// them. The memory is the caller's, and must outlive this.
#pragma once

#include <string_view>
#include <vector>

#include <stoop/losses.hpp>
#include <stoop/trainer.hpp>

#include "../team/poller.hpp"
#include "sample_rows.hpp"

namespace stoop {

// What a model and its loss ask of samples and targets.
struct DataNeeds {
  Index inputs = 0;
  Index outputs = 0;
  LossKind loss = kind_of<MeanSquaredError>();

  bool operator==(const DataNeeds&) const = default;
};

template <class T>
class Dataset {
 public:
  // Checks shapes, values and weights. ValueError and TypeError name the place; where there is a poller it is asked, and
  // its no is Interrupted. The values of a mapped x are checked by whoever reads its rows, unless `reads_all` says so.
  Dataset(std::string_view where, const InputView& x, const Targets<T>& y, const DataNeeds& needs,
          Poller* poller = nullptr, bool reads_all = false);

  // For another trainer: checks only what its needs ask for beyond those that were checked.
  void check(std::string_view where, const DataNeeds& needs) const;

  Index rows() const { return x_.rows; }
  const InputView& x() const { return x_; }
  const Targets<T>& y() const { return y_; }
  bool has_classes() const { return !y_.has_values; }

  // As a run reads them, in the order in which they lie.
  SampleRows<T> as_they_lie() const;

 private:
  InputView x_;
  Targets<T> y_;
  DataNeeds needs_;
  std::vector<double> weights_;  // relative to the largest
};

}  // namespace stoop
