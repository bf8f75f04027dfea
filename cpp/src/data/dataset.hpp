// Samples and targets that were checked once, so that trainers which share them need not check again. The memory belongs to
// the caller and must outlive this object.
#pragma once

#include <string_view>

#include <stoop/losses.hpp>
#include <stoop/trainer.hpp>

#include "../team/poller.hpp"
#include "checks.hpp"
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

  // The first of these samples, in this order (null: as they lie), that count in an accuracy. A sample of which only some
  // targets count is a part of one.
  double counted(const std::int32_t* order, Index samples) const;

  // The weights that a run has are those that were given, divided by 2 to this power.
  int weight_exponent() const { return weights_.exponent; }

  // Returns them in the form that a run reads, in the order in which they lie.
  SampleRows<T> as_they_lie() const;

 private:
  InputView x_;
  Targets<T> y_;
  DataNeeds needs_;
  RelativeWeights<T> weights_;
};

}  // namespace stoop
