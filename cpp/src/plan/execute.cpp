// The only file with threads. A team walks the plan for a whole run of steps: each thread takes its share of every
// step's blocks, and all meet where a step says so. How a step is cut is the plan's; the team only deals the blocks out.

#include "execute.hpp"

#include <omp.h>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <mutex>

#include <stoop/runtime.hpp>

#include "rates.hpp"
#include "steps.hpp"
#include "team.hpp"

namespace stoop {
namespace {

// ---- teams ----

std::atomic<bool> g_forked{false};

// A forked child has none of its parent's threads, and the OpenMP runtime would wait for them: it works alone.
void watch_for_forks() {
#if defined(__unix__) || defined(__APPLE__)
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { g_forked.store(true); }); });
#endif
}

// Calls body(thread, team size, mode of the thread) on a team of at most `threads`.
template <class Body>
void run_team(int threads, const Body& body) {
  watch_for_forks();
  if (threads <= 1 || g_forked.load()) {
    const FlushToZero mode;
    body(0, 1, mode);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const FlushToZero mode;
    body(omp_get_thread_num(), omp_get_num_threads(), mode);
  }
}

struct Range {
  Index begin, end;
};

Range share(Index blocks, int thread, int team) { return {blocks * thread / team, blocks * (thread + 1) / team}; }

template <class T>
void bind_buffers(const Plan& plan, std::byte* arena, BoundBuffer<T>* bound) {
  for (const Buffer& b : plan.buffers) {
    *bound++ = {b.external ? nullptr : reinterpret_cast<T*>(arena + b.offset), b.stride};
  }
}

}  // namespace

int useful_threads(double flops, int limit) {
  constexpr double kFlopsPerThread = 4e5;  // what a thread does in the time of a few barriers
  return static_cast<int>(std::clamp(flops / kFlopsPerThread, 1.0, static_cast<double>(limit)));
}

// ---- training ----

// One call of TrainingExecutor::run: what its threads share.
template <class T>
class TeamRun {
 public:
  TeamRun(TrainingExecutor<T>& executor, const TrainingRun<T>& run)
      : executor_(executor), plan_(executor.plan_), ops_(*executor.ops_), run_(run), barrier_(run.threads <= cores()) {}

  void work(int thread, int team, const FlushToZero& mode) {
    StepContext<T> context;
    context.ops = &ops_;
    context.buffers = executor_.bound_.data();
    context.parameters = run_.parameters;
    context.scratch = executor_.scratch_.data() + thread * executor_.thread_scratch_;
    T* block = context.scratch + executor_.gemm_scratch_;
    Index update = run_.updates_done;
    for (Index start = run_.first; start < run_.last; start += run_.batch) {
      const Index rows = std::min(run_.batch, run_.last - start);
      if (!walk(context, block, start, rows, ++update, thread, team)) return;
      if (thread == 0) finish_step(rows, mode);
      barrier_.wait(team);
      if (thread == 0) add_sums(rows);
      if (stop_) return;
    }
  }

  TrainingResult result;

 private:
  static int cores() {
    static const int count = usable_cores();  // found out by reading files
    return count;
  }

  // One training step. False: a check has ended the run, for all threads alike.
  bool walk(const StepContext<T>& context, T* block, Index start, Index rows, Index update, int thread, int team) {
    UpdateArgs<T> args{};
    set_rates(args, run_.optimizer, update);
    for (const Step& step : plan_.steps) {
      if (step.barrier) barrier_.wait(team);
      if (step.cut == Cut::batch_rows) {
        const Range blocks = share(block_count(rows, kRowBlock), thread, team);
        const Index end = std::min(blocks.end * kRowBlock, rows);
        if (blocks.begin < blocks.end) run_rows(context, step, start, rows, blocks.begin * kRowBlock, end);
      } else if (step.cut == Cut::parameter) {
        const Range blocks = share(block_count(step.extent, step.block), thread, team);
        for (Index b = blocks.begin; b < blocks.end; ++b) run_block(context, step, rows, b, block, args);
      } else if (!(step.kind == StepKind::check_loss ? check_loss(rows, thread) : check_gradient(thread))) {
        return false;
      }
    }
    return true;
  }

