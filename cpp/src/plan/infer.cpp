// Inference: rows through a plan in which no row needs another. Many rows are cut into chunks, each of which
// a thread takes through the network alone, in an arena of its own. Few rows are cut by columns instead: all threads
// work on every step, each with its part of the weights, which is what a step of few rows has to read.

#include "execute.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>

#include "input_rows.hpp"
#include "steps.hpp"
#include "team.hpp"

namespace stoop {
namespace {

// Grows to what the largest model needs and stays with its thread, so that a call for one row allocates nothing.
std::byte* workspace(Index bytes) {
  thread_local AlignedBuffer<std::byte> memory;
  memory.reserve(bytes);
  return memory.data();
}

// Whether rows of x are what the plan reads, where they lie.
template <class T>
bool is_read_in_place(const Dataset<T>& data) {
  return data.x.type == kInputType<T> && data.scale == T(1) && data.shift == T(0);
}

template <class T>
Index converted_stride(const Dataset<T>& data) {
  return is_read_in_place(data) ? 0 : round_up(data.x.cols, kAlignment / static_cast<Index>(sizeof(T)));
}

// Rows [start, start + rows) of x: themselves, or converted into `memory`.
template <class T>
BoundBuffer<T> bind_input(const InferenceRun<T>& run, Index start, Index rows, T* memory) {
  const InputView& x = run.data.x;
  if (is_read_in_place(run.data)) return {const_cast<T*>(static_cast<const T*>(x.row(start))), x.stride};
  const Index stride = converted_stride(run.data);
  run.ops->gather[static_cast<int>(x.type)](
      {rows, x.cols, x.row(start), x.stride, nullptr, memory, stride, run.data.scale, run.data.shift});
  return {memory, stride};
}

// Asks for the pages of rows that follow these among those of this thread, and notes the first row that is not finite.
template <class T>
void prepare_mapped_rows(const InputView& x, Range rows, Range mine, std::atomic<Index>& bad_row) {
  const Index last = std::min(mine.end, x.rows), ahead = rows_ahead(x, false);
  const Index asked = rows.begin == mine.begin ? rows.begin : std::min(rows.begin + ahead, last);
  ask_in_sequence(x, asked, std::min(rows.end + ahead, last), last);
  for (Index i = rows.begin; i < rows.end; ++i) {
    if (!is_finite_row<T>(x, i)) keep_first(bad_row, i);
  }
}

// `labels` are those of the rows.
template <class T>
LossArgs<T> loss_args(const InferenceRun<T>& run, const StepContext<T>& context, const Step& step, Range rows,
                      const std::int32_t* labels, InferenceResult& result) {
  const Index start = rows.begin;
  LossArgs<T> args{};
  args.rows = rows.end - start;
  args.cols = step.out_features;
  args.output = context.at(step.input, 0);
  args.ld_output = context.stride(step.input);
  args.classes = run.data.classes == nullptr ? nullptr : labels;
  args.targets = run.data.values.data == nullptr ? nullptr : run.data.values.data + start * run.data.values.stride;
  args.ld_targets = run.data.values.stride;
  args.weights = run.data.weights == nullptr ? nullptr : run.data.weights + start;
  args.parameter = run.loss_parameter;
  args.loss = &result.loss_sum;
  args.correct = &result.correct;
  return args;
}

// The memory of one walk through the plan: arena, converted rows, scratch for each of `threads`, places of buffers, and
// labels of a chunk.
template <class T>
struct Walk {
  std::span<BoundBuffer<T>> bound;
  T* converted;
  StepContext<T> context;
  std::int32_t* labels;
  T* scratch;
  Index scratch_size;

  Walk(const InferenceRun<T>& run, Index threads) {
    const Plan& plan = *run.plan;
    constexpr Index kSize = sizeof(T);
    scratch_size = scratch_elements(*run.ops, plan, plan.batch);
    const Index input_end = plan.arena_bytes + plan.batch * converted_stride(run.data) * kSize;
    const Index scratch_end = input_end + threads * scratch_size * kSize;
    const Index bound_end = scratch_end + static_cast<Index>(plan.buffers.size() * sizeof(BoundBuffer<T>));
    const Index label_bytes = run.data.classes == nullptr ? 0 : plan.batch * static_cast<Index>(sizeof *labels);
    std::byte* memory = workspace(bound_end + label_bytes);
    converted = reinterpret_cast<T*>(memory + plan.arena_bytes);
    scratch = reinterpret_cast<T*>(memory + input_end);
    bound = {reinterpret_cast<BoundBuffer<T>*>(memory + scratch_end), plan.buffers.size()};
    labels = reinterpret_cast<std::int32_t*>(memory + bound_end);
    bind_buffers(plan, memory, bound.data());
    context.ops = run.ops;
    context.buffers = bound.data();
    context.parameters = run.parameters;
    context.running = const_cast<T*>(run.running);  // only read by an inference plan
    context.scratch = scratch;
  }

