// Walks a plan with a team of threads: whole epochs of training, or rows of inference.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <stoop/input.hpp>
#include <stoop/optimizers.hpp>
#include <stoop/trainer.hpp>

#include "../base/memory.hpp"
#include "../data/dataset.hpp"
#include "../data/input_rows.hpp"
#include "../plan/plan.hpp"
#include "../team/poller.hpp"
#include "../data/read_ahead.hpp"

namespace stoop {

// Where a buffer of the plan lies in a run.
template <class T>
struct BoundBuffer {
  T* data = nullptr;
  Index stride = 0;
};

template <class T>
struct TrainingRun {
  Dataset<T> data;
  Index first = 0;  // the run is over the samples [first, last) of the order, in batches
  Index last = 0;
  Index batch = 0;
  Index merged = 0;  // a last batch of up to this many rows goes with the one before it
  T* parameters = nullptr;
  T* state[kMostStates] = {};    // of the optimizer, laid out as the parameters
  T* average = nullptr;          // moving average of the parameters, laid out like them, or null
  T* running = nullptr;          // statistics of batch normalisation
  T* gradient = nullptr;         // laid out as the parameters; not used by PlanKind::training
  const T* direction = nullptr;  // of PlanKind::curvature, whose `gradient` is the Hessian times this
  Numbers<Loss> loss_numbers;
  const Optimizer* optimizer = nullptr;    // of plans that update
  const double* learning_rates = nullptr;  // one for each update of this run; used by plans that update
  double l1 = 0.0;
  double l2 = 0.0;
  double fixed_penalty = 0.0;  // of weights that no step visits, added to the loss
  // 0: no limit. clip_norm and accumulate > 1 need PlanKind::checked, max_norm a plan with limit_norm.
  double clip_norm = 0.0;
  double clip_value = 0.0;
  double max_norm = 0.0;
  double average_decay = 0.0;
  Index accumulate = 1;    // batches that make an update
  std::uint64_t seed = 0;  // of dropout
  Index updates_done = 0;
  int threads = 1;
  Poller* poller = nullptr;
  // The poller is asked at any time, and its no ends the run at once: of runs that change nothing before their end. Else it
  // is asked between updates.
  bool stops_within = false;
  ReadAhead* read_ahead = nullptr;  // of an x that is mapped
};

struct TrainingResult {
  double loss_sum = 0.0;    // of batch means times their weights, regularisation included
  double weight_sum = 0.0;  // of the samples; their number where no weights are given
  double correct = 0.0;
  double grad_norm_sum = 0.0;  // over the steps
  double largest_norm = 0.0;   // of the gradients of updates
  Index samples = 0;
  Index steps = 0;                   // updates made
  bool interrupted = false;          // the poller said no; nothing else counts where it stopped within an update
  bool non_finite_loss = false;      // the step after `steps` was not applied; its loss is in loss_sum, or NaN
  double too_long = 0.0;             // of either without anything infinite: rate times norm of that step, else 0
  double too_steep = 0.0;            // the same: the norm of a gradient whose squares the optimizer cannot hold, else 0
  bool non_finite_gradient = false;  // PlanKind::training: the last of `steps` was applied and spoiled the parameters
  // Of a mapped x, a row that holds a value that is not finite, the first of its batch: the update was not applied.
  Index non_finite_row = kNone;
  BadLabel bad_label{};  // read in the batch after the last that counts; the update was not applied

  bool stopped() const {
    return interrupted || non_finite_loss || non_finite_gradient || non_finite_row != kNone || bad_label.row != kNone;
  }
};

// What the loss of a batch needs, and leaves.
struct LossMemory {
  explicit LossMemory(Index rows)
      : classes(static_cast<std::size_t>(rows)),
        weights(classes.size()),
        losses(static_cast<std::size_t>(block_count(rows, kRowBlock))),
        correct(losses.size()) {}

  std::vector<std::int32_t> classes;
  std::vector<double> weights;          // in units of Batch::weight_unit
  std::vector<double> losses, correct;  // per row block
};

// Updates that a run over `samples` rows makes.
Index update_count(Index samples, Index batch, Index accumulate, Index merged);

// Owns the memory of training with one plan; nothing is allocated by run().
template <class T>
class TrainingExecutor {
 public:
  TrainingExecutor(std::shared_ptr<const Plan> plan, const OpTable<T>& ops);
  ~TrainingExecutor();

  const Plan& plan() const { return *plan_; }
  // Makes room for a team of this size, before run(). Where there is a poller it is asked: Interrupted.
  void reserve_threads(int threads, Poller* poller = nullptr);
  // Goes on adding to `so_far`, so that the sums do not depend on how an epoch is cut into runs.
  TrainingResult run(const TrainingRun<T>& run, const TrainingResult& so_far = {});
  int threads_used() const { return threads_used_; }  // by the last run

 private:
  template <class>
  friend class TeamRun;
  struct Place;

  std::shared_ptr<const Plan> plan_;
  const OpTable<T>* ops_;
  AlignedBuffer<std::byte> arena_;
  std::vector<BoundBuffer<T>> bound_;
  AlignedBuffer<T> scratch_;  // per thread: packing for products, then one parameter block
  Index gemm_scratch_ = 0;
  Index thread_scratch_ = 0;
  int threads_used_ = 0;
  LossMemory loss_memory_;
  std::vector<double> penalties_, grad_sums_, grad_norms_;  // per parameter block
  std::vector<Place> places_;                               // per share of a team
};

// Rows of x through an inference plan, or an evaluation plan whose loss is added up (`out` is then not used).
template <class T>
struct InferenceRun {
  const Plan* plan = nullptr;
  const OpTable<T>* ops = nullptr;
  const T* parameters = nullptr;
  const T* running = nullptr;
  Numbers<Loss> loss_numbers;
  Dataset<T> data;
  MatrixView<T> out;
  int threads = 1;
  Poller* poller = nullptr;
};

struct InferenceResult {
  double loss_sum = 0.0;  // weighted
  double correct = 0.0;
  Index non_finite_row = kNone;  // of a mapped x; nothing else counts then
  BadLabel bad_label{};          // the same
  bool interrupted = false;      // the same: the poller said no
};

template <class T>
InferenceResult run_inference(const InferenceRun<T>& run);

// Threads worth using for `flops` of matrix products, at most `limit`.
int useful_threads(double flops, int limit);

}  // namespace stoop
