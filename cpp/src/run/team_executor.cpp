#include "team_executor.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <limits>
#include <utility>

#include "row_augmenter.hpp"
#include "team_run.hpp"
#include "thread_count.hpp"

namespace stoop::inline v0_1 {

template <class T>
TeamExecutor<T>::TeamExecutor(Plan made, const OpTable<T>& ops)
    : Executor<T>(made.batch), plan_(std::move(made)), ops_(ops), loss_memory_(plan_.batch) {
  const Plan& plan = plan_;
  gemm_scratch_ = scratch_elements(ops, plan_, plan_.batch);
  // The sums of groups take a block for each level of their tree.
  const int blocks = std::bit_width(static_cast<unsigned>(plan.groups));
  thread_scratch_ = gemm_scratch_ + blocks * round_up(plan.block_elements, kAlignment);
  bound_.resize(plan.buffers.size());
}

template <class T>
TeamExecutor<T>::~TeamExecutor() = default;

// Makes room for a team of this size. Each thread zeroes the memory that it will use, so that with several memories (NUMA) it
// lies near the thread. Returns false if there is a poller and it said no.
template <class T>
bool TeamExecutor<T>::reserve_threads(int threads, Poller* poller) {
  constexpr Index kPieceBytes = 1 << 22;
  const bool first = arena_.size() < plan_.arena_bytes, more = static_cast<int>(places_.size()) < threads;
  if (!first && !more) return true;
  const Plan& plan = plan_;
  if (more) scratch_.reset_untouched(thread_scratch_ * threads);
  if (first) arena_.reset_untouched(plan.arena_bytes);
  const FlushToZero mode;
  Halt halt(poller, mode);
  const auto touch = [&](int number, int shares) {
    const Range own = share(more ? threads : 0, number, shares);
    std::fill_n(scratch_.data() + own.begin * thread_scratch_, (own.end - own.begin) * thread_scratch_, T(0));
    for (const Buffer& b : plan.buffers) {
      const Range rows = share(first ? b.rows > 0 ? b.rows : plan.batch : 0, number, shares);
      const Index row_bytes = b.members * b.stride * b.element_size, piece = block_count(kPieceBytes, row_bytes);
      for (Index r = rows.begin; r < rows.end && (poller == nullptr || halt.goes_on(number)); r += piece) {
        std::fill_n(arena_.data() + b.offset + r * row_bytes, std::min(piece, rows.end - r) * row_bytes, std::byte{0});
      }
    }
  };
  run_shares(threads, touch, Team::First::caller);
  if (halt.has_come()) {
    arena_.reset_untouched(0);
    return false;
  }
  if (first) bind_buffers(plan, arena_.data(), bound_.data());
  for (int team = more ? threads : 1; team > 1; team /= 2) deal_.deal_to(team);  // the tuner tries them
  if (more) places_.resize(static_cast<std::size_t>(threads));                   // last: it says that all is there
  return true;
}

template <class T>
RunEnd TeamExecutor<T>::run_segment(const TrainingRun<T>& run, Cursor& cursor, const Segment& segment) {
  Team team(segment.threads);
  threads_used_ = team.size();
  deal_.deal_to(threads_used_);
  TeamRun<T> work(*this, run, segment, cursor, team.size());
  team.run(team.size(), work, Team::First::caller);  // share 0 asks the poller
  cursor = work.cursor;
  if (work.was_halted()) return {.status = RunStatus::interrupted};
  return work.outcome;
}

template <class T>
void TeamExecutor<T>::Tuned::tune_for(int most, double work, bool fixed) {
  constexpr double kNeverTuned = std::numeric_limits<double>::infinity();
  if (limit == most && flops == work) return;
  tuner = TeamTuner(most, fixed ? kNeverTuned : work);
  limit = most;
  flops = work;
}

// Runs in pieces. The size of the team may change between them.
template <class T>
RunEnd TeamExecutor<T>::run(const TrainingRun<T>& run, Cursor& cursor, Index until) {
  using Clock = std::chrono::steady_clock;
  constexpr double kShort = 1e8;  // FLOPs: a run of some milliseconds at most, which need not ask whether to go on
  const InputView& x = run.data.x;
  const Augmentation<T>* const how = run.augmented.how;
  const double of_row = plan_.flops / static_cast<double>(plan_.batch) + (how != nullptr ? how->flops(x.cols) : 0.0);
  const double of_batch = of_row * static_cast<double>(run.batch);
  const int limit = threads_for(of_batch, run.num_threads, run.most_threads);
  Tuned& tuned = tuned_[run.pass == Pass::second ? 1 : 0];
  TeamTuner& tuner = tuned.tuner;
  tuned.tune_for(limit, of_batch, run.num_threads > 0);
  const bool is_short = of_row * static_cast<double>(x.rows) < kShort && !x.mapped;
  Poller* const poller = run.stops_within && is_short ? nullptr : run.poller;
  if (!reserve_threads(limit, run.stops_within ? poller : nullptr)) return {.status = RunStatus::interrupted};
  loss_memory_.reserve(run.data);
  thread_augment_ = how != nullptr ? RowAugmenter<T>::scratch_elements(*how, x.cols) : 0;
  augment_memory_.reserve(thread_augment_ * limit);
  sums_of(run).resize(plan_.sum_slots);
  const Index rows = run.batch * run.accumulate;  // of an update
  RunEnd end;
  until = std::min(until, x.rows);
  while (cursor.row < until && end.status == RunStatus::done) {
    const Index updates = std::min(tuner.steps(), block_count(until - cursor.row, rows)), before = cursor.updates;
    const Index last = std::min(cursor.row + updates * rows, until);
    const auto now = [&] {
      return tuner.tunes() ? Clock::now() : Clock::time_point{};
    };  // not free beside a small step
    const Clock::time_point start = now();
    end = run_segment(run, cursor, {last, tuner.threads(), poller});
    tuner.record(std::chrono::duration<double>(now() - start).count(), cursor.updates - before, threads_used_);
  }
  if (end.status == RunStatus::done && cursor.row < x.rows) end.status = RunStatus::stopped;
  return end;
}

template class TeamExecutor<float>;
template class TeamExecutor<double>;

}  // namespace stoop
