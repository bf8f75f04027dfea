// The interfaces to whatever runs plans, and the arguments of a run. device.hpp makes what implements them.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include <stoop/optimizers.hpp>

#include "../data/augmentation.hpp"
#include "../data/read_ahead.hpp"
#include "../data/sample_rows.hpp"
#include "../plan/plan.hpp"
#include "../spec/losses.hpp"
#include "../team/poller.hpp"
#include "cursor.hpp"
#include "live_state.hpp"
#include "step_clock.hpp"

namespace stoop::inline v0_1 {

// The steps that a run does. The passes of PlanKind::pieces may be run one after the other.
enum class Pass { all, first, second };

// Everything that stays the same for a whole epoch, in however many segments it is run.
template <class T>
struct TrainingRun : StateView<T> {
  SampleRows<T> data;          // those of the epoch, `x.rows` of them
  AugmentedRows<T> augmented;  // of samples that are changed as they are gathered
  Index batch = 0;
  Index merged = 0;      // a last batch of up to this many rows joins the batch before it
  Index accumulate = 1;  // batches that make an update
  // Gradients and losses are those of `groups` groups of rows, a power of two, which are added up in a binary tree. Each group
  // begins at a multiple of kRowBlock, given with the end of the last in `group_rows`.
  int groups = 1;
  const Index* group_rows = nullptr;
  double weight = 0.0;           // of all samples of the update, where `data` has a part of it; 0: that of `data`
  const T* direction = nullptr;  // of PlanKind::curvature, whose `gradient` is the Hessian times this
  Numbers<Loss> loss_numbers;
  const Optimizer* optimizer = nullptr;    // of plans that update
  const double* learning_rates = nullptr;  // one for each update of the epoch; used by plans that update
  Index first_update = 0;                  // updates made before the epoch
  double l1 = 0.0;
  double l2 = 0.0;
  double fixed_penalty = 0.0;   // of weights that no step visits, added to the loss
  double penalty_weight = 0.0;  // unless 0: penalties are divided by this times the weight of all samples of the update
  // 0: no limit. clip_norm and accumulate > 1 need PlanKind::checked, max_norm a plan with limit_norm.
  double clip_norm = 0.0;
  double clip_value = 0.0;
  double max_norm = 0.0;
  double average_decay = 0.0;
  BlockSums* sums = nullptr;  // of the trainer, so that its next run goes on from them; null: of the executor
  std::uint64_t seed = 0;     // of dropout
  int num_threads = 0;        // 0: as many as pay off,
  int most_threads = 0;       // and then at most so many; 0: get_num_threads()
  Poller* poller = nullptr;
  // In a run that changes nothing before its end, the poller is asked at any time, and its no ends the run at once. In other
  // runs it is asked between updates.
  bool stops_within = false;
  const Wish* wish = nullptr;       // what a no of the poller means, for other processes; null: to stop
  ReadAhead* read_ahead = nullptr;  // of an x that is mapped
  StepClock* clock = nullptr;       // measures the steps of the plan

  // ---- PlanKind::pieces; strides are written out ----
  Pass pass = Pass::all;
  MatrixView<T> outputs;            // without memory: they are not given
  MatrixView<const T> grad_output;  // may have a stride of 0: all rows are the same
  MatrixView<T> input_gradient;     // without memory: it is not computed
  Index rows_before = 0;  // of the update, in earlier passes: the masks of a dropout are those of the rows that follow
  bool adds = false;      // to the gradient that is there
  // ---- PlanKind::apply ----
  Range own{0, std::numeric_limits<Index>::max()};  // the steps of parameters in these elements are those that are done
  const T* raw_gradient = nullptr;  // where the gradient lies before anything is added to it; null: in `gradient`
};

// Runs a plan. It owns all memory that this takes, except the state. After the first run nothing is allocated.
template <class T>
class Executor {
 public:
  explicit Executor(Index most_rows) : most_rows_(most_rows) {}
  virtual ~Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Returns how many rows a batch may have.
  Index most_rows() const { return most_rows_; }
  // Returns what it runs for a batch.
  virtual const Plan& plan() const = 0;

  // Runs a segment of an epoch, from the cursor to the end of the update that has the sample `until`-1, and moves the cursor.
  // The bits do not depend on how an epoch is cut into segments.
  virtual RunEnd run(const TrainingRun<T>& run, Cursor& cursor, Index until) = 0;

 private:
  const Index most_rows_;
};

// A copy of the parameters for predictions of few rows (strips.hpp), or null, and the order in which a run reads the strips.
template <class T>
struct StripWeights {
  const T* parameters = nullptr;
  bool backwards = false;
};

// Takes rows of x through the network: either to `out`, or to the loss, whose terms are added up (`out` is then not used).
template <class T>
struct InferenceRun {
  const T* parameters = nullptr;
  const T* running = nullptr;
  StripWeights<T> strips;  // of the same parameters
  Numbers<Loss> loss_numbers;
  SampleRows<T> data;
  MatrixView<T> out;
  double* losses = nullptr;  // (data.x.rows), or null: the loss of each row, times its weight
  int num_threads = 0;       // 0: as many as pay off,
  int most_threads = 0;      // and then at most so many; 0: get_num_threads()
  Poller* poller = nullptr;
  bool is_alone = false;  // other processes take no part
};

struct InferenceResult {
  double loss_sum = 0.0;  // weighted
  double correct = 0.0;
  Index non_finite_row = kNone;  // of a mapped x; nothing else counts then
  BadLabel bad_label{};          // the same
  bool interrupted = false;      // the same: the poller said no
  bool lost = false;             // the same: another process cannot be reached
};

// Runs plans in which no row needs another. It holds nothing that a run changes, so several threads may run it at once, and
// copies of a model share it.
template <class T>
class InferenceExecutor {
 public:
  InferenceExecutor() = default;
  virtual ~InferenceExecutor() = default;
  InferenceExecutor(const InferenceExecutor&) = delete;
  InferenceExecutor& operator=(const InferenceExecutor&) = delete;

  virtual InferenceResult run(const InferenceRun<T>& run) const = 0;
  // Lays out a copy of the parameters of a model for InferenceRun::strips. Both have the same size.
  virtual void copy_to_strips(std::span<const T> parameters, T* copy) const = 0;
};

// Networks that take the same rows of x.
template <class T>
class Networks {
 public:
  virtual Index size() const = 0;
  virtual const InferenceExecutor<T>& executor(Index i) const = 0;
  // Returns the run of one of them alone. Neighbours that see x alike share the rows that are converted.
  virtual InferenceRun<T> run(Index i) const = 0;

  // Returns whether `reduce` is to be called, once for each row, when all members have written their outputs of it.
  virtual bool reduces() const { return false; }
  virtual void reduce(Range) const noexcept {}

 protected:
  ~Networks() = default;
};

}  // namespace stoop