  void run_rows(const StepContext<T>& context, const Step& step, Index start, Index rows, Index begin, Index end) {
    switch (step.kind) {
      case StepKind::gather:
        return gather(context, step.output, run_.data.x, start, begin, end);
      case StepKind::gather_targets:
        return gather(context, step.output, run_.data.values, start, begin, end);
      case StepKind::dense:
        return run_dense(context, step, begin, end);
      case StepKind::input_gradient:
        return run_input_gradient(context, step, begin, end);
      case StepKind::loss:
        return loss(context, step, start, rows, begin, end);
      default:
        return run_activation(context, step, begin, end);
    }
  }

  void gather(const StepContext<T>& context, int output, const MatrixView<const T>& from, Index start, Index begin,
              Index end) {
    const std::int32_t* order = run_.data.order;
    const Index first = start + begin;
    ops_.gather({end - begin, from.cols, order == nullptr ? from.data + first * from.stride : from.data, from.stride,
                 order == nullptr ? nullptr : order + first, context.row(output, begin), context.stride(output)});
  }

  // Per row block, so that the partial sums are the same for any team.
  void loss(const StepContext<T>& context, const Step& step, Index start, Index rows, Index begin, Index end) {
    const bool classes = takes_classes(plan_.loss);
    if (classes) {
      for (Index i = begin; i < end; ++i) {
        const Index sample = run_.data.order == nullptr ? start + i : run_.data.order[start + i];
        executor_.classes_[static_cast<std::size_t>(i)] = run_.data.classes[sample];
      }
    }
    for (Index i = begin; i < end; i += kRowBlock) {
      LossArgs<T> args{};
      args.rows = std::min(kRowBlock, end - i);
      args.cols = step.out_features;
      args.output = context.row(step.input, i);
      args.ld_output = context.stride(step.input);
      args.classes = executor_.classes_.data() + i;
      if (!classes) {
        args.targets = context.row(plan_.target_buffer, i);
        args.ld_targets = context.stride(plan_.target_buffer);
      }
      args.grad = context.row(step.output, i);
      args.ld_grad = context.stride(step.output);
      args.grad_scale = T(1) / static_cast<T>(rows);
      args.loss = &executor_.losses_[static_cast<std::size_t>(i / kRowBlock)];
      args.correct = &executor_.correct_[static_cast<std::size_t>(i / kRowBlock)];
      ops_.loss[static_cast<int>(plan_.loss)](args);
    }
  }

  // Block b of a parameter: its gradient, and what follows while that is in cache.
  void run_block(const StepContext<T>& context, const Step& step, Index rows, Index b, T* block, UpdateArgs<T>& args) {
    const Index begin = b * step.block, end = std::min(begin + step.block, step.extent);
    const bool is_bias = step.kind == StepKind::bias_gradient;
    const Index offset = (is_bias ? step.bias : step.weight) + begin * step.row_elements;
    const bool in_block = plan_.kind == PlanKind::training;
    T* grad = in_block ? block : run_.gradient + offset;
    if (step.kind != StepKind::update_weight) run_parameter_gradient(context, step, rows, begin, end, grad);
    const Index n = (end - begin) * step.row_elements;
    const std::size_t slot = static_cast<std::size_t>(step.first_sum + b);
    const T l2 = step.regularized ? static_cast<T>(run_.l2) : T(0);
    double* weight_sum = &executor_.weight_sums_[slot];
    double* grad_sum = &executor_.grad_sums_[slot];
    if (step.after == After::regularize) {
      ops_.regularize({n, run_.parameters + offset, grad, l2, weight_sum, grad_sum});
      if (!step.regularized) *weight_sum = 0.0;
      return;
    }
    double unused = 0.0;
    args.n = n;
    args.weight = run_.parameters + offset;
    args.grad = grad;
    args.state0 = run_.state[0] == nullptr ? nullptr : run_.state[0] + offset;
    args.state1 = run_.state[1] == nullptr ? nullptr : run_.state[1] + offset;
    args.l2 = in_block ? l2 : T(0);  // regularize has added it otherwise
    args.weight_sum_of_squares = in_block ? weight_sum : &unused;
    args.grad_sum_of_squares = in_block ? grad_sum : &unused;
    ops_.update[optimizer_index_](args);
    if (in_block && !step.regularized) *weight_sum = 0.0;
  }

