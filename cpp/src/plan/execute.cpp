// Training: a team of threads walks the plan for a whole run of steps. Each thread takes its share of every step's
// blocks, and all meet where a step says so. How a step is cut is the plan's; the team only deals the blocks out.

#include "execute.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include <stoop/error.hpp>

#include "batches.hpp"
#include "finite.hpp"
#include "halt.hpp"
#include "input_rows.hpp"
#include "parameter_block.hpp"
#include "rates.hpp"
#include "team.hpp"

namespace stoop {

Index update_count(Index samples, Index batch, Index accumulate, Index merged) {
  Index batches = 0;
  for (Index done = 0; done < samples; ++batches) done += batch_rows(samples - done, batch, merged);
  return block_count(batches, accumulate);
}

int useful_threads(double flops, int limit) {
  constexpr double kFlopsPerThread = 4e5;  // what a thread does in the time of a few barriers
  return static_cast<int>(std::clamp(flops / kFlopsPerThread, 1.0, static_cast<double>(limit)));
}

// One call of TrainingExecutor::run: what its threads share.
template <class T>
class TeamRun {
 public:
  TeamRun(TrainingExecutor<T>& executor, const TrainingRun<T>& run, const TrainingResult& so_far)
      : result(so_far),
        executor_(executor),
        plan_(executor.plan_),
        ops_(*executor.ops_),
        run_(run),
        blocks_{plan_, ops_, run_, executor.penalties_.data(), executor.grad_sums_.data()},
        halt_(run.stops_within ? run.poller : nullptr),
        barrier_(may_spin(run.threads)) {}

  void work(int thread, int team, const FlushToZero& mode) {
    StepContext<T> context;
    context.ops = &ops_;
    context.buffers = executor_.bound_.data();
    context.parameters = run_.parameters;
    context.direction = run_.direction;
    context.scratch = executor_.scratch_.data() + thread * executor_.thread_scratch_;
    context.running = run_.running;
    context.seed = run_.seed;
    Member member{thread, team, mode};
    Batch batch;
    batch.start = batch.update_end = run_.first;
    while (next_batch(run_, batch)) {
      context.update = static_cast<std::uint64_t>(run_.updates_done + batch.updates);
      context.rows = batch.rows;
      context.first_row = batch.start - batch.update_start;
      if (run_.read_ahead != nullptr) {
        run_.read_ahead->ask(batch.start, batch.start + batch.rows, thread, team);
      }
      const bool whole = walk(context, batch, member);
      if (thread == 0) result.interrupted = halt_.has_come();
      if (!whole) return;
      if (thread == 0) finish_batch(batch, member);
      barrier_.wait(team);
      if (thread == 0 && batch.is_last()) add_sums();
      if (stop_) return;
    }
  }

  TrainingResult result;

 private:
  // What is done once for an update, not for every batch of it.
  static bool is_of_update(StepKind kind) {
    return kind == StepKind::check_gradient || kind == StepKind::update_parameter || kind == StepKind::limit_norm;
  }

  // All have done what is before; false: the run ends, for all threads alike.
  bool meet(Member& member, bool may_halt) {
    if (may_halt) halt_.before_barrier(member);
    barrier_.wait(member.team);
    ++member.barriers;
    return !may_halt || !halt_.ends_after_barrier(member);
  }

  // One walk through the plan. False: a check or the poller has ended the run, for all threads alike.
  bool walk(StepContext<T>& context, const Batch& batch, Member& member) {
    const int thread = member.thread, team = member.team;
    const Index rows = batch.rows;
    bool may_halt = halt_.may_come();
    T* block = context.scratch + executor_.gemm_scratch_;
    UpdateArgs<T> rates{};
    if (run_.learning_rates != nullptr) {
      set_rates(rates, *run_.optimizer, run_.learning_rates[batch.updates], run_.updates_done + batch.updates + 1);
    }
    const Index row_block = plan_.grouped ? statistics_group(rows) : kRowBlock;
    int taken = 0;  // steps that one before has done
    for (const Step& step : plan_.steps) {
      if (taken-- > 0) continue;
      taken = step.takes;
      if (step.barrier && !meet(member, may_halt)) return false;
      if (!batch.is_last() && is_of_update(step.kind)) continue;
      if (step.cut == Cut::rows) {
        const Range blocks = share(block_count(rows, row_block), thread, team);
        const Slice slice{blocks.begin * row_block, std::min(blocks.end * row_block, rows), 0, output_columns(step)};
        if (slice.row < slice.row_end) run_rows(context, step, batch, slice, may_halt ? &member : nullptr);
      } else if (step.cut == Cut::columns) {
        const Index columns = output_columns(step);
        const Range blocks = share(block_count(columns, kColumnBlock), thread, team);
        const Slice slice{0, rows, blocks.begin * kColumnBlock, std::min(blocks.end * kColumnBlock, columns)};
        const bool product =
            step.kind == StepKind::dense || step.kind == StepKind::input_gradient;  // others add up rows
        if (slice.column < slice.column_end)
          run_rows(context, step, batch, slice, may_halt && product ? &member : nullptr);
      } else if (step.cut == Cut::parameter) {
        const Range blocks = share(block_count(step.extent, step.block), thread, team);
        for (Index b = blocks.begin; b < blocks.end && (!may_halt || halt_.goes_on(member)); b += step.group) {
          context.same_step = b > blocks.begin;
          blocks_.work(context, step, batch, {b, std::min(b + step.group, blocks.end)}, block, rates);
        }
      } else if (!(step.kind == StepKind::check_loss ? check_loss(context, batch, thread)
                                                     : check_gradient(batch, rates, thread))) {
        return false;
      } else if (step.kind == StepKind::check_gradient) {
        may_halt = false;  // updates follow
      }
    }
    return true;
  }