  void bind(const InferenceRun<T>& run, Range rows) const {
    const Plan& plan = *run.plan;
    bound[static_cast<std::size_t>(plan.input_buffer)] =
        bind_input<T>(run, rows.begin, rows.end - rows.begin, converted);
    if (plan.kind != PlanKind::inference) return;
    bound[static_cast<std::size_t>(plan.output_buffer)] = {run.out.data + rows.begin * run.out.stride, run.out.stride};
  }
};

// Rows through the plan by one thread.
template <class T>
void infer_chunk(const InferenceRun<T>& run, const Walk<T>& walk, Range rows, std::atomic<Index>& bad_label,
                 InferenceResult& result) {
  walk.bind(run, rows);
  for (const Step& step : run.plan->steps) {
    if (step.kind != StepKind::loss) {
      run_slice(walk.context, step, {0, rows.end - rows.begin, 0, output_columns(step)});
    } else {
      for (Index i = rows.begin; run.data.classes != nullptr && i < rows.end; ++i) {
        walk.labels[i - rows.begin] = read_label(run.data.classes, i, step.out_features, bad_label);
      }
      run.ops->loss[static_cast<int>(run.plan->loss)](loss_args(run, walk.context, step, rows, walk.labels, result));
    }
  }
}

// Whether a team for few rows is at hand. Threads that have gone to sleep take longer to wake than one row takes, and
// where several threads predict at a time they have the cores already; the bits are the same in either case.
class TeamAtHand {
 public:
  TeamAtHand() : alone_(callers_.fetch_add(1) == 0), awake_(Clock::now() - last_call_ < kAwake) {}
  ~TeamAtHand() {
    last_call_ = Clock::now();
    callers_.fetch_sub(1);
  }
  TeamAtHand(const TeamAtHand&) = delete;
  TeamAtHand& operator=(const TeamAtHand&) = delete;
  explicit operator bool() const { return alone_ && awake_; }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr auto kAwake = std::chrono::milliseconds(2);
  static inline std::atomic<int> callers_{0};
  static inline thread_local Clock::time_point last_call_{};

  const bool alone_, awake_;
};

// Calls body(first column, end) for what one thread takes of a step's columns: an even part, or, where the rows of a
// weight are 1 or 2 KB long, every `team`-th of some strips, beginning at another one in every step. A part of such rows
// falls on a part of the sets of a cache; with strips it is another part for the next weight.
template <class T, class Body>
void for_each_strip(Index columns, int thread, int team, std::size_t turn, Body body) {
  constexpr Index kMostColumns = 128;
  const Index bytes = columns * static_cast<Index>(sizeof(T));
  const bool conflicts = bytes == 1024 || bytes == 2048;
  const Index strips = conflicts ? block_count(columns, kMostColumns * team) * team : team;
  const Index first =
      conflicts ? static_cast<Index>((static_cast<std::size_t>(thread) + turn) % static_cast<std::size_t>(team))
                : thread;
  for (Index strip = first; strip < strips; strip += team) {
    const Range blocks = share(block_count(columns, kColumnBlock), static_cast<int>(strip), static_cast<int>(strips));
    if (blocks.begin < blocks.end) body(blocks.begin * kColumnBlock, std::min(blocks.end * kColumnBlock, columns));
  }
}

// All rows through the plan by a team, a barrier between steps.
template <class T>
void infer_together(const InferenceRun<T>& run) {
  const Walk<T> walk(run, run.threads);
  walk.bind(run, {0, run.data.x.rows});
  const std::vector<Step>& steps = run.plan->steps;
  TeamBarrier barrier(may_spin(run.threads));
  run_team(run.threads, [&](int thread, int team, const FlushToZero&) {
    StepContext<T> context = walk.context;
    context.scratch = walk.scratch + thread * walk.scratch_size;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const auto run_columns = [&](Index begin, Index end) {
        run_slice(context, steps[i], {0, run.data.x.rows, begin, end});
      };
      const Index columns = output_columns(steps[i]);
      if (steps[i].kind != StepKind::layer_norm) {
        for_each_strip<T>(columns, thread, team, i, run_columns);
      } else if (thread == 0) {  // it needs all columns of a row
        run_columns(0, columns);
      }
      if (i + 1 < steps.size()) barrier.wait(team);  // the team itself waits for all at its end
    }
  });
}

// Whether to go on, asked between chunks. The calling thread, number 0, asks the poller; what it was told is for all.
template <class T>
class Continuing {
 public:
  explicit Continuing(const InferenceRun<T>& run) : poller_(run.poller), every_(chunks_between(run)) {}

