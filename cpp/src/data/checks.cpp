// Checks samples and targets. The place of a number that is not finite is searched only if there is one.

#include "checks.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>

#include <stoop/error.hpp>

#include "../base/ranges.hpp"
#include "../spec/losses.hpp"

namespace stoop::inline v0_1 {
namespace {

std::string shape_text(Index rows, Index cols) {
  return "(" + std::to_string(rows) + ", " + std::to_string(cols) + ")";
}

double element(const InputView& x, Index i, Index j) {
  if (x.type == InputType::uint8) return static_cast<const std::uint8_t*>(x.row(i))[j];
  if (x.type == InputType::float32) return static_cast<const float*>(x.row(i))[j];
  return static_cast<const double*>(x.row(i))[j];
}

template <class T>
[[noreturn]] void refuse_row(std::string_view where, const char* name, const InputView& x, Index i,
                             MissingValues missing) {
  const std::string row = " at row " + std::to_string(i);
  for (Index j = 0; j < x.cols; ++j) {
    const double value = element(x, i, j);
    if (std::isfinite(static_cast<T>(value)) || (std::isnan(value) && missing == MissingValues::mean)) continue;
    throw_value_error(where,
                      std::string(name) + " has " + (std::isnan(value) ? "NaN" : "an infinity") + row + ", column " +
                          std::to_string(j),
                      "expected finite numbers", "remove or replace it");
  }
  throw_value_error(where, std::string(name) + " had NaN or an infinity" + row + " and has changed since",
                    "expected finite numbers that stay as they are",
                    "give a copy if another thread or process writes to it");
}

// The check of almost all calls is as short as it can be, for models whose rows take some microseconds.
template <class T>
bool is_finite_line(const InputView& x, Index i, MissingValues missing) {
  if (missing != MissingValues::error || x.type == InputType::uint8) [[unlikely]]
    return is_finite_row<T>(x, i, missing);
  if (x.type == InputType::float32) return all_finite_as<T>(static_cast<const float*>(x.row(i)), x.cols);
  return all_finite_as<T>(static_cast<const double*>(x.row(i)), x.cols);
}

// Refuses the first of the rows [begin, end) that holds a number that is not finite.
template <class T>
void check_finite(std::string_view where, const char* name, const InputView& x, Index begin, Index end,
                  MissingValues missing) {
  InputView line = x;  // all rows as one, if they are contiguous, since the rows of a small model are short
  line.data = x.row(begin);
  line.cols = line.stride = (end - begin) * x.cols;
  if (x.row_stride() == x.cols && is_finite_line<T>(line, 0, missing)) return;
  for (Index i = begin; i < end; ++i) {
    if (!is_finite_row<T>(x, i, missing)) refuse_row<T>(where, name, x, i, missing);
  }
}

template <class T>
void check_finite(std::string_view where, const char* name, const InputView& x, Poller* poller = nullptr,
                  MissingValues missing = MissingValues::error) {
  constexpr Index kElements =
      1 << 18;  // between two questions whether to go on: a fraction of a millisecond, or 1 MB of a slow disk
  if (x.type == InputType::uint8) return;
  const Index rows = poller == nullptr ? x.rows : std::max<Index>(kElements / std::max<Index>(x.cols, 1), 1);
  for (Index i = 0; i < x.rows; i += rows) {
    if (i > 0 && poller != nullptr && !poller->goes_on()) throw_interrupted(where);
    check_finite<T>(where, name, x, i, std::min(i + rows, x.rows), missing);
  }
}

}  // namespace

void check_stride(std::string_view where, std::string_view name, Index stride, Index cols) {
  if (stride >= cols) return;
  throw_value_error(
      where, std::string(name) + " has " + std::to_string(cols) + " columns and stride " + std::to_string(stride),
      "expected a stride of at least the number of columns", "leave the stride 0 for contiguous rows");
}

void check_shape(std::string_view where, const InputView& x, Index cols) {
  if (x.cols == cols && x.rows >= 0) return check_stride(where, "X", x.row_stride(), cols);
  throw_value_error(where, "X has shape " + shape_text(x.rows, x.cols),
                    "expected (n_samples, " + std::to_string(cols) + ")", "give one column per input of the model");
}

template <class T>
void check_samples(std::string_view where, const InputView& x, Index cols, Poller* poller, MissingValues missing) {
  check_shape(where, x, cols);
  if (x.rows == 0) {
    throw_value_error(where, "X is empty, shape " + shape_text(x.rows, x.cols), "expected at least one row",
                      "give some samples");
  }
  if (x.rows > std::numeric_limits<std::int32_t>::max()) {
    throw_value_error(where, "X has " + std::to_string(x.rows) + " rows", "expected fewer than 2^31",
                      "train on parts of it");
  }
  if (!x.mapped) check_finite<T>(where, "X", x, poller, missing);
}

template <class T>
void check_finite_matrix(std::string_view where, const char* name, const MatrixView<const T>& matrix) {
  check_finite<T>(where, name, matrix);
}

template <class T>
void refuse_bad_row(std::string_view where, const InputView& x, Index row, MissingValues missing) {
  if (row != kNone) refuse_row<T>(where, "X", x, row, missing);
}

template <class T>
bool is_finite(std::span<const T> values) {
  return all_finite<T>(values.data(), static_cast<Index>(values.size()));
}

namespace {

std::string label_text(Index label, Index row) {
  return "class " + std::to_string(label) + " at row " + std::to_string(row);
}

[[noreturn]] void refuse_sort(std::string_view where, bool has_values, LossKind loss) {
  throw_type_error(where, std::string("y holds ") + (has_values ? "values" : "class indices"),
                   std::string(name_of(loss)) + " takes values",
                   "give an array of the model's dtype with a column per output, or use softmax_cross_entropy");
}

void check_classes(std::string_view where, std::span<const std::int32_t> classes, Index outputs) {
  for (std::size_t i = 0; i < classes.size(); ++i) {
    const std::int32_t label = read_once(classes[i]);
    if (label >= 0 && label < outputs) continue;
    throw_value_error(where, label_text(label, static_cast<Index>(i)),
                      "expected 0 to " + std::to_string(outputs - 1) + ", one class per output of the model",
                      "renumber the classes or give the last Dense more units");
  }
}

struct TargetRule {
  bool (*takes)(double value);
  const char* expected;
  const char* hint;
};

TargetRule rule_of(TargetValues values) {
  switch (values) {
    case TargetValues::any:
      return {[](double) { return true; }, "", ""};
    case TargetValues::not_negative:
      return {[](double value) { return value >= 0.0; }, "expected at least 0",
              "give counts or rates, or use another regression loss"};
    case TargetValues::labels:
      return {[](double value) { return value == 0.0 || value == 1.0; }, "expected labels, 0 or 1",
              "give y > 0 if the labels are -1 and 1, or use binary_cross_entropy for probabilities"};
    case TargetValues::probabilities:
    case TargetValues::distributions:
      break;
  }
  return {[](double value) { return value >= 0.0 && value <= 1.0; }, "expected probabilities from 0 to 1",
          "scale the targets, or use a regression loss"};
}

// 0.3 for the float 0.3, which is 0.30000001192092896 as a double.
template <class T>
std::string shortest_text(T value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

template <class T>
void check_values(std::string_view where, const MatrixView<const T>& y, TargetValues values) {
  constexpr double kTolerance = 1e-3;  // of the sum of a distribution
  const TargetRule rule = rule_of(values);
  for (Index i = 0; i < y.rows; ++i) {
    double sum = 0.0;
    for (Index j = 0; j < y.cols; ++j) {
      const T value = y.data[i * y.row_stride() + j];
      sum += static_cast<double>(value);
      if (rule.takes(static_cast<double>(value)) || std::isnan(value)) continue;  // NaN: absent
      throw_value_error(
          where, "y is " + shortest_text(value) + " at row " + std::to_string(i) + ", column " + std::to_string(j),
          rule.expected, rule.hint);
    }
    if (values != TargetValues::distributions || std::isnan(sum) || std::abs(sum - 1.0) <= kTolerance) continue;
    throw_value_error(where, "row " + std::to_string(i) + " of y sums to " + number_text(sum), "expected 1",
                      "normalise the rows, or use binary_cross_entropy for independent labels");
  }
}

template <class T>
T weight_at(const Targets<T>& y, Index i, Index j) {
  if (y.element_weights.data != nullptr) return y.element_weights.data[i * y.element_weights.row_stride() + j];
  return y.weights.empty() ? T(1) : y.weights[static_cast<std::size_t>(i)];
}

// Refuses the first value that is neither finite nor absent. Returns whether some are absent.
template <class T>
bool check_presence(std::string_view where, const Targets<T>& y) {
  const InputView values = y.values;
  if (y.weights.empty() && y.element_weights.data == nullptr) {
    check_finite<T>(where, "y", values);
    return false;
  }
  bool any_absent = false;
  for (Index i = 0; i < values.rows; ++i) {
    if (is_finite_row<T>(values, i)) continue;
    const T* row = y.values.data + i * y.values.row_stride();
    for (Index j = 0; j < values.cols; ++j) {
      if (!std::isfinite(row[j]) && !(std::isnan(row[j]) && weight_at(y, i, j) == T(0)))
        refuse_row<T>(where, "y", values, i, MissingValues::error);
    }
    any_absent = true;
  }
  return any_absent;
}

}  // namespace

template <class T>
bool check_targets(std::string_view where, const Targets<T>& y, LossKind loss, Index rows, Index outputs) {
  if (!y.has_values && !takes_classes(loss)) refuse_sort(where, y.has_values, loss);
  const Index given = y.has_values ? y.values.rows : static_cast<Index>(y.classes.size());
  if (given != rows) {
    throw_value_error(where, "y has " + std::to_string(given) + " rows and X " + std::to_string(rows),
                      "expected one target per sample", "check how they were split");
  }
  if (!y.has_values) {
    check_classes(where, y.classes, outputs);
    return false;
  }
  const Index columns = target_columns(loss, outputs);
  if (y.values.cols != columns) {
    throw_value_error(
        where, "y has shape " + shape_text(y.values.rows, y.values.cols), "expected " + shape_text(rows, columns),
        columns == outputs ? "give one column per output of the model"
                           : "give a column for every " + std::to_string(outputs / columns) + " outputs of the model");
  }
  check_stride(where, "y", y.values.row_stride(), columns);
  const bool any_absent = check_presence(where, y);
  const TargetValues expected = targets_of(loss);
  if (expected != TargetValues::any) check_values(where, y.values, expected);
  return any_absent;
}

void refuse_bad_label(std::string_view where, const BadLabel& bad, Index outputs) {
  if (bad.row == kNone) return;
  throw_value_error(where, label_text(bad.label, bad.row) + ", which has changed since the call began",
                    "expected labels that stay as they are, 0 to " + std::to_string(outputs - 1),
                    "give a copy of y if another thread or process writes to it");
}

namespace {

// Returns the sum.
template <class T>
double check_weights_of(std::string_view where, const MatrixView<const T>& weights, bool by_element) {
  double sum = 0.0;
  for (Index i = 0; i < weights.rows; ++i) {
    for (Index j = 0; j < weights.cols; ++j) {
      const T weight = weights.data[i * weights.row_stride() + j];
      sum += static_cast<double>(weight);
      if (weight >= T(0) && std::isfinite(weight)) continue;
      throw_value_error(where,
                        "sample_weight is " + number_text(static_cast<double>(weight)) + " at row " +
                            std::to_string(i) + (by_element ? ", column " + std::to_string(j) : std::string()),
                        "expected a finite number >= 0",
                        by_element ? "a weight of 0 leaves a target out" : "a weight of 0 leaves a sample out");
    }
  }
  return sum;
}

template <class T>
void check_weight_shape(std::string_view where, const MatrixView<const T>& weights, LossKind loss, Index rows,
                        Index columns) {
  const std::string given = "sample_weight has shape " + shape_text(weights.rows, weights.cols);
  if (takes_classes(loss)) {
    throw_value_error(
        where, given + " with " + std::string(name_of(loss)),
        "expected one weight per sample, since this loss is one of whole rows",
        "give a weight for each sample, or use binary_cross_entropy for labels that are masked by column");
  }
  if (weights.rows != rows || weights.cols != columns) {
    throw_value_error(where, given, "expected one weight per sample, or " + shape_text(rows, columns),
                      "give a weight for each column of y");
  }
  check_stride(where, "sample_weight", weights.row_stride(), columns);
}

}  // namespace

template <class T>
void check_weights(std::string_view where, const Targets<T>& y, LossKind loss, Index rows, Index outputs) {
  const bool by_element = y.element_weights.data != nullptr;
  if (!by_element && y.weights.empty()) return;
  if (by_element && !y.weights.empty()) {
    throw_value_error(where, "weights and element_weights", "expected one of them", "leave one out");
  }
  MatrixView<const T> weights = y.element_weights;
  if (by_element) {
    check_weight_shape(where, weights, loss, rows, target_columns(loss, outputs));
  } else {
    const auto count = static_cast<Index>(y.weights.size());
    weights = matrix<const T>(y.weights.data(), count, 1);
    if (count != rows) {
      throw_value_error(
          where, "sample_weight has " + std::to_string(count) + " elements and X " + std::to_string(rows) + " rows",
          "expected one weight per sample", "check how they were split");
    }
  }
  if (check_weights_of(where, weights, by_element) > 0.0) return;
  throw_value_error(where, "all sample weights are 0", "expected a positive sum", "give some samples a weight");
}

namespace {

template <class T>
MatrixView<const T> given_weights(const Targets<T>& y) {
  if (y.element_weights.data != nullptr) return y.element_weights;
  return matrix<const T>(y.weights.data(), static_cast<Index>(y.weights.size()), 1);
}

// Calls body(row) for these rows, or for all `count` of them.
template <class Body>
void for_each_row(std::span<const std::int32_t> rows, Index count, const Body& body) {
  for (const std::int32_t row : rows) body(Index{row});
  for (Index row = 0; rows.empty() && row < count; ++row) body(row);
}

}  // namespace

template <class T>
T largest_weight(const Targets<T>& y, std::span<const std::int32_t> rows) {
  const MatrixView<const T> given = given_weights(y);
  T largest = T(0);
  for_each_row(rows, given.rows, [&](Index i) {
    const T* row = given.data + i * given.row_stride();
    largest = std::max(largest, *std::max_element(row, row + given.cols));
  });
  return largest;
}

template <class T>
RelativeWeights<T> relative_weights(const Targets<T>& y, bool by_element, std::span<const std::int32_t> rows) {
  RelativeWeights<T> out;
  const bool given_by_element = y.element_weights.data != nullptr;
  if (!given_by_element && y.weights.empty()) return out;
  const MatrixView<const T> given = given_weights(y);
  std::frexp(static_cast<double>(largest_weight(y, rows)), &out.exponent);
  // Scales in two steps, since the power alone may be infinite.
  const double half = std::ldexp(1.0, -(out.exponent / 2)), rest = std::ldexp(1.0, -(out.exponent - out.exponent / 2));
  const auto relative = [&](Index i, Index j) {
    return static_cast<double>(given.data[i * given.row_stride() + (given_by_element ? j : 0)]) * half * rest;
  };
  out.of_rows.resize(static_cast<std::size_t>(given.rows));
  if (given_by_element || by_element) out.columns = y.values.cols;
  if (given_by_element || by_element)
    out.of_elements.resize(out.of_rows.size() * static_cast<std::size_t>(out.columns));
  for_each_row(rows, given.rows, [&](Index i) {
    const double first = relative(i, 0);
    double beyond = 0.0;  // the mean of equal weights is exact
    for (Index j = 0; j < out.columns; ++j) {
      beyond += relative(i, j) - first;
      if (!out.of_elements.empty()) {
        out.of_elements[static_cast<std::size_t>(i * out.columns + j)] = static_cast<T>(relative(i, j));
      }
    }
    out.of_rows[static_cast<std::size_t>(i)] = first + beyond / static_cast<double>(out.columns);
  });
  return out;
}

template bool is_finite(std::span<const float>);
template bool is_finite(std::span<const double>);
template void check_weights(std::string_view, const Targets<float>&, LossKind, Index, Index);
template void check_weights(std::string_view, const Targets<double>&, LossKind, Index, Index);
template void check_samples<float>(std::string_view, const InputView&, Index, Poller*, MissingValues);
template void check_samples<double>(std::string_view, const InputView&, Index, Poller*, MissingValues);
template void check_finite_matrix(std::string_view, const char*, const MatrixView<const float>&);
template void check_finite_matrix(std::string_view, const char*, const MatrixView<const double>&);
template void refuse_bad_row<float>(std::string_view, const InputView&, Index, MissingValues);
template void refuse_bad_row<double>(std::string_view, const InputView&, Index, MissingValues);
template float largest_weight(const Targets<float>&, std::span<const std::int32_t>);
template double largest_weight(const Targets<double>&, std::span<const std::int32_t>);
template RelativeWeights<float> relative_weights(const Targets<float>&, bool, std::span<const std::int32_t>);
template RelativeWeights<double> relative_weights(const Targets<double>&, bool, std::span<const std::int32_t>);
template bool check_targets(std::string_view, const Targets<float>&, LossKind, Index, Index);
template bool check_targets(std::string_view, const Targets<double>&, LossKind, Index, Index);

}  // namespace stoop
