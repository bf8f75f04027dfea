// Inference: takes rows through a plan in which no row needs another. Many rows are cut into chunks, and a thread takes a
// chunk through the network alone, in an arena of its own. Few rows are cut by columns instead: all threads work on every
// step, each with its part of the weights, because a step of few rows reads little else.

#include "infer.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <mutex>

#include "chunk_targets.hpp"
#include "row_limit.hpp"
#include "thread_count.hpp"

namespace stoop::inline v0_1 {
namespace {

// A walk in memory of its own, where converted rows and the targets of a chunk lie as well.
template <class T>
struct OwnWalk {
  Workspace memory;
  const ChunkTargets<T> targets;
  const Walk<T> walk;

  OwnWalk(const Job<T>& run, Index threads)
      : memory(converted_bytes(run) + target_bytes(run) + Walk<T>::bytes(run, threads)),
        targets(run.data, run.plan->batch, memory.data() + converted_bytes(run)),
        walk(run, threads, memory.data() + converted_bytes(run) + target_bytes(run)) {}
  static Index converted_bytes(const Job<T>& run) {
    return run.plan->batch * converted_stride(run.data) * Index{sizeof(T)};
  }
  static Index target_bytes(const Job<T>& run) { return ChunkTargets<T>::bytes(run.data, run.plan->batch); }
  void bind(const Job<T>& run, Range rows) { walk.bind(run, rows, bind_input(run, rows, memory.data())); }
};

// Returns the arguments for `count` of the rows, from row `first` of the chunk on.
template <class T>
LossArgs<T> loss_args(const Job<T>& run, const OwnWalk<T>& own, const Step& step, Range rows, Index first,
                      Index count) {
  LossArgs<T> args{};
  args.rows = count;
  args.cols = step.out_features;
  args.output = own.walk.context.at(step.x, first);
  args.ld_output = own.walk.context.stride(step.x);
  own.targets.set(args, rows.begin, first);
  args.numbers = run.loss_numbers;
  return args;
}

// Adds the loss of a chunk, as one sum or row by row where the run keeps those.
template <class T>
void add_loss(const Job<T>& run, const OwnWalk<T>& own, const Step& step, Range rows, InferenceResult& result) {
  const Index all = rows.end - rows.begin, count = run.losses == nullptr ? all : 1;
  for (Index first = 0; first < all; first += count) {
    LossArgs<T> args = loss_args(run, own, step, rows, first, count);
    double loss = 0.0, correct = 0.0;
    args.loss = &loss;
    args.correct = &correct;
    run.ops->loss[static_cast<int>(run.plan->loss)](args);
    result.loss_sum += loss;
    result.correct += correct;
    if (run.losses != nullptr) run.losses[rows.begin + first] = loss;
  }
}

// Takes rows through the plan on one thread.
template <class T>
void infer_chunk(const Job<T>& run, OwnWalk<T>& own, Range rows, std::atomic<Index>& bad_label,
                 InferenceResult& result) {
  own.bind(run, rows);
  const Walk<T>& walk = own.walk;
  for (const Step& step : run.plan->steps) {
    if (step.kind != StepKind::loss) {
      walk.run_step(step, rows.end - rows.begin);
    } else {
      own.targets.read(rows, step.out_features, bad_label);
      add_loss(run, own, step, rows, result);
    }
  }
}

// Calls body(first column, end) for one share's columns of a step. These are an even part or, if the rows of a weight are 1
// or 2 KB long, every `shares`-th of some strips, which begin at another one in every step. A part of such rows falls on a
// part of the sets of a cache; with strips this is another part for the next weight.
template <class T, class Body>
void for_each_strip(Index columns, int number, int shares, Index turn, Body body) {
  constexpr Index kMostColumns = 128;
  const Index bytes = columns * static_cast<Index>(sizeof(T));
  const bool conflicts = bytes == 1024 || bytes == 2048;
  const Index strips = conflicts ? block_count(columns, kMostColumns * shares) * shares : shares;
  for (Index strip = conflicts ? (number + turn) % shares : number; strip < strips; strip += shares) {
    const Range blocks = share(block_count(columns, kColumnBlock), static_cast<int>(strip), static_cast<int>(strips));
    if (blocks.begin < blocks.end) body(blocks.begin * kColumnBlock, std::min(blocks.end * kColumnBlock, columns));
  }
}

// Takes few rows through the plan. Each step is a phase, and the threads share its columns.
template <class T>
class Together final : public Work {
 public:
  Together(const Job<T>& run, int shares) : run_(run), shares_(shares), own_(run, shares) {
    own_.bind(run, {0, run.data.x.rows});
  }

