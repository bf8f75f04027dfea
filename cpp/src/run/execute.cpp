// The executor of training: its memory, and a team for each run.

#include "execute.hpp"

#include <algorithm>
#include <utility>

#include <stoop/error.hpp>

#include "team_run.hpp"

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

template <class T>
TrainingExecutor<T>::TrainingExecutor(std::shared_ptr<const Plan> plan, const OpTable<T>& ops)
    : plan_(std::move(plan)),
      ops_(&ops),
      gemm_scratch_(scratch_elements(ops, *plan_, plan_->batch)),
      thread_scratch_(gemm_scratch_ + round_up(plan_->block_elements, kAlignment)),
      loss_memory_(plan_->batch),
      penalties_(static_cast<std::size_t>(plan_->sum_slots)),
      grad_sums_(penalties_.size()),
      grad_norms_(penalties_.size()) {
  bound_.resize(plan_->buffers.size());
}

template <class T>
TrainingExecutor<T>::~TrainingExecutor() = default;

// Each thread zeroes what it will use, so that with several memories (NUMA) it lies in its own.
template <class T>
void TrainingExecutor<T>::reserve_threads(int threads, Poller* poller) {
  constexpr Index kPieceBytes = 1 << 22;
  const bool first = arena_.size() == 0, more = static_cast<int>(places_.size()) < threads;
  if (!first && !more) return;
  if (more) scratch_.reset_untouched(thread_scratch_ * threads);
  if (first) arena_.reset_untouched(plan_->arena_bytes);
  const FlushToZero mode;
  Halt halt(poller, mode);
  const auto touch = [&](int number, int shares) {
    const Range own = share(more ? threads : 0, number, shares);
    std::fill_n(scratch_.data() + own.begin * thread_scratch_, (own.end - own.begin) * thread_scratch_, T(0));
    for (const Buffer& b : plan_->buffers) {
      const Range rows = share(first ? b.rows > 0 ? b.rows : plan_->batch : 0, number, shares);
      const Index row_bytes = b.stride * b.element_size, piece = block_count(kPieceBytes, row_bytes);
      for (Index r = rows.begin; r < rows.end && (poller == nullptr || halt.goes_on(number)); r += piece) {
        std::fill_n(arena_.data() + b.offset + r * row_bytes, std::min(piece, rows.end - r) * row_bytes, std::byte{0});
      }
    }
  };
  run_shares(threads, touch, Team::First::caller);
  if (halt.has_come()) {
    arena_.reset_untouched(0);
    throw_interrupted("Trainer");
  }
  if (first) bind_buffers(*plan_, arena_.data(), bound_.data());
  if (more) places_.resize(static_cast<std::size_t>(threads));  // last: it says that all is there
}

template <class T>
TrainingResult TrainingExecutor<T>::run(const TrainingRun<T>& run, const TrainingResult& so_far) {
  Team team(run.threads);
  threads_used_ = team.size();
  TeamRun<T> work(*this, run, so_far, team.size());
  team.run(team.size(), work, Team::First::caller);  // share 0 asks the poller
  if (work.was_halted()) work.result.interrupted = true;
  return work.result;
}

template class TrainingExecutor<float>;
template class TrainingExecutor<double>;

}  // namespace stoop