  // Before the chunk with this number of those of the thread; the first is not asked for.
  bool operator()(Index chunk, int thread, const FlushToZero& mode) {
    if (poller_ == nullptr || chunk % every_ != 0 || chunk == 0) return true;
    if (thread == 0 && poller_->is_due()) {
      const FlushToZero::Paused paused(mode);  // what is called computes as its caller did
      if (!poller_->keep_going(0)) stopped_.store(true, std::memory_order_relaxed);
    }
    return !has_stopped();
  }
  bool has_stopped() const { return stopped_.load(std::memory_order_relaxed); }

 private:
  // Reading the clock takes as long as some thousand operations of a product. Rows of a file may be slow to come.
  static Index chunks_between(const InferenceRun<T>& run) {
    constexpr double kFlops = 1e6;
    return run.data.x.mapped ? 1 : std::max<Index>(static_cast<Index>(kFlops / (1.0 + run.plan->flops)), 1);
  }

  Poller* const poller_;
  const Index every_;
  std::atomic<bool> stopped_{false};
};

// Each thread takes chunks of rows.
template <class T>
InferenceResult infer_in_chunks(const InferenceRun<T>& run) {
  const Plan& plan = *run.plan;
  const Index samples = run.data.x.rows;
  const bool evaluates = plan.kind == PlanKind::evaluation;  // whose sums are cut by chunks of one size
  const Index even = round_up(block_count(samples, run.threads), kRowBlock);
  const Index size = evaluates ? plan.batch : std::min(plan.batch, even), chunks = block_count(samples, size);
  std::atomic<Index> bad_row{kNone}, bad_label{kNone};
  std::vector<InferenceResult> parts(evaluates ? static_cast<std::size_t>(chunks) : 0);
  std::exception_ptr failure;  // nothing may be thrown out of a team; memory is all that can fail
  std::mutex failing;
  Continuing<T> goes_on(run);
  run_team(static_cast<int>(std::min<Index>(run.threads, chunks)), [&](int thread, int team, const FlushToZero& mode) {
    try {
      const Walk<T> walk(run, 1);
      const Range mine = share(chunks, thread, team);
      for (Index c = mine.begin; c < mine.end && goes_on(c - mine.begin, thread, mode); ++c) {
        InferenceResult unused;
        const Range rows{c * size, std::min((c + 1) * size, samples)};
        if (run.data.x.mapped) {
          prepare_mapped_rows<T>(run.data.x, rows, {mine.begin * size, mine.end * size}, bad_row);
        }
        infer_chunk<T>(run, walk, rows, bad_label, evaluates ? parts[static_cast<std::size_t>(c)] : unused);
      }
    } catch (...) {
      const std::lock_guard lock(failing);
      failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
  InferenceResult total;
  for (const InferenceResult& part : parts) {
    total.loss_sum += part.loss_sum;
    total.correct += part.correct;
  }
  total.non_finite_row = bad_row.load();
  total.bad_label = BadLabel::unpacked(bad_label.load());
  total.interrupted = goes_on.has_stopped();
  return total;
}

}  // namespace

template <class T>
InferenceResult run_inference(const InferenceRun<T>& run) {
  const bool few = run.data.x.rows <= kRowBlock && run.plan->kind == PlanKind::inference;
  if (!few || run.threads == 1 || run.data.x.mapped) return infer_in_chunks(run);
  const TeamAtHand team;
  if (!team) return infer_in_chunks(run);
  infer_together(run);
  return {};
}

template InferenceResult run_inference(const InferenceRun<float>& run);
template InferenceResult run_inference(const InferenceRun<double>& run);

}  // namespace stoop
