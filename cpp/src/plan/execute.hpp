// Walks a plan with a team of threads: whole epochs of training, or rows of inference.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include <stoop/optimizers.hpp>
#include <stoop/trainer.hpp>

#include "arena.hpp"
#include "plan.hpp"

namespace stoop {

// The samples a run takes, in `order` (null: as they lie).
template <class T>
struct Dataset {
  MatrixView<const T> x;
  const std::int32_t* classes = nullptr;  // (x.rows)
  MatrixView<const T> values;             // (x.rows, outputs)
  const std::int32_t* order = nullptr;    // (x.rows)
};

// Where a buffer of the plan lies in a run.
template <class T>
struct BoundBuffer {
  T* data = nullptr;
  Index stride = 0;
};

// Asks a callback whether to go on, which is due every 50 ms.
class Poller {
 public:
  explicit Poller(std::function<bool(Index)> ask) : ask_(std::move(ask)) {}
  bool is_due() const { return Clock::now() - last_ >= std::chrono::milliseconds(50); }
  bool keep_going(Index samples_done) {
    last_ = Clock::now();
    return ask_(samples_done);
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::function<bool(Index)> ask_;
  Clock::time_point last_ = Clock::now();
};

template <class T>
struct TrainingRun {
  Dataset<T> data;
  Index first = 0;  // the run is over the samples [first, last) of the order, in batches
  Index last = 0;
  Index batch = 0;
  T* parameters = nullptr;
  T* state[2] = {nullptr, nullptr};  // of the optimizer, laid out as the parameters
  T* gradient = nullptr;             // laid out as the parameters; not used by PlanKind::training
  Optimizer optimizer{};
  double l2 = 0.0;
  Index updates_done = 0;
  int threads = 1;
  Poller* poller = nullptr;
};

struct TrainingResult {
  double loss_sum = 0.0;  // of batch means times rows, regularisation included
  double correct = 0.0;
  double grad_norm_sum = 0.0;  // over the steps
  Index samples = 0;
  Index steps = 0;                   // updates made
  bool interrupted = false;          // the poller said no
  bool non_finite_loss = false;      // the step after `steps` was not applied
  bool non_finite_gradient = false;  // PlanKind::training: the last of `steps` was applied and spoiled the parameters

  bool stopped() const { return interrupted || non_finite_loss || non_finite_gradient; }
};

// Owns the memory of training with one plan; nothing is allocated by run().
template <class T>
class TrainingExecutor {
 public:
  TrainingExecutor(Plan plan, const OpTable<T>& ops);

  const Plan& plan() const { return plan_; }
  // Makes room for a team of this size.
  void reserve_threads(int threads);
  // Goes on adding to `so_far`, so that sums do not depend on where a run was divided.
  TrainingResult run(const TrainingRun<T>& run, const TrainingResult& so_far = {});

 private:
  template <class>
  friend class TeamRun;

  Plan plan_;
  const OpTable<T>* ops_;
  AlignedBuffer<std::byte> arena_;
  std::vector<BoundBuffer<T>> bound_;
  AlignedBuffer<T> scratch_;  // per thread: packing for products, then one parameter block
  Index gemm_scratch_ = 0;
  Index thread_scratch_ = 0;
  std::vector<std::int32_t> classes_;            // of the batch
  std::vector<double> losses_, correct_;         // per row block
  std::vector<double> weight_sums_, grad_sums_;  // per parameter block
};

// Rows of x through an inference plan, or an evaluation plan whose loss is added up (`out` is then not used).
template <class T>
struct InferenceRun {
  const Plan* plan = nullptr;
  const OpTable<T>* ops = nullptr;
  const T* parameters = nullptr;
  Dataset<T> data;
  MatrixView<T> out;
  int threads = 1;
};

struct InferenceResult {
  double loss_sum = 0.0;
  double correct = 0.0;
};

template <class T>
InferenceResult run_inference(const InferenceRun<T>& run);

// Threads worth using for `flops` of matrix products, at most `limit`.
int useful_threads(double flops, int limit);

}  // namespace stoop
