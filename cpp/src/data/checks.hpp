// What is checked of samples and targets, once, before anything is changed.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include <stoop/losses.hpp>
#include <stoop/trainer.hpp>

#include "../team/poller.hpp"
#include "sample_rows.hpp"
#include "input_rows.hpp"

namespace stoop {

// Refuses a stride that does not hold the columns of `name`.
void check_stride(std::string_view where, std::string_view name, Index stride, Index cols);

// `cols` columns and a stride that holds them.
void check_shape(std::string_view where, const InputView& x, Index cols);

// The shape, at least one row, and values that are finite as numbers of T (row and column of the first that is not are
// named), unless x is mapped: whoever reads its rows checks them. Where there is a poller it is asked: Interrupted.
template <class T>
void check_samples(std::string_view where, const InputView& x, Index cols, Poller* poller = nullptr);

// The error for this row of a mapped x, unless it is kNone.
template <class T>
void refuse_bad_row(std::string_view where, const InputView& x, Index row);

// The error for a label that has changed since check_targets saw it, unless there is none.
void refuse_bad_label(std::string_view where, const BadLabel& bad, Index outputs);

template <class T>
bool is_finite(std::span<const T> values);
template <class T>
bool is_finite(std::span<T> values) {
  return is_finite(std::span<const T>(values));
}

// Targets of a sort the loss takes, one per sample: classes in 0 .. outputs-1, or finite values (rows, outputs) that are
// probabilities where the loss wants those.
template <class T>
void check_targets(std::string_view where, const Targets<T>& y, LossKind loss, Index rows, Index outputs);

// One finite weight >= 0 per sample, or none; not all zero.
template <class T>
void check_weights(std::string_view where, std::span<const T> weights, Index rows);

// The weights in `out`, all divided by the power of two that brings the largest to between 1/2 and 1: only their ratios
// count, and so neither their sum nor its inverse leaves the range, whatever their size. Null for no weights.
template <class T>
const double* relative_weights(std::span<const T> weights, std::vector<double>& out);

}  // namespace stoop
