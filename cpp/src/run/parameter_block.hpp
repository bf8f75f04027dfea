// Everything that a training step does with one block of a parameter while it is in cache: the gradient from the batch, the
// regularisation, the optimizer, the moving average. There are no threads here.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include "batches.hpp"
#include "rates.hpp"
#include "steps.hpp"
#include "../team/team.hpp"

namespace stoop::inline v0_1 {

template <class T>
struct ParameterBlocks {
  const Plan& plan;
  const OpTable<T>& ops;
  const TrainingRun<T>& run;
  BlockSums& sums;
  double* const penalties = sums.penalties.data();
  double* const grad_squares = sums.squares.data();
  double* const grad_norms = sums.norms.data();
  double* const block_norms = sums.steps.data();
  const std::size_t optimizer = run.optimizer == nullptr ? 0 : run.optimizer->index();

  // Computes some blocks of a step of this kind, whose gradient is one product. `scratch` holds them, and set_rates has made
  // `common`.
  template <StepKind kind>
  void work(const StepContext<T>& context, const Step& step, const Batch& batch, const Range& blocks, T* scratch,
            const UpdateArgs<T>& common) const {
    const Index begin = blocks.begin * step.block, end = std::min(blocks.end * step.block, step.work.extent);
    const Index offset = step.parameter + begin * step.work.row_elements, n = (end - begin) * step.work.row_elements;
    if constexpr (kind == StepKind::update_statistics) {
      update_statistics(context, step, begin, end);
    } else if constexpr (kind == StepKind::apply_update) {
      apply(step, n, offset, common);
    } else {
      const double scale = penalty_scale(run, batch);
      if constexpr (kind == StepKind::table_gradient) {
        if (step.work.is_lazy && !keeps_gradients()) {
          const Index slot = step.first_sum + blocks.begin;
          return update_rows(context, step, {batch.rows, begin, end, scratch}, slot, scale, common);
        }
      }
      T* grad = keeps_gradients() ? run.gradient + offset : scratch;
      if constexpr (kind == StepKind::regularize_parameter) {
        if (run.raw_gradient != nullptr) std::copy_n(run.raw_gradient + offset, n, grad);
      } else if constexpr (kind != StepKind::update_parameter) {
        const bool adds = step.work.adds || run.adds || !batch.is_first();
        T* fresh = adds ? scratch : grad;
        GradientBlock<T> block{batch.rows, begin, end, fresh};
        if (run.groups == 1) {
          run_kind<kind>(context, step, block);
        } else {
          sum_groups<kind>(context, step, block, {0, run.groups}, scratch + (adds ? n : 0));
        }
        if (adds) ops.add({1, n, fresh, n, grad, n, false});
        if (!batch.is_last() || step.work.after == After::nothing) return;
      }
      const Index size = step.block * step.work.row_elements;
      for (Index b = blocks.begin, done = 0; b < blocks.end; ++b, done += size) {
        const Block block{std::min(size, n - done), offset + done, grad + done, sums_of(step.first_sum + b), scale};
        if (step.work.is_lazy) {
          finish_rows(step, block, common);
        } else {
          finish(step, block, common);
        }
      }
    }
  }

  // Scales down the columns of a weight whose norm is too large, after all its blocks are updated.
  void limit_norm(const Step& step, const Slice& slice) const {
    const Index offset = step.parameter + slice.column, cols = step.out_features;
    for (Index i = 0; i < step.work.extent; i += step.in_features) {  // a weight of each member
      ops.limit_norm({step.in_features, slice.columns(), run.parameters + offset + i * cols, cols, run.max_norm});
    }
    for (Index i = 0; i < step.work.extent; ++i) average(offset + i * cols, slice.columns());
  }

 private:
  // The sums of a block, and the norms of the parameter and of its step.
  struct Sums {
    double *penalty, *squares, *norm, *norms;
  };
  Sums sums_of(Index slot) const {
    return {penalties + slot, grad_squares + slot, grad_norms + slot, block_norms + 2 * slot};
  }

  // One block of a parameter whose gradient is complete.
  struct Block {
    Index n, offset;
    T* grad;
    Sums sums;
    double penalty_scale;
  };

  // ---- lazy updates of tables ----