  // Each thread adds the same numbers in the same order, so all decide alike without another barrier.
  bool check_loss(Index rows, int thread) {
    if (spoiled_) return false;
    double loss = 0.0;
    for (Index b = 0; b < block_count(rows, kRowBlock); ++b) loss += executor_.losses_[static_cast<std::size_t>(b)];
    const bool finite = std::isfinite(loss);
    if (thread == 0) {
      result.non_finite_loss = !finite;
      loss_ = loss / static_cast<double>(rows);
    }
    return finite;
  }

  // Of checked training, before anything is updated: also a step so long that the parameters would overflow.
  bool check_gradient(int thread) {
    constexpr double kMostChange = 1e-8 * static_cast<double>(std::numeric_limits<T>::max());
    const double norm = std::sqrt(sum(executor_.grad_sums_));
    const bool finite = std::max(norm, 1.0) * learning_rate_of(run_.optimizer) < kMostChange;
    if (thread == 0 && !finite) result.non_finite_loss = true;
    return finite;
  }

  static double sum(const std::vector<double>& parts) {
    double total = 0.0;
    for (const double part : parts) total += part;
    return total;
  }

  // Thread 0, before the step's last barrier: the others read stop_ behind it.
  void finish_step(Index rows, const FlushToZero& mode) {
    result.samples += rows;
    result.steps += 1;
    for (Index b = 0; b < block_count(rows, kRowBlock); ++b) {
      result.correct += executor_.correct_[static_cast<std::size_t>(b)];
    }
    if (run_.poller == nullptr || !run_.poller->is_due()) return;
    const FlushToZero::Paused paused(mode);  // what is called computes as its caller did
    if (!run_.poller->keep_going(result.samples)) stop_ = result.interrupted = true;
  }

  // Thread 0, behind the step's last barrier, when all sums of squares are there; they are overwritten only behind the
  // next step's first barrier, which needs this thread.
  void add_sums(Index rows) {
    const double penalty = 0.5 * run_.l2 * sum(executor_.weight_sums_);
    const double squares = sum(executor_.grad_sums_);
    result.loss_sum += (loss_ + penalty) * static_cast<double>(rows);
    result.grad_norm_sum += std::sqrt(squares);
    spoiled_ = result.non_finite_gradient = !std::isfinite(squares) || !std::isfinite(penalty);
  }

  TrainingExecutor<T>& executor_;
  const Plan& plan_;
  const OpTable<T>& ops_;
  const TrainingRun<T>& run_;
  const std::size_t optimizer_index_ = static_cast<std::size_t>(kind_of(run_.optimizer));
  TeamBarrier barrier_;
  double loss_ = 0.0;
  bool stop_ = false;     // written by thread 0 before a barrier, read by all behind it
  bool spoiled_ = false;  // the same: the last update had a non-finite gradient
};

template <class T>
TrainingExecutor<T>::TrainingExecutor(Plan plan, const OpTable<T>& ops)
    : plan_(std::move(plan)),
      ops_(&ops),
      arena_(plan_.arena_bytes),
      gemm_scratch_(scratch_elements(ops, plan_, plan_.batch)),
      thread_scratch_(gemm_scratch_ + round_up(plan_.block_elements, kAlignment)),
      classes_(static_cast<std::size_t>(plan_.batch)),
      losses_(static_cast<std::size_t>(block_count(plan_.batch, kRowBlock))),
      correct_(losses_.size()),
      weight_sums_(static_cast<std::size_t>(plan_.sum_slots)),
      grad_sums_(weight_sums_.size()) {
  bound_.resize(plan_.buffers.size());
  bind_buffers(plan_, arena_.data(), bound_.data());
}

template <class T>
void TrainingExecutor<T>::reserve_threads(int threads) {
  scratch_.reserve(thread_scratch_ * threads);
}

