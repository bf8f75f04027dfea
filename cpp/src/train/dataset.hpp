// What is checked of samples and targets, once, before anything is changed.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include <stoop/losses.hpp>
#include <stoop/trainer.hpp>

namespace stoop {

// `cols` columns and a stride that holds them.
template <class T>
void check_shape(std::string_view where, const MatrixView<const T>& x, Index cols);

// The shape, at least one row, and finite values (row and column of the first that is not are named).
template <class T>
void check_samples(std::string_view where, const MatrixView<const T>& x, Index cols);

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
