// Where barriers must stand: which buffers a step touches, and whether what it reads or overwrites was written or read
// by another thread's share of an earlier step.
#pragma once

#include <vector>

#include "plan.hpp"

namespace stoop {

// How a step touches a buffer: in the rows or columns of its own share, or beyond it.
enum class Reach { rows, columns, all };

struct Access {
  int buffer;
  Reach reach;
  bool write;
};

// A product by columns needs whole rows of its input, and the statistics of a batch that is cut by rows need the sums of
// all groups of rows; the thread with the first rows writes them. Everything else stays within its share.
inline std::vector<Access> accesses_of(const Step& step) {
  const Reach own = step.cut == Cut::rows ? Reach::rows : Reach::columns;
  const bool product = step.kind == StepKind::dense || step.kind == StepKind::input_gradient;
  const bool summed = step.kind == StepKind::batch_moments || step.kind == StepKind::batch_sums;
  const bool merged = step.kind == StepKind::batch_norm || step.kind == StepKind::batch_norm_gradient;
  const bool forward = step.kind == StepKind::batch_norm || step.kind == StepKind::layer_norm;
  const Reach of_columns = merged && step.cut == Cut::rows ? Reach::all : own;
  std::vector<Access> accesses;
  const auto touch = [&](int buffer, Reach reach, bool write) {
    if (buffer != kNone) accesses.push_back({buffer, reach, write});
  };
  touch(step.input, product && step.cut == Cut::columns ? Reach::all : own, false);
  for (const int read : {step.gate, step.tangent, step.primal}) touch(read, own, false);
  touch(step.statistics, forward ? of_columns : own, forward);
  touch(step.partials, summed ? own : of_columns, summed);
  touch(step.sums, of_columns, true);
  // Masks are only read on the way back; taken for written, they cost a barrier at most.
  for (const int written : {step.output, step.tangent_statistics, step.mask}) touch(written, own, true);
  return accesses;
}

// Remembers what was touched since the last barrier.
class Hazards {
 public:
  // Whether a barrier must stand before this step; one is then taken to be there.
  bool needs_barrier(const std::vector<Access>& accesses) {
    const bool barrier = conflicts(accesses);
    if (barrier) since_barrier_.clear();
    since_barrier_.insert(since_barrier_.end(), accesses.begin(), accesses.end());
    return barrier;
  }

 private:
  bool conflicts(const std::vector<Access>& accesses) const {
    for (const Access& now : accesses) {
      for (const Access& before : since_barrier_) {
        if (now.buffer != before.buffer || (!now.write && !before.write)) continue;
        if (now.reach == Reach::all || now.reach != before.reach) return true;
      }
    }
    return false;
  }

  std::vector<Access> since_barrier_;
};

}  // namespace stoop