  bool run(int number, Index phase, int) noexcept override {
    const std::vector<Step>& steps = run_.plan->steps;
    const Step& step = steps[static_cast<std::size_t>(phase)];
    const StripWeights<T>& strips = run_.strips;
    StepContext<T> context = own_.walk.context;
    context.scratch += number * run_.scratch;
    if (strips.parameters != nullptr) {
      context.parameters = strips.parameters;
      context.in_strips = true;
    }
    const auto run_columns = [&](Index begin, Index end) {
      run_slice(context, step, {0, run_.data.x.rows, begin, end});
    };
    const Index columns = step.columns;
    if (context.in_strips && has_strips(step)) {
      for_each_strip_of<T>(columns, number, shares_, strips.backwards, run_columns);
    } else if (rule_of(step.kind).division.allows_columns()) {
      for_each_strip<T>(columns, number, shares_, phase, run_columns);
    } else if (number == 0) {
      run_columns(0, columns);
    }
    return phase + 1 < static_cast<Index>(steps.size());
  }

 private:
  const Job<T>& run_;
  const int shares_;
  OwnWalk<T> own_;
};

// Takes many rows through the plan, in chunks of one thread each. The chunks of a share are neighbours.
template <class T>
class InChunks final : public Work {
 public:
  InChunks(const Job<T>& run, Index size, int workers)
      : run_(run),
        evaluates_(run.plan->kind == PlanKind::evaluation),
        size_(size),
        chunks_(block_count(run.data.x.rows, size)),
        workers_(workers),
        shares_(static_cast<int>(std::min<Index>(chunks_, workers * kSharesOfWorker))),
        parts_(evaluates_ ? static_cast<std::size_t>(chunks_) : 0),
        goes_on_(run.poller, run.data.x.mapped, run.plan->flops) {}

  int shares() const { return shares_; }

  // Nothing may be thrown out of a team. Only memory can fail.
  bool run(int number, Index, int worker) noexcept override {
    try {
      OwnWalk<T> walk(run_, 1);
      const Range chunks = share(chunks_, number, shares_);
      for (Index c = chunks.begin; c < chunks.end && goes_on_(worker); ++c) infer(walk, c, chunks_of_owner(number));
    } catch (...) {
      const std::lock_guard lock(failing_);
      failure_ = std::current_exception();
    }
    return false;
  }

  InferenceResult result() const {
    if (failure_) std::rethrow_exception(failure_);
    InferenceResult total;
    for (const InferenceResult& part : parts_) {
      total.loss_sum += part.loss_sum;
      total.correct += part.correct;
    }
    total.non_finite_row = bad_row_.load();
    total.bad_label = BadLabel::unpacked(bad_label_.load());
    total.interrupted = goes_on_.has_stopped();
    return total;
  }

 private:
  // A share has more than one, so that a thread which comes late or not at all leaves little to wait for.
  static constexpr Index kSharesOfWorker = 16;

  // Chunks that one thread takes one after the other unless others help it.
  Range chunks_of_owner(int number) const {
    const int owner = static_cast<int>((Index{number} + 1) * workers_ - 1) / shares_;
    const Range shares = share(shares_, owner, workers_);
    return {share(chunks_, static_cast<int>(shares.begin), shares_).begin,
            share(chunks_, static_cast<int>(shares.end) - 1, shares_).end};
  }

  void infer(OwnWalk<T>& walk, Index chunk, const Range& mine) {
    const Range rows{chunk * size_, std::min((chunk + 1) * size_, run_.data.x.rows)};
    if (run_.data.x.mapped) {
      prepare_mapped_rows<T>(run_.data, rows, {mine.begin * size_, mine.end * size_}, bad_row_);
    }
    InferenceResult unused;
    infer_chunk<T>(run_, walk, rows, bad_label_, evaluates_ ? parts_[static_cast<std::size_t>(chunk)] : unused);
  }

