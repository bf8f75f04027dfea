// What the walks of inference share: a plan with its memory, the rows that enter it, and the question whether to go on.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "../data/input_rows.hpp"
#include "../data/read_ahead.hpp"
#include "../team/team.hpp"
#include "executor.hpp"
#include "steps.hpp"
#include "workspace.hpp"

namespace stoop::inline v0_1 {

// The number of rows that a thread takes through the network at a time: enough to reuse the weights, and few enough to stay
// in cache.
inline constexpr Index kChunkRows = 128;

// A run with what the executor adds to it.
template <class T>
struct Job : InferenceRun<T> {
  const Plan* plan = nullptr;
  const OpTable<T>* ops = nullptr;
  Index scratch = 0;  // elements for each thread
  int threads = 1;
};

// Returns whether the plan can read the rows of x where they lie.
template <class T>
bool is_read_in_place(const SampleRows<T>& data) {
  return data.order == nullptr && data.x.type == kInputType<T> && is_identity(data.map);
}

template <class T>
Index converted_stride(const SampleRows<T>& data) {
  return is_read_in_place(data)
             ? 0
             : round_up(mapped_width(data.map, data.x.cols), kAlignment / static_cast<Index>(sizeof(T)));
}

// Returns the rows of x: the rows themselves, or converted, and gathered in an order, into `memory`.
template <class T>
BoundBuffer<T> bind_input(const Job<T>& run, Range rows, std::byte* memory) {
  const InputView& x = run.data.x;
  if (is_read_in_place(run.data)) return {const_cast<T*>(static_cast<const T*>(x.row(rows.begin))), x.stride};
  const Index stride = converted_stride(run.data);
  T* const converted = reinterpret_cast<T*>(memory);
  const std::int32_t* const order = run.data.order == nullptr ? nullptr : run.data.order + rows.begin;
  run.ops->gather[static_cast<int>(x.type)]({rows.end - rows.begin, x.cols,
                                             order == nullptr ? x.row(rows.begin) : x.data, x.stride, order, converted,
                                             stride, run.data.map});
  return {converted, stride};
}

// Asks for the pages of the next rows of this thread, unless they are scattered, and notes the first row that is not finite.
template <class T>
void prepare_mapped_rows(const SampleRows<T>& data, Range rows, Range mine, std::atomic<Index>& bad_row) {
  const InputView& x = data.x;
  const Index last = std::min(mine.end, x.rows), ahead = rows_ahead(x, false);
  const Index asked = rows.begin == mine.begin ? rows.begin : std::min(rows.begin + ahead, last);
  if (data.order == nullptr) ask_in_sequence(x, asked, std::min(rows.end + ahead, last), last);
  for (Index i = rows.begin; i < rows.end; ++i) {
    const Index row = data.sample(i);
    if (!is_finite_row<T>(x, row, missing_values(data.map))) keep_first(bad_row, row);
  }
}

// One walk through a plan, in memory that the caller owns: arena, scratch for each of `threads`, and places of buffers.
template <class T>
struct Walk {
  std::span<BoundBuffer<T>> bound;
  StepContext<T> context;
  T* scratch;

  Walk(const Job<T>& run, Index threads, std::byte* memory) {
    const Plan& plan = *run.plan;
    const Ends ends(run, threads);
    scratch = reinterpret_cast<T*>(memory + plan.arena_bytes);
    bound = {reinterpret_cast<BoundBuffer<T>*>(memory + ends.scratch), plan.buffers.size()};
    bind_buffers(plan, memory, bound.data());
    context.ops = run.ops;
    context.steps = plan.steps.data();
    context.columns = &plan.columns;
    context.buffers = bound.data();
    context.parameters = run.parameters;
    context.running = const_cast<T*>(run.running);  // only read by an inference plan
    context.scratch = scratch;
  }

  // Returns how much memory it needs.
  static Index bytes(const Job<T>& run, Index threads) { return round_up(Ends(run, threads).bound, kAlignment); }

  // Lets the plan read `input` and, if it predicts, write the outputs of these rows.
  void bind(const Job<T>& run, Range rows, const BoundBuffer<T>& input) const {
    const Plan& plan = *run.plan;
    bound[static_cast<std::size_t>(plan.input_buffer)] = input;
    if (plan.kind != PlanKind::inference) return;
    bound[static_cast<std::size_t>(plan.output_buffer)] = {run.out.data + rows.begin * run.out.stride, run.out.stride};
  }

  // Runs a step for that many rows.
  void run_step(const Step& step, Index rows) const { run_slice(context, step, {0, rows, 0, step.columns}); }

 private:
  struct Ends {  // in bytes
    Index scratch, bound;
    Ends(const Job<T>& run, Index threads)
        : scratch(run.plan->arena_bytes + threads * run.scratch * Index{sizeof(T)}),
          bound(scratch + static_cast<Index>(run.plan->buffers.size() * sizeof(BoundBuffer<T>))) {}
  };
};

// Decides before each chunk whether to go on. The calling thread, worker 0, asks the poller, and its answer holds for all.
class Continuing {
 public:
  // `flops` are those of a chunk. Reading the clock takes as long as some thousand operations of a product. Rows of a mapped
  // file may come slowly.
  Continuing(Poller* poller, bool mapped, double flops)
      : poller_(poller), every_(mapped ? 1 : std::max<Index>(static_cast<Index>(1e6 / (1.0 + flops)), 1)) {}

  bool operator()(int worker) {
    if (poller_ == nullptr) return true;
    if (worker == 0 && ++asked_ > 1 && asked_ % every_ == 0 && poller_->is_due()) {
      const FlushToZero::Paused paused(mode_);  // the callback computes in the mode of the calling thread
      if (!poller_->keep_going(0)) stopped_.store(true, std::memory_order_relaxed);
    }
    return !has_stopped();
  }
  bool has_stopped() const { return stopped_.load(std::memory_order_relaxed); }

 private:
  Poller* const poller_;
  const Index every_;
  const FlushToZero mode_;  // of the calling thread
  Index asked_ = 0;         // by worker 0
  std::atomic<bool> stopped_{false};
};

// Returns whether this thread's last call with few rows has just ended. Then more calls will follow, and waking a team pays
// off.
class RepeatedCall {
 public:
  RepeatedCall() : soon_(Clock::now() - last_end_ < std::chrono::microseconds(40)) {}
  ~RepeatedCall() { last_end_ = Clock::now(); }
  RepeatedCall(const RepeatedCall&) = delete;
  RepeatedCall& operator=(const RepeatedCall&) = delete;
  explicit operator bool() const { return soon_; }

 private:
  using Clock = std::chrono::steady_clock;
  static inline thread_local Clock::time_point last_end_{};
  const bool soon_;
};

}  // namespace stoop