template <class T>
TrainingResult TrainingExecutor<T>::run(const TrainingRun<T>& run, const TrainingResult& so_far) {
  TeamRun<T> team(*this, run);
  team.result = so_far;
  run_team(run.threads, [&](int thread, int size, const FlushToZero& mode) { team.work(thread, size, mode); });
  return team.result;
}

// ---- inference ----

namespace {

// Grows to what the largest model needs and stays with its thread, so that a call for one row allocates nothing.
std::byte* workspace(Index bytes) {
  thread_local AlignedBuffer<std::byte> memory;
  memory.reserve(bytes);
  return memory.data();
}

// Runs rows [start, start + rows) through the plan in this thread's own arena.
template <class T>
void infer_chunk(const InferenceRun<T>& run, StepContext<T>& context, std::span<BoundBuffer<T>> bound, Index start,
                 Index rows, InferenceResult& result) {
  const Plan& plan = *run.plan;
  bound[static_cast<std::size_t>(plan.input_buffer)] = {const_cast<T*>(run.data.x.data) + start * run.data.x.stride,
                                                        run.data.x.stride};
  if (plan.kind == PlanKind::inference) {
    bound[static_cast<std::size_t>(plan.output_buffer)] = {run.out.data + start * run.out.stride, run.out.stride};
  }
  for (const Step& step : plan.steps) {
    if (step.kind == StepKind::dense) {
      run_dense(context, step, 0, rows);
    } else if (step.kind == StepKind::activation) {
      run_activation(context, step, 0, rows);
    } else {
      LossArgs<T> args{};
      args.rows = rows;
      args.cols = step.out_features;
      args.output = context.row(step.input, 0);
      args.ld_output = context.stride(step.input);
      args.classes = run.data.classes == nullptr ? nullptr : run.data.classes + start;
      args.targets = run.data.values.data == nullptr ? nullptr : run.data.values.data + start * run.data.values.stride;
      args.ld_targets = run.data.values.stride;
      args.loss = &result.loss_sum;
      args.correct = &result.correct;
      run.ops->loss[static_cast<int>(plan.loss)](args);
    }
  }
}

}  // namespace

template <class T>
InferenceResult run_inference(const InferenceRun<T>& run) {
  const Plan& plan = *run.plan;
  const Index samples = run.data.x.rows, chunks = block_count(samples, plan.batch);
  const bool evaluates = plan.kind == PlanKind::evaluation;
  std::vector<InferenceResult> parts(evaluates ? static_cast<std::size_t>(chunks) : 0);
  run_team(static_cast<int>(std::min<Index>(run.threads, chunks)), [&](int thread, int team, const FlushToZero&) {
    const Index scratch_bytes = scratch_elements(*run.ops, plan, plan.batch) * static_cast<Index>(sizeof(T));
    const Index bound_bytes = static_cast<Index>(plan.buffers.size() * sizeof(BoundBuffer<T>));
    std::byte* memory = workspace(plan.arena_bytes + scratch_bytes + bound_bytes);
    const std::span bound(reinterpret_cast<BoundBuffer<T>*>(memory + plan.arena_bytes + scratch_bytes),
                          plan.buffers.size());
    bind_buffers(plan, memory, bound.data());
    StepContext<T> context;
    context.ops = run.ops;
    context.buffers = bound.data();
    context.parameters = run.parameters;
    context.scratch = reinterpret_cast<T*>(memory + plan.arena_bytes);
    const Range mine = share(chunks, thread, team);
    for (Index c = mine.begin; c < mine.end; ++c) {
      InferenceResult unused;
      const Index start = c * plan.batch, rows = std::min(plan.batch, samples - start);
      infer_chunk<T>(run, context, bound, start, rows, evaluates ? parts[static_cast<std::size_t>(c)] : unused);
    }
  });
  InferenceResult total;
  for (const InferenceResult& part : parts) {
    total.loss_sum += part.loss_sum;
    total.correct += part.correct;
  }
  return total;
}

template class TrainingExecutor<float>;
template class TrainingExecutor<double>;
template InferenceResult run_inference(const InferenceRun<float>& run);
template InferenceResult run_inference(const InferenceRun<double>& run);

}  // namespace stoop
