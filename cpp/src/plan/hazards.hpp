// Where barriers must stand: which buffers a step touches, and whether what it reads or overwrites was written or read
// by another thread's share of an earlier step.
#pragma once

#include <array>
#include <cstddef>
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

// Remembers what was touched since the last barrier, by buffer: there may be very many steps without one.
class Hazards {
 public:
  // Whether a barrier must stand before this step; one is then taken to be there.
  bool needs_barrier(const std::vector<Access>& accesses) {
    const bool barrier = conflicts(accesses);
    if (barrier) ++barriers_;
    for (const Access& now : accesses) {
      const auto buffer = static_cast<std::size_t>(now.buffer);
      if (touched_.size() <= buffer) touched_.resize(buffer + 1);
      if (touched_[buffer].barriers != barriers_) touched_[buffer] = {barriers_, {}};
      touched_[buffer].by_reach[static_cast<std::size_t>(now.reach)] |= now.write ? kWritten : kRead;
    }
    return barrier;
  }

 private:
  static constexpr unsigned char kRead = 1, kWritten = 2;
  struct Touched {
    int barriers = 0;  // how many stood before
    std::array<unsigned char, 3> by_reach{};
  };

  bool conflicts(const std::vector<Access>& accesses) const {
    for (const Access& now : accesses) {
      const auto buffer = static_cast<std::size_t>(now.buffer);
      if (buffer >= touched_.size() || touched_[buffer].barriers != barriers_) continue;
      for (std::size_t reach = 0; reach < touched_[buffer].by_reach.size(); ++reach) {
        const bool beyond = now.reach == Reach::all || static_cast<std::size_t>(now.reach) != reach;
        const unsigned char before = touched_[buffer].by_reach[reach];
        if (beyond && (now.write ? before != 0 : (before & kWritten) != 0)) return true;
      }
    }
    return false;
  }

  std::vector<Touched> touched_;  // by buffer
  int barriers_ = 0;
};

}  // namespace stoop
