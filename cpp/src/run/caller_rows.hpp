// Rows that come from the caller's memory or go there: samples and targets of a batch and, in an update in pieces, outputs and
// gradients.
#pragma once

#include <atomic>
#include <cstdint>

#include "../data/input_rows.hpp"
#include "batches.hpp"
#include "steps_context.hpp"

namespace stoop {

template <class T>
class CallerRows {
 public:
  CallerRows(const OpTable<T>& ops, const TrainingRun<T>& run) : ops_(ops), run_(run) {}

  // The first row of a mapped x that holds a NaN or infinity, kNone if there is none. All shares read it after the meeting of
  // check_loss.
  Index bad_row() const { return bad_row_.load(std::memory_order_relaxed); }

  // These run a slice of a step of each kind.
  using Context = StepContext<T>;
  void run(Kind<StepKind::gather>, const Context& context, const Step& step, const Batch& batch, const Slice& slice) {
    gather(context, step, batch, slice, {run_.data.x, run_.data.scale, run_.data.shift});
    if (run_.data.x.mapped) look_for_bad_rows(batch, slice);
  }
  void run(Kind<StepKind::gather_targets>, const Context& context, const Step& step, const Batch& batch,
           const Slice& slice) {
    gather(context, step, batch, slice, {run_.data.values});
  }
  void run(Kind<StepKind::gather_gradient>, const Context& context, const Step& step, const Batch&,
           const Slice& slice) {
    copy(run_.grad_output.data, run_.grad_output.stride, context.at(step.out, 0), context.stride(step.out), slice);
  }
  void run(Kind<StepKind::give_outputs>, const Context& context, const Step& step, const Batch&, const Slice& slice) {
    copy(context.at(step.x, 0), context.stride(step.x), run_.outputs.data, run_.outputs.stride, slice);
  }
  void run(Kind<StepKind::give_input_gradient>, const Context& context, const Step& step, const Batch&,
           const Slice& slice) {
    copy(context.at(step.x, 0), context.stride(step.x), run_.input_gradient.data, run_.input_gradient.stride, slice,
         run_.data.scale);
  }

 private:
  struct Source {
    const InputView& rows;
    T scale = T(1), shift = T(0);
  };

  void gather(const Context& context, const Step& step, const Batch& batch, const Slice& slice, const Source& from) {
    const std::int32_t* order = run_.data.order;
    const InputView& rows = from.rows;
    const Index first = batch.start + slice.row;
    ops_.gather[static_cast<int>(rows.type)]({slice.rows(), rows.cols, order == nullptr ? rows.row(first) : rows.data,
                                              rows.stride, order == nullptr ? nullptr : order + first,
                                              context.at(step.out, slice.row), context.stride(step.out), from.scale,
                                              from.shift});
  }

  // Copies a slice from or to memory of the caller's, times `scale`.
  void copy(const T* from, Index ld_from, T* to, Index ld_to, const Slice& slice, T scale = T(1)) {
    if (to == nullptr) return;
    ops_.gather[static_cast<int>(kInputType<T>)]({slice.rows(), slice.columns(),
                                                  from + slice.row * ld_from + slice.column, ld_from, nullptr,
                                                  to + slice.row * ld_to + slice.column, ld_to, scale, T(0)});
  }

  void look_for_bad_rows(const Batch& batch, const Slice& slice) {
    for (Index i = slice.row; i < slice.row_end; ++i) {
      const Index row = run_.data.sample(batch.start + i);
      if (!is_finite_row<T>(run_.data.x, row)) keep_first(bad_row_, row);
    }
  }

  const OpTable<T>& ops_;
  const TrainingRun<T>& run_;
  std::atomic<Index> bad_row_{kNone};
};

}  // namespace stoop
