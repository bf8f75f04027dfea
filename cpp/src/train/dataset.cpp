// The checks of samples and targets. Finding out that all is finite is one pass of integer operations that the compiler
// vectorises; only when it fails is the place looked for.

#include "dataset.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include <stoop/error.hpp>

namespace stoop {
namespace {

std::string shape_text(Index rows, Index cols) {
  return "(" + std::to_string(rows) + ", " + std::to_string(cols) + ")";
}

template <class T>
bool all_finite(const T* row, Index cols) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr Bits kExponent = std::bit_cast<Bits>(std::numeric_limits<T>::infinity());
  bool found = false;
  for (Index j = 0; j < cols; ++j) found |= (std::bit_cast<Bits>(row[j]) & kExponent) == kExponent;
  return !found;
}

template <class T>
void check_finite(std::string_view where, const char* name, const MatrixView<const T>& x) {
  for (Index i = 0; i < x.rows; ++i) {
    const T* row = x.data + i * x.stride;
    if (all_finite(row, x.cols)) continue;
    Index j = 0;
    while (std::isfinite(row[j])) ++j;
    throw_value_error(where,
                      std::string(name) + " has " + (std::isnan(row[j]) ? "NaN" : "an infinity") + " at row " +
                          std::to_string(i) + ", column " + std::to_string(j),
                      "expected finite numbers", "remove or replace it");
  }
}

}  // namespace

template <class T>
void check_shape(std::string_view where, const MatrixView<const T>& x, Index cols) {
  if (x.cols == cols && x.rows >= 0 && x.stride >= x.cols) return;
  throw_value_error(where, "X has shape " + shape_text(x.rows, x.cols),
                    "expected (n_samples, " + std::to_string(cols) + ")", "give one column per input of the model");
}

template <class T>
void check_samples(std::string_view where, const MatrixView<const T>& x, Index cols) {
  check_shape(where, x, cols);
  if (x.rows == 0) {
    throw_value_error(where, "X is empty, shape " + shape_text(x.rows, x.cols), "expected at least one row",
                      "give some samples");
  }
  if (x.rows > std::numeric_limits<std::int32_t>::max()) {
    throw_value_error(where, "X has " + std::to_string(x.rows) + " rows", "expected fewer than 2^31",
                      "train on parts of it");
  }
  check_finite(where, "X", x);
}

template <class T>
bool is_finite(std::span<const T> values) {
  return all_finite(values.data(), static_cast<Index>(values.size()));
}

template <class T>
void check_targets(std::string_view where, const Targets<T>& y, LossKind loss, Index rows, Index outputs) {
  const bool classes = takes_classes(loss);
  if (classes == y.has_values) {
    throw_type_error(where, std::string("y holds ") + (y.has_values ? "values" : "class indices"),
                     std::string(name_of(loss)) + " takes " + (classes ? "class indices" : "values"),
                     classes ? "give integers from 0 on" : "give an array of the model's dtype, or another loss");
  }
  const Index given = classes ? static_cast<Index>(y.classes.size()) : y.values.rows;
  if (given != rows) {
    throw_value_error(where, "y has " + std::to_string(given) + " rows and X " + std::to_string(rows),
                      "expected one target per sample", "check how they were split");
  }
  if (!classes) {
    if (y.values.cols != outputs || y.values.stride < y.values.cols) {
      throw_value_error(where, "y has shape " + shape_text(y.values.rows, y.values.cols),
                        "expected " + shape_text(rows, outputs), "give one column per output of the model");
    }
    return check_finite(where, "y", y.values);
  }
  for (std::size_t i = 0; i < y.classes.size(); ++i) {
    if (y.classes[i] >= 0 && y.classes[i] < outputs) continue;
    throw_value_error(where, "class " + std::to_string(y.classes[i]) + " at row " + std::to_string(i),
                      "expected 0 to " + std::to_string(outputs - 1) + ", one class per output of the model",
                      "renumber the classes or give the last Dense more units");
  }
}

template bool is_finite(std::span<const float>);
template bool is_finite(std::span<const double>);
template void check_shape(std::string_view, const MatrixView<const float>&, Index);
template void check_shape(std::string_view, const MatrixView<const double>&, Index);
template void check_samples(std::string_view, const MatrixView<const float>&, Index);
template void check_samples(std::string_view, const MatrixView<const double>&, Index);
template void check_targets(std::string_view, const Targets<float>&, LossKind, Index, Index);
template void check_targets(std::string_view, const Targets<double>&, LossKind, Index, Index);

}  // namespace stoop