  // Adds up the sums of rows.
  struct RowSums {
    double penalty = 0.0, squares = 0.0, norm = 0.0;

    void write(const Sums& to) const {
      *to.penalty = penalty;
      *to.squares = squares;
      *to.norm = norm;
    }
  };

  static bool is_zero(const T* row, Index n) {
    bool zero = true;
    for (Index k = 0; k < n; ++k) zero &= row[k] == T(0);
    return zero;
  }

  // A row whose gradient is zero is left alone.
  void finish_row(const Step& step, Index offset, T* grad, double scale, const UpdateArgs<T>& common,
                  RowSums& total) const {
    const Index n = step.work.row_elements;
    if (is_zero(grad, n)) return;
    double penalty = 0.0, squares = 0.0, norm = 0.0, norms[2] = {};
    finish(step, {n, offset, grad, {&penalty, &squares, &norm, norms}, scale}, common);
    total.penalty += penalty;
    total.squares += squares;
    total.norm = std::hypot(total.norm, std::isfinite(squares) && squares > 0.0 ? std::sqrt(squares) : norm);
  }

  void finish_rows(const Step& step, const Block& block, const UpdateArgs<T>& common) const {
    RowSums total;
    const Index n = step.work.row_elements;
    for (Index i = 0; i < block.n; i += n) {
      finish_row(step, block.offset + i, block.grad + i, block.penalty_scale, common, total);
    }
    // An update of gradients that were kept takes no sums, and other threads still read those of before.
    if (!keeps_gradients() || step.work.after == After::regularize) total.write(block.sums);
  }

  // Takes the rows of a block that the batch names, in place of all of them.
  void update_rows(const StepContext<T>& context, const Step& step, GradientBlock<T> block, Index slot, double scale,
                   const UpdateArgs<T>& common) const {
    const Index n = step.work.row_elements;
    const Index most = std::min(block.end - block.begin, block.rows * context.columns->embeddings);
    auto* const named = reinterpret_cast<std::int32_t*>(block.grad + most * n);
    const Index count = table_rows(context, step, block, named);
    RowSums total;
    for (Index i = 0; i < count; ++i) {
      finish_row(step, step.parameter + named[i] * n, block.grad + i * n, scale, common, total);
    }
    total.write(sums_of(slot));
  }

  // Adds up the gradients of some groups of rows in a binary tree, while they are in cache.
  template <StepKind kind>
  void sum_groups(const StepContext<T>& context, const Step& step, GradientBlock<T> block, const Range& groups,
                  T* scratch) const {
    if (groups.end - groups.begin == 1) {
      block.first_row = run.group_rows[groups.begin];
      block.rows = run.group_rows[groups.end] - block.first_row;
      return run_kind<kind>(context, step, block);
    }
    const Index n = (block.end - block.begin) * step.work.row_elements, middle = (groups.begin + groups.end) / 2;
    sum_groups<kind>(context, step, block, {groups.begin, middle}, scratch);
    T* const left = std::exchange(block.grad, scratch);
    sum_groups<kind>(context, step, block, {middle, groups.end}, scratch + n);
    ops.add({1, n, scratch, n, left, n, false});
  }

  bool keeps_gradients() const { return plan.kind != PlanKind::training; }

  double l1_of(const Step& step, const Block& block) const {
    return penalty_of(step.work, step.work.l1, run.l1) * block.penalty_scale;
  }
  double l2_of(const Step& step, const Block& block) const {
    return penalty_of(step.work, step.work.l2, run.l2) * block.penalty_scale;
  }

  static double penalty_of(const ParameterWork& work, const std::optional<double>& own, double common) {
    return work.regularized ? own.value_or(common * work.factors.decay) : 0.0;
  }

  // A penalty with a factor of 0 is zero, even if the sum is not finite.
  static double term(double factor, double sum) { return factor == 0.0 ? 0.0 : factor * sum; }

  // The steps after the gradient of one block.
  void finish(const Step& step, const Block& block, const UpdateArgs<T>& common) const {
    const bool stored = keeps_gradients(), asked = step.work.after == After::regularize;
    const bool fused = !asked && !stored && l1_of(step, block) == 0.0 && run.clip_value == 0.0 &&
                       (l2_of(step, block) == 0.0 || (!step.work.is_lazy && is_steady(block.sums)));
    if (asked || (!stored && !fused)) regularize(step, block);
    if (!asked) update(step, block, fused, common);
  }