  // A slice; for a member that may be halted a long one in pieces of whole blocks of rows.
  void run_rows(const StepContext<T>& context, const Step& step, const Batch& batch, Slice slice,
                const Member* member) {
    if (member == nullptr) return run_step(context, step, batch, slice);
    constexpr Index kRows = 1024;
    const Index block = plan_.grouped ? statistics_group(batch.rows) : kRowBlock;
    const Index rows = block_count(kRows, block) * block, end = slice.row_end;
    for (; slice.row < end && halt_.goes_on(*member); slice.row = slice.row_end) {
      slice.row_end = std::min(slice.row + rows, end);
      run_step(context, step, batch, slice);
    }
  }

  void run_step(const StepContext<T>& context, const Step& step, const Batch& batch, const Slice& slice) {
    switch (step.kind) {
      case StepKind::gather:
        gather(context, step.output, run_.data.x, batch, slice, run_.data.scale, run_.data.shift);
        return run_.data.x.mapped ? look_for_bad_rows(batch, slice) : void();
      case StepKind::gather_targets:
        return gather(context, step.output, run_.data.values, batch, slice, T(1), T(0));
      case StepKind::loss:
        return loss(context, step, batch, slice.row, slice.row_end);
      case StepKind::loss_tangent:
        return loss_tangent(context, step, batch, slice);
      case StepKind::limit_norm:
        return blocks_.limit_norm(step, slice);
      default:
        return run_slice(context, step, slice);
    }
  }

  void gather(const StepContext<T>& context, int output, const InputView& from, const Batch& batch, const Slice& slice,
              T scale, T shift) {
    const std::int32_t* order = run_.data.order;
    const Index first = batch.start + slice.row;
    ops_.gather[static_cast<int>(from.type)]({slice.rows(), from.cols, order == nullptr ? from.row(first) : from.data,
                                              from.stride, order == nullptr ? nullptr : order + first,
                                              context.at(output, slice.row), context.stride(output), scale, shift});
  }

  // Of rows that have just been read. All threads learn of the first of a batch behind the barrier of check_loss.
  void look_for_bad_rows(const Batch& batch, const Slice& slice) {
    for (Index i = slice.row; i < slice.row_end; ++i) {
      const Index row = run_.data.sample(batch.start + i);
      if (!is_finite_row<T>(run_.data.x, row)) keep_first(bad_row_, row);
    }
  }

  // Per row block, so that the partial sums are the same for any team.
  void loss(const StepContext<T>& context, const Step& step, const Batch& batch, Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Index from = run_.data.sample(batch.start + i);
      if (plan_.class_targets) {
        executor_.classes_[static_cast<std::size_t>(i)] =
            read_label(run_.data.classes, from, step.out_features, bad_label_);
      }
      if (run_.data.weights == nullptr) continue;
      executor_.weights_[static_cast<std::size_t>(i)] = run_.data.weights[from] / batch.weight_unit;
    }
    for (Index i = begin; i < end; i += kRowBlock) {
      const LossArgs<T> args = loss_args(context, step, batch, i, std::min(kRowBlock, end - i));
      ops_.loss[static_cast<int>(plan_.loss)](args);
    }
  }

  void loss_tangent(const StepContext<T>& context, const Step& step, const Batch& batch, const Slice& slice) {
    const LossArgs<T> args = loss_args(context, step, batch, slice.row, slice.rows());
    ops_.loss_tangent[static_cast<int>(plan_.loss)](
        {args, context.at(step.tangent, slice.row), context.stride(step.tangent)});
  }

