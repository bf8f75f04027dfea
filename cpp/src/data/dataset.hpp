// Samples and targets that were checked once, so that trainers which share them need not check again. The memory belongs to
// the caller and must outlive this object.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <stoop/losses.hpp>
#include <stoop/trainer.hpp>

#include "../base/encoded_column.hpp"
#include "../team/poller.hpp"
#include "checks.hpp"
#include "sample_rows.hpp"

namespace stoop::inline v0_1 {

// The demands of a model and its loss on samples and targets.
struct DataNeeds {
  Index inputs = 0;
  Index outputs = 0;
  LossKind loss = kind_of<MeanSquaredError>();
  MissingValues missing = MissingValues::error;         // what NaN in the samples is
  const std::vector<EncodedColumn>* columns = nullptr;  // those of a Columns layer, in the graph of the model

  bool operator==(const DataNeeds&) const = default;
};

template <class T>
class Dataset {
 public:
  // Checks shapes, values and weights. ValueError and TypeError name the place. If there is a poller, it is asked, and its no
  // throws Interrupted. The values of a mapped x are checked later, as its rows are read, unless `reads_all` is set.
  Dataset(std::string_view where, const InputView& x, const Targets<T>& y, const DataNeeds& needs,
          Poller* poller = nullptr, bool reads_all = false);

  // The samples of `known` with targets for other needs, but the same for NaN: of the samples, only the shape is checked.
  Dataset(std::string_view where, const Dataset& known, const Targets<T>& y, const DataNeeds& needs);

  // These rows of `all`, in this order, any more than once: to whoever trains or evaluates on them it is as if there were
  // no others. Throws ValueError for a number that is no row, if there are none, and if all of them weigh 0.
  Dataset(std::string_view where, const Dataset& all, std::span<const std::int32_t> rows);

  Index rows() const { return selects() ? static_cast<Index>(selection_.size()) : x_.rows; }
  // All of the samples, which messages number.
  const InputView& x() const { return x_; }
  const Targets<T>& y() const { return y_; }
  const DataNeeds& needs() const { return needs_; }
  bool has_classes() const { return !y_.has_values; }

  // Whether these are some rows of x, in an order of their own.
  bool selects() const { return !selection_.empty(); }

  // Replaces positions among rows() by numbers of samples.
  void to_samples(std::span<std::int32_t> positions) const;

  // The first of these samples, in this order (null: as they lie), that count in an accuracy. A sample of which only some
  // targets count is a part of one.
  double counted(const std::int32_t* order, Index samples) const;
  // The sum of their weights, of which only the ratios count.
  double weight() const;

  // The weights that a run has are those that were given, divided by 2 to this power.
  int weight_exponent() const { return weights_->exponent; }
  // Those of selected rows may be those of all rows. Times 2 to this power they are what they would be without the others.
  int weight_shift() const { return weight_shift_; }

  // Returns them in the form that a run reads, in the order in which they lie, or were selected.
  SampleRows<T> as_they_lie() const;

 private:
  void check_rows(std::string_view where) const;
  bool has_absent_targets() const;

  InputView x_;
  Targets<T> y_;
  DataNeeds needs_;
  std::shared_ptr<const RelativeWeights<T>> weights_;
  int weight_shift_ = 0;
  std::span<const std::int32_t> selection_;  // without elements: all rows
};

}  // namespace stoop