  // Returns whether the sums of the last update had a usual size. An update takes its sums as it goes. If they turn out to
  // be wrong, the weights of their l2 terms have changed already, so the sums are taken before the update instead.
  bool is_steady(const Sums& last) const {
    constexpr double kLeast = sizeof(T) == 4 ? 1e-20 : 1e-270, kMost = 1.0 / kLeast;
    const double squares = *last.squares, penalty = *last.penalty;
    return squares > kLeast && squares < kMost && penalty < kMost;
  }

  void regularize(const Step& step, const Block& block) const {
    const bool along = plan.kind == PlanKind::curvature;  // then l2 is all the terms there are, and `grad` a product
    const double l1 = along ? 0.0 : l1_of(step, block), l2 = l2_of(step, block);
    double squares = 0.0, magnitudes = 0.0;
    ops.regularize({block.n, (along ? run.direction : run.parameters) + block.offset, block.grad, static_cast<T>(l1),
                    static_cast<T>(l2), static_cast<T>(run.clip_value), &squares, &magnitudes, block.sums.squares,
                    block.sums.norm});
    *block.sums.penalty = term(0.5 * l2, squares) + term(l1, magnitudes);
  }

  // `fused`: the gradient has no regularisation in it yet, and its sums are not known.
  void update(const Step& step, const Block& block, bool fused, const UpdateArgs<T>& common) const {
    const double l2 = l2_of(step, block);
    double weight_squares = 0.0, unused = 0.0;
    AnyRates own;
    UpdateArgs<T> args = args_of(step, block.n, block.offset, common, own);
    args.grad = block.grad;
    args.block_norms = block.sums.norms;
    args.l2 = fused ? static_cast<T>(l2) : T(0);
    args.weight_sum_of_squares = &weight_squares;
    args.grad_sum_of_squares = fused ? block.sums.squares : &unused;
    args.grad_norm = fused ? block.sums.norm : nullptr;
    ops.update[optimizer](args);
    if (fused) *block.sums.penalty = term(0.5 * l2, weight_squares);
    if (ops.apply[optimizer] == nullptr && !limits_norm(step)) average(block.offset, block.n);
  }

  // Makes the second pass, after the norms of all blocks of the parameter are known.
  void apply(const Step& step, Index n, Index offset, const UpdateArgs<T>& common) const {
    const Index count = block_count(step.work.extent, step.block);
    AnyRates own;
    UpdateArgs<T> args = args_of(step, n, offset, common, own);
    args.trust_ratio = trust_ratio_of({block_norms + 2 * step.first_sum, static_cast<std::size_t>(2 * count)});
    ops.apply[optimizer](args);
    if (!limits_norm(step)) average(offset, n);
  }

  // The rates of a layer with factors are made in `own`.
  UpdateArgs<T> args_of(const Step& step, Index n, Index offset, const UpdateArgs<T>& common, AnyRates& own) const {
    UpdateArgs<T> args = common;
    if (step.work.factors != Factors{}) set_factors(args, own, *run.optimizer, step.work.factors);
    args.n = n;
    args.weight = run.parameters + offset;
    for (int i = 0; i < kMostStates; ++i) args.state[i] = run.state[i] == nullptr ? nullptr : run.state[i] + offset;
    if (!step.work.regularized) args.decay = T(0);
    return args;
  }

  bool limits_norm(const Step& step) const {
    return run.max_norm > 0.0 && step.work.regularized && step.work.is_limited;
  }

  void average(Index offset, Index n) const {
    if (run.average == nullptr) return;
    ops.average({n, run.average + offset, run.parameters + offset, static_cast<T>(run.average_decay)});
  }

  void update_statistics(const StepContext<T>& context, const Step& step, Index begin, Index end) const {
    const T momentum = static_cast<T>(step.norm.momentum);
    const Index n = end - begin;
    ops.average({n, run.running + step.norm.running_mean + begin, context.at(step.statistics, 0, begin), momentum});
    ops.average({n, run.running + step.norm.running_var + begin, context.at(step.statistics, 1, begin), momentum});
  }
};

}  // namespace stoop
