// An update on rows of larger arrays, as from a replay buffer.

#include "trainer_core.hpp"

#include <string>

#include <stoop/error.hpp>

#include "../data/checks.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr const char* kStep = "Trainer.step";

void check_indices(std::span<const Index> indices, Index rows) {
  if (indices.empty()) {
    throw_value_error(kStep, "rows is empty", "expected at least one row", "give the indices of a batch");
  }
  for (std::size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] >= 0 && indices[i] < rows) continue;
    throw_value_error(kStep, "rows has " + std::to_string(indices[i]) + " at position " + std::to_string(i),
                      "expected 0 to " + std::to_string(rows - 1) + ", rows of X", "check how they were drawn");
  }
}

// The arrays may be empty or of other rank; the batch that is gathered from them is checked like any other.
template <class T>
void check_arrays(const InputView& x, const Targets<T>& y, const BatchRows& rows) {
  check_stride(kStep, "X", x.row_stride(), x.cols);
  if (y.has_values) check_stride(kStep, "y", y.values.row_stride(), y.values.cols);
  const Index given = y.has_values ? y.values.rows : static_cast<Index>(y.classes.size());
  const Index expected = rows.y_is_gathered ? static_cast<Index>(rows.indices.size()) : x.rows;
  if (given == expected) return;
  throw_value_error(kStep,
                    "y has " + std::to_string(given) + " rows and " + (rows.y_is_gathered ? "`rows` " : "X ") +
                        std::to_string(expected),
                    "expected one target for each", "check how they were made");
}

// Throws the error for a row of the arrays that cannot be used, by its place there.
template <class T>
void refuse_in_place(const TrainerCore<T>& core, const InputView& x, const Targets<T>& y, const BatchRows& rows) {
  const MissingValues missing = missing_values(core.graph);
  for (const Index i : rows.indices) {
    if (!is_finite_row<T>(x, i, missing)) refuse_bad_row<T>(kStep, x, i, missing);
  }
  // Weights are those of the batch, and where they are 0 a target may be absent: then the place in the batch must do.
  const bool is_weighted = !y.weights.empty() || y.element_weights.data != nullptr;
  if (!rows.y_is_gathered && !is_weighted) check_targets(kStep, y, core.loss(), x.rows, core.model.output_dim());
}

}  // namespace

template <class T>
double Trainer<T>::step_rows(const InputView& x, const Targets<T>& y, const BatchRows& rows,
                             const KeepGoing& keep_going) {
  TrainerCore<T>& core = *impl_;
  check_arrays(x, y, rows);
  check_indices(rows.indices, x.rows);
  const InputView batch = core.gathered.gather(x, rows.indices);
  const Targets<T> targets = rows.y_is_gathered ? y : core.gathered.gather(y, rows.indices);
  try {
    return step(batch, targets, keep_going);
  } catch (const ValueError&) {
    if (batch.cols == core.model.input_dim()) refuse_in_place(core, x, y, rows);
    throw;
  }
}

template double Trainer<float>::step_rows(const InputView&, const Targets<float>&, const BatchRows&, const KeepGoing&);
template double Trainer<double>::step_rows(const InputView&, const Targets<double>&, const BatchRows&,
                                           const KeepGoing&);

}  // namespace stoop
