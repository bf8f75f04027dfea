// Rows that come from the caller's memory or go there: samples and targets of a batch and, in an update in pieces, outputs and
// gradients.
#pragma once

#include <atomic>
#include <cstdint>

#include "../data/input_rows.hpp"
#include "batches.hpp"
#include "column_steps.hpp"
#include "row_augmenter.hpp"
#include "steps_context.hpp"

namespace stoop::inline v0_1 {

template <class T>
class CallerRows {
 public:
  CallerRows(const OpTable<T>& ops, const TrainingRun<T>& run) : ops_(ops), run_(run) {}

  // The first row of a mapped x that holds a NaN or infinity, kNone if there is none. All shares read it after the meeting of
  // check_loss.
  Index bad_row() const { return bad_row_.load(std::memory_order_relaxed); }
  // The first label among targets that are mixed that was no class when it was read, packed; kNone: there is none.
  Index bad_label() const { return bad_label_.load(std::memory_order_relaxed); }

  // These run a slice of a step of each kind.
  using Context = StepContext<T>;
  void run(Kind<StepKind::gather>, const Context& context, const Step& step, const Batch& batch, const Slice& slice) {
    if (run_.augmented) {
      augment(context, step, batch, slice);
    } else {
      gather(context, step, batch, slice, {run_.data.x, run_.data.map});
    }
    if (run_.data.x.mapped) look_for_bad_rows(batch, slice);
  }
  void run(Kind<StepKind::gather_targets>, const Context& context, const Step& step, const Batch& batch,
           const Slice& slice) {
    if (run_.augmented.mixes()) return mix_targets(context, step, batch, slice);
    gather(context, step, batch, slice, {run_.data.values});
  }
  void run(Kind<StepKind::gather_gradient>, const Context& context, const Step& step, const Batch&,
           const Slice& slice) {
    copy(run_.grad_output.data, run_.grad_output.stride, context.at(step.out, 0), context.stride(step.out),
         slice.with_members(step.members));
  }
  void run(Kind<StepKind::give_outputs>, const Context& context, const Step& step, const Batch&, const Slice& slice) {
    copy(context.at(step.x, 0), context.stride(step.x), run_.outputs.data, run_.outputs.stride,
         slice.with_members(step.members));
  }
  void run(Kind<StepKind::columns_input_gradient>, const Context& context, const Step& step, const Batch&,
           const Slice& slice) {
    const PlannedColumns& columns = *context.columns;
    const bool is_periodic = step.statistics != kNone;
    ops_.encode_gradient(
        {places_of(context, step.x, slice.row, slice.rows()), run_.data.map, context.at(step.grad, slice.row),
         context.stride(step.grad),
         is_periodic ? context.at(step.statistics, slice.row, columns.number_layers * columns.frequencies) : nullptr,
         is_periodic ? context.stride(step.statistics) : 0, number_layers(context, context.parameters),
         columns.embedding_dim, context.at(step.out, slice.row), context.stride(step.out)});
  }
  void run(Kind<StepKind::give_input_gradient>, const Context& context, const Step& step, const Batch&,
           const Slice& slice) {
    const InputMap<T>& map = run_.data.map;
    const MatrixView<T>& to = run_.input_gradient;
    if (map.column_scale == nullptr || map.columns != nullptr) {
      return copy(context.at(step.x, 0), context.stride(step.x), to.data, to.stride, slice, map.scale);
    }
    if (to.data == nullptr) return;
    const Index row = slice.row, column = slice.column;
    const bool clips = step.saved != kNone;
    ops_.map_gradient({slice.rows(), slice.columns(), context.at(step.x, row, column), context.stride(step.x),
                       clips ? context.at(step.saved, row, column) : nullptr, clips ? context.stride(step.saved) : 0,
                       to.data + row * to.stride + column, to.stride, map.column_scale + column,
                       clips ? map.clip : T(0)});
  }

 private:
  struct Source {
    const InputView& rows;
    InputMap<T> map{};
  };

  void gather(const Context& context, const Step& step, const Batch& batch, const Slice& slice, const Source& from) {
    const std::int32_t* order = run_.data.order;
    const InputView& rows = from.rows;
    const Index first = batch.start + slice.row;
    ops_.gather[static_cast<int>(rows.type)]({slice.rows(), rows.cols, order == nullptr ? rows.row(first) : rows.data,
                                              rows.stride, order == nullptr ? nullptr : order + first,
                                              context.at(step.out, slice.row), context.stride(step.out), from.map});
  }

  // Each row is augmented in its place in the batch, then goes through the map of the inputs there.
  void augment(const Context& context, const Step& step, const Batch& batch, const Slice& slice) {
    if (run_.read_ahead != nullptr && run_.augmented.mixes()) {  // partners are not the rows that come next
      for (Index i = slice.row; i < slice.row_end; ++i) {
        run_.read_ahead->ask_row(run_.augmented.partner_of(position(batch, i)));
      }
    }
    const RowAugmenter<T> augmenter(ops_, run_.augmented, run_.data.x, context.augment_scratch);
    for (Index i = slice.row; i < slice.row_end; ++i) augmenter.write(position(batch, i), context.at(step.out, i));
    T* const out = context.at(step.out, slice.row);
    const Index ld = context.stride(step.out);
    if (is_identity(run_.data.map)) return;
    ops_.gather[static_cast<int>(kInputType<T>)](
        {slice.rows(), run_.data.x.cols, out, ld, nullptr, out, ld, run_.data.map});
  }

  void mix_targets(const Context& context, const Step& step, const Batch& batch, const Slice& slice) {
    const TargetMixer<T> mixer(run_.augmented, run_.data);
    for (Index i = slice.row; i < slice.row_end; ++i) {
      mixer.write(position(batch, i), context.at(step.out, i), bad_label_);
    }
  }

  Index position(const Batch& batch, Index row) const {
    const Index i = batch.start + row;
    return run_.augmented.position_of(i, run_.data.sample(i));
  }

  // Copies a slice from or to memory of the caller's, times `scale`.
  void copy(const T* from, Index ld_from, T* to, Index ld_to, const Slice& slice, T scale = T(1)) {
    if (to == nullptr) return;
    ops_.gather[static_cast<int>(kInputType<T>)]({slice.rows(),
                                                  slice.columns(),
                                                  from + slice.row * ld_from + slice.column,
                                                  ld_from,
                                                  nullptr,
                                                  to + slice.row * ld_to + slice.column,
                                                  ld_to,
                                                  {.scale = scale}});
  }

  void look_for_bad_rows(const Batch& batch, const Slice& slice) {
    for (Index i = slice.row; i < slice.row_end; ++i) {
      const Index row = run_.data.sample(batch.start + i);
      const MissingValues missing = missing_values(run_.data.map);
      if (!is_finite_row<T>(run_.data.x, row, missing)) keep_first(bad_row_, row);
      if (!run_.augmented.mixes()) continue;
      const Index partner = run_.augmented.partner_of(position(batch, i));
      if (!is_finite_row<T>(run_.data.x, partner, missing)) keep_first(bad_row_, partner);
    }
  }

  const OpTable<T>& ops_;
  const TrainingRun<T>& run_;
  std::atomic<Index> bad_row_{kNone}, bad_label_{kNone};
};

}  // namespace stoop