  // Of the rows from `i` on.
  LossArgs<T> loss_args(const StepContext<T>& context, const Step& step, const Batch& batch, Index i, Index rows) {
    LossArgs<T> args{};
    args.rows = rows;
    args.cols = step.out_features;
    args.output = context.at(step.input, i);
    args.ld_output = context.stride(step.input);
    if (plan_.class_targets) {
      args.classes = executor_.classes_.data() + i;
    } else {
      args.targets = context.at(plan_.target_buffer, i);
      args.ld_targets = context.stride(plan_.target_buffer);
    }
    if (run_.data.weights != nullptr) args.weights = executor_.weights_.data() + i;
    if (step.output != kNone) {
      args.grad = context.at(step.output, i);
      args.ld_grad = context.stride(step.output);
    }
    // A batch without weight changes nothing.
    args.grad_scale = batch.weight > 0.0 ? static_cast<T>(batch.weight_unit / batch.weight) : T(0);
    args.parameter = run_.loss_parameter;
    args.loss = &executor_.losses_[static_cast<std::size_t>(i / kRowBlock)];
    args.correct = &executor_.correct_[static_cast<std::size_t>(i / kRowBlock)];
    return args;
  }

  // Each thread adds the same numbers in the same order, so all decide alike without another barrier. An infinite
  // variance counts as well: what is divided by it is finite, but wrong.
  bool check_loss(const StepContext<T>& context, const Batch& batch, int thread) {
    if (spoiled_) return false;
    const Index bad_row = bad_row_.load(std::memory_order_relaxed);
    const Index bad_label = bad_label_.load(std::memory_order_relaxed);
    if (bad_row != kNone || bad_label != kNone) {
      if (thread == 0) result.non_finite_row = bad_row;
      if (thread == 0) result.bad_label = BadLabel::unpacked(bad_label);
      return false;
    }
    double loss = 0.0;
    for (Index b = 0; b < block_count(batch.rows, kRowBlock); ++b)
      loss += executor_.losses_[static_cast<std::size_t>(b)];
    const bool finite = std::isfinite(loss) && has_finite_statistics(context);
    if (thread == 0) {
      weight_ = batch.weight;
      loss_ = (batch.is_first() ? 0.0 : loss_) + loss * batch.weight_unit;
      if (!finite) stop_at_loss(std::isfinite(loss) ? std::numeric_limits<double>::quiet_NaN() : loss_);
    }
    return finite;
  }

  // Of an update that is not made; a finite loss from statistics that are not is worth nothing.
  void stop_at_loss(double loss) {
    result.non_finite_loss = true;
    result.loss_sum += loss;
    result.weight_sum += weight_;
  }

  // The same for the norm of the whole gradient, which the update scales down to clip_norm; also refused is a step so
  // long that the parameters would overflow.
  bool check_gradient(const Batch& batch, UpdateArgs<T>& rates, int thread) {
    constexpr double kMostChange = 1e-8 * static_cast<double>(std::numeric_limits<T>::max());
    const double norm = std::sqrt(sum(executor_.grad_sums_));
    const bool clipped = run_.clip_norm > 0.0 && norm > run_.clip_norm;
    if (clipped) rates.grad_scale = static_cast<T>(run_.clip_norm / norm);
    const double longest = std::max(clipped ? run_.clip_norm : norm, 1.0) * run_.learning_rates[batch.updates];
    const bool finite = std::isfinite(norm) && longest < kMostChange;
    if (thread == 0 && !finite) result.non_finite_loss = true;
    if (thread == 0 && !finite && std::isfinite(norm)) result.too_long = longest;
    return finite;
  }

  // Of the batch; the running ones, a mean of these and of what they were, then stay finite as well.
  bool has_finite_statistics(const StepContext<T>& context) const {
    for (const Step& step : plan_.steps) {
      if (step.kind != StepKind::batch_norm || step.statistics == kNone) continue;
      for (const Index row : {0, 1}) {
        if (!all_finite(context.at(step.statistics, row), step.out_features)) return false;
      }
    }
    return true;
  }

  static double sum(const std::vector<double>& parts) {
    double total = 0.0;
    for (const double part : parts) total += part;
    return total;
  }