  const Job<T>& run_;
  const bool evaluates_;
  const Index size_, chunks_;
  const int workers_, shares_;
  std::vector<InferenceResult> parts_;  // of the chunks, added in their order
  Continuing goes_on_;
  std::atomic<Index> bad_row_{kNone}, bad_label_{kNone};
  std::exception_ptr failure_;
  std::mutex failing_;
};

// Returns the rows of a chunk. All chunks have one size if sums are cut by chunks.
template <class T>
Index chunk_rows(const Job<T>& run, int threads) {
  if (run.plan->kind == PlanKind::evaluation) return run.plan->batch;
  return std::min(run.plan->batch, round_up(block_count(run.data.x.rows, threads), kRowBlock));
}

template <class T>
InferenceResult infer_in_chunks(const Job<T>& run, Team& team) {
  InChunks<T> work(run, chunk_rows(run, team.size()), team.size());
  team.run(work.shares(), work);
  return work.result();
}

template <class T>
InferenceResult infer_together(const Job<T>& run, Team& team) {
  Together<T> work(run, team.size());
  team.run(team.size(), work);
  return {};
}

}  // namespace

template <class T>
TeamInference<T>::Planned::Planned(const PlanRequest& request, const OpTable<T>& ops)
    : plan(build_plan(request)), scratch(scratch_elements(ops, plan, plan.batch)) {
  check_slices<T>(plan.steps);
}

template <class T>
TeamInference<T>::TeamInference(PlanRequest request, const OpTable<T>& ops)
    : ops_(ops), most_threads_(std::numeric_limits<int>::max()) {
  request.batch = kChunkRows;
  many_.emplace(request, ops);
  const Index most = most_value_bytes(*request.graph, sizeof(T)), rows = rows_within(many_->plan, most);
  if (rows < kChunkRows) {
    request.batch = rows;
    many_.emplace(request, ops);
    most_threads_ = static_cast<int>(std::max<Index>(kMostFullThreads * most / bytes_of_thread(), 1));
  }
  if (request.kind == PlanKind::evaluation || rows < kRowBlock) return;
  request.batch = kRowBlock;
  few_.emplace(request, ops);
}

template <class T>
Index TeamInference<T>::bytes_of_thread() const {
  return value_bytes(many_->plan) + many_->scratch * Index{sizeof(T)};
}

template <class T>
Job<T> TeamInference<T>::job(const InferenceRun<T>& asked, Index rows) const {
  const Planned& planned = few_ && rows <= kRowBlock ? *few_ : *many_;
  return {asked, &planned.plan, &ops_, planned.scratch, 1};
}

template <class T>
double TeamInference<T>::flops(Index rows) const {
  return many_->plan.flops / static_cast<double>(many_->plan.batch) * static_cast<double>(rows);
}

template <class T>
InferenceResult TeamInference<T>::run(const InferenceRun<T>& asked) const {
  const Index rows = asked.data.x.rows;
  Job<T> run = job(asked, rows);
  run.threads = std::min(threads_for(flops(rows), asked.num_threads, asked.most_threads), most_threads_);
  const bool few = few_ && rows <= kRowBlock && !asked.data.x.mapped;
  if (!few || (run.threads == 1 && run.strips.parameters == nullptr)) {
    Team team(static_cast<int>(std::min<Index>(run.threads, block_count(rows, kRowBlock))));
    return infer_in_chunks(run, team);
  }
  Team alone(1);
  if (run.threads == 1) return infer_together(run, alone);
  const RepeatedCall repeated;
  Team team(run.threads);
  const bool comes = team.size() > 1 && (repeated || team.is_awake());
  if (!comes && run.strips.parameters == nullptr) return infer_in_chunks(run, alone);
  return infer_together(run, comes ? team : alone);
}

template <class T>
void TeamInference<T>::copy_to_strips(std::span<const T> parameters, T* copy) const {
  stoop::copy_to_strips<T>((few_ ? *few_ : *many_).plan, parameters, copy);
}

template class TeamInference<float>;
template class TeamInference<double>;

}  // namespace stoop
