// Checks of samples and targets. They are made once, before anything is changed.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include <stoop/losses.hpp>
#include <stoop/trainer.hpp>

#include "../team/poller.hpp"
#include "sample_rows.hpp"
#include "input_rows.hpp"

namespace stoop::inline v0_1 {

// Refuses a stride that is smaller than the number of columns of `name`.
void check_stride(std::string_view where, std::string_view name, Index stride, Index cols);

// Checks that there are `cols` columns and that the stride is not smaller.
void check_shape(std::string_view where, const InputView& x, Index cols);

// Checks a matrix that a call writes or reads beside x.
template <class T>
void check_view(std::string_view where, const char* name, const MatrixView<T>& view, Index rows, Index cols) {
  if (view.rows != rows || view.cols != cols) {
    throw_value_error(where, std::string(name) + " is " + std::to_string(view.rows) + " x " + std::to_string(view.cols),
                      "expected " + std::to_string(rows) + " x " + std::to_string(cols), "give one row per sample");
  }
  check_stride(where, name, view.row_stride(), view.cols);
}

// Checks the shape, that there is at least one row, and that all values are finite as numbers of T. The message names row
// and column of the first that is not. The values of a mapped x are checked later, by those who read its rows. If there is
// a poller, it is asked, and its no throws Interrupted. NaN may be allowed.
template <class T>
void check_samples(std::string_view where, const InputView& x, Index cols, Poller* poller = nullptr,
                   MissingValues missing = MissingValues::error);

// Refuses the first row of a matrix of that name that holds a number which is not finite.
template <class T>
void check_finite_matrix(std::string_view where, const char* name, const MatrixView<const T>& matrix);

// Throws the error for this row of a mapped x, unless the row is kNone.
template <class T>
void refuse_bad_row(std::string_view where, const InputView& x, Index row,
                    MissingValues missing = MissingValues::error);

// Throws the error for a label that has changed since check_targets saw it, if there is one.
void refuse_bad_label(std::string_view where, const BadLabel& bad, Index outputs);

template <class T>
bool is_finite(std::span<const T> values);
template <class T>
bool is_finite(std::span<T> values) {
  return is_finite(std::span<const T>(values));
}

// Checks that the loss takes targets of this kind and that there is one per sample: classes in 0 .. outputs-1, or finite
// values (rows, outputs), which must be probabilities if the loss needs them. Values that are NaN are absent if their weight
// is 0; returns whether there are any. check_weights comes first.
template <class T>
bool check_targets(std::string_view where, const Targets<T>& y, LossKind loss, Index rows, Index outputs);

// Checks that there is one finite weight >= 0 per sample, or per target where the loss takes these, not all zero, or that
// there are no weights.
template <class T>
void check_weights(std::string_view where, const Targets<T>& y, LossKind loss, Index rows, Index outputs);

// Weights divided by the power of two that brings the largest to between 1/2 and 1. Only their ratios count, and with this
// division neither their sum nor its inverse leaves the range.
template <class T>
struct RelativeWeights {
  std::vector<double> of_rows;  // empty: there are none. Of elements, their mean
  std::vector<T> of_elements;   // (rows, columns), or empty
  Index columns = 1;
  int exponent = 0;  // of the power of two
};

// Takes the weights of targets that were checked. With `by_element`, weights of rows become those of elements too. Where
// `rows` has elements, only the weights of these rows count, and the others stay 0.
template <class T>
RelativeWeights<T> relative_weights(const Targets<T>& y, bool by_element, std::span<const std::int32_t> rows = {});

// Returns the largest weight of these rows, of all if there are none in `rows`. There must be weights.
template <class T>
T largest_weight(const Targets<T>& y, std::span<const std::int32_t> rows);

}  // namespace stoop