  // Thread 0, before the step's last barrier: the others read stop_ behind it.
  void finish_batch(const Batch& batch, const Member& member) {
    if (run_.read_ahead != nullptr) run_.read_ahead->advance(batch.start + batch.rows);
    result.samples += batch.rows;
    for (Index b = 0; b < block_count(batch.rows, kRowBlock); ++b) {
      result.correct += executor_.correct_[static_cast<std::size_t>(b)];
    }
    if (halt_.may_come() && !batch.is_last()) result.interrupted = !halt_.goes_on(member);
    stop_ = result.interrupted;
    if (!batch.is_last()) return;
    result.steps += 1;
    if (run_.poller == nullptr || run_.stops_within || !run_.poller->is_due()) return;
    const FlushToZero::Paused paused(member.mode);  // what is called computes as its caller did
    if (!run_.poller->keep_going(result.samples)) stop_ = result.interrupted = true;
  }

  // Thread 0, behind the step's last barrier, when all sums of squares are there; they are overwritten only behind the
  // next step's first barrier, which needs this thread.
  void add_sums() {
    const double penalty = run_.fixed_penalty + sum(executor_.penalties_);
    const double squares = sum(executor_.grad_sums_);
    result.loss_sum += loss_ + penalty * weight_;
    result.weight_sum += weight_;
    result.grad_norm_sum += std::sqrt(squares);
    spoiled_ = result.non_finite_gradient = !std::isfinite(squares) || !std::isfinite(penalty);
  }

  TrainingExecutor<T>& executor_;
  const Plan& plan_;
  const OpTable<T>& ops_;
  const TrainingRun<T>& run_;
  const ParameterBlocks<T> blocks_;
  Halt halt_;
  TeamBarrier barrier_;
  std::atomic<Index> bad_row_{kNone}, bad_label_{kNone};
  double loss_ = 0.0;     // of the update so far, weighted sum over the samples; thread 0's
  double weight_ = 0.0;   // of all samples of the update
  bool stop_ = false;     // written by thread 0 before a barrier, read by all behind it
  bool spoiled_ = false;  // the same: the last update had a non-finite gradient
};

template <class T>
TrainingExecutor<T>::TrainingExecutor(Plan plan, const OpTable<T>& ops)
    : plan_(std::move(plan)),
      ops_(&ops),
      gemm_scratch_(scratch_elements(ops, plan_, plan_.batch)),
      thread_scratch_(gemm_scratch_ + round_up(plan_.block_elements, kAlignment)),
      classes_(static_cast<std::size_t>(plan_.batch)),
      weights_(classes_.size()),
      losses_(static_cast<std::size_t>(block_count(plan_.batch, kRowBlock))),
      correct_(losses_.size()),
      penalties_(static_cast<std::size_t>(plan_.sum_slots)),
      grad_sums_(penalties_.size()) {
  bound_.resize(plan_.buffers.size());
}

// Each thread zeroes what it will use, so that with several memories (NUMA) it lies in its own.
template <class T>
void TrainingExecutor<T>::reserve_threads(int threads, Poller* poller) {
  constexpr Index kPieceBytes = 1 << 22;
  const bool first = arena_.size() == 0, more = scratch_.size() < thread_scratch_ * threads;
  if (!first && !more) return;
  if (more) scratch_.reset_untouched(thread_scratch_ * threads);
  if (first) arena_.reset_untouched(plan_.arena_bytes);  // last: it says that all is there
  Halt halt(poller);
  run_team(threads, [&](int thread, int team, const FlushToZero& mode) {
    const Member member{thread, team, mode};
    for (int t = thread; more && t < threads; t += team) {
      std::fill_n(scratch_.data() + t * thread_scratch_, thread_scratch_, T(0));
    }
    for (const Buffer& b : plan_.buffers) {
      const Range rows = share(first ? b.rows > 0 ? b.rows : plan_.batch : 0, thread, team);
      const Index row_bytes = b.stride * b.element_size, piece = block_count(kPieceBytes, row_bytes);
      for (Index r = rows.begin; r < rows.end && (poller == nullptr || halt.goes_on(member)); r += piece) {
        std::fill_n(arena_.data() + b.offset + r * row_bytes, std::min(piece, rows.end - r) * row_bytes, std::byte{0});
      }
    }
  });
  if (halt.has_come()) {
    arena_ = {};
    throw_interrupted("Trainer");
  }
  if (first) bind_buffers(plan_, arena_.data(), bound_.data());
}

template <class T>
TrainingResult TrainingExecutor<T>::run(const TrainingRun<T>& run, const TrainingResult& so_far) {
  TeamRun<T> team(*this, run, so_far);
  run_team(run.threads, [&](int thread, int size, const FlushToZero& mode) { team.work(thread, size, mode); });
  return team.result;
}

template class TrainingExecutor<float>;
template class TrainingExecutor<double>;

}  // namespace stoop
