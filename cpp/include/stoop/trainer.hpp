// Trainer<T>: runs whole epochs of mini-batch training inside the core. One trainer drives one model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include <stoop/checkpoint.hpp>
#include <stoop/error.hpp>
#include <stoop/fit.hpp>
#include <stoop/model.hpp>
#include <stoop/optimizers.hpp>
#include <stoop/trainer_config.hpp>
#include <stoop/world.hpp>

namespace stoop::inline v0_1 {

// How BatchNorm and Dropout behave while a gradient is computed.
struct GradientMode {
  bool training = true;  // true: BatchNorm uses the statistics of the batch; false: the running statistics
  bool dropout = false;  // true: Dropout drops, with the mask of the next update
};

// The rows of larger arrays that make a batch.
struct BatchRows {
  std::span<const Index> indices;  // of rows of x, and of y; any may come more than once
  bool y_is_gathered = false;      // y is that of the batch, with a row for each index
};

template <class T>
class STOOP_API Trainer {
 public:
  // Keeps a reference to `model`, which must outlive it.
  // In a world of several processes each of them makes a trainer with a model alike, and makes the same calls of it in the same
  // order, with all samples: this constructor, fit, step, step_rows, evaluate and losses. They share the work, and come to the
  // same bits, whatever the number of processes. If one throws, all throw. The functions that fit calls must answer alike in
  // all of them. All other calls are made by each process for itself.
  explicit Trainer(Model<T>& model, TrainerConfig config = {}, const World& world = {});
  Trainer(Trainer&&) noexcept;
  ~Trainer();

  // Trains on x (n, input_dim) and y in mini-batches, and goes on from the current state. Like `step`, it sets
  // Model::config().output from the loss, unless the output was given.
  // With LBFGS and NewtonCG an epoch is one iteration on all samples, batch_size must be at least their number, and
  // `learning_rate` of the result is the length of the step taken.
  // Throws ValueError or TypeError before anything is changed. If it throws NonFiniteLossError, the last good parameters
  // are kept.
  History fit(const InputView& x, const Targets<T>& y, const FitOptions<T>& options = {});

  // Makes one update on this batch and returns the loss before it, regularisation included. If it throws Interrupted, no
  // update was made.
  double step(const InputView& x, const Targets<T>& y, const KeepGoing& keep_going = {});

  // Makes the update that `step` makes on these rows of x and y, which may be as large as a replay buffer: nothing but the
  // rows is read. Weights are those of the batch, one for each index. Throws ValueError for an index that is no row.
  double step_rows(const InputView& x, const Targets<T>& y, const BatchRows& rows, const KeepGoing& keep_going = {});

  // ---- an update in pieces, for loops of one's own ----
  // `forward`, the gradient of the loss by hand, `backward` and `apply` come to the bits of `step` where that gradient has
  // its bits. LBFGS and NewtonCG, which need more than one gradient for an update, are refused with ValueError.

  // Writes the outputs for x (n, input_dim) to `out` (n, output_dim), and keeps what `backward` needs until the next
  // forward. BatchNorm follows the batch here, once for each call. Dropout has the mask of the rows that come next in the
  // next update. Outputs may be infinite; statistics of a batch that are not finite throw NonFiniteLossError.
  void forward(const InputView& x, MatrixView<T> out, GradientMode mode = {.training = true, .dropout = true},
               const KeepGoing& keep_going = {});

  // Adds the gradient that follows from `grad_output` (n, output_dim), that of the outputs of the last forward, to
  // gradient_block(), a plain sum over all calls since the last update. Writes the gradient of x, if it has memory, to
  // `input_gradient` (n, input_dim). Needs a forward of its own, with no update since. If grad_output is not finite, throws
  // NonFiniteLossError and changes nothing.
  void backward(MatrixView<const T> grad_output, MatrixView<T> input_gradient = {}, const KeepGoing& keep_going = {});

  // The sum of the gradients since the last update, laid out as Model::parameter_block(), without penalties. May be written
  // to; stays valid as long as the trainer.
  std::span<T> gradient_block();

  // The L2 norm of that sum; infinite or NaN if it is not finite.
  double gradient_norm() const;
  // Multiplies that sum by a factor.
  void scale_gradient(double factor);

  // Adds the penalties, limits the gradient and makes one update by it, whatever `accumulate` is; then the gradient is zero
  // again. Returns its norm before clip_norm. If it is not finite, or the update would be too long, throws
  // NonFiniteLossError and changes nothing, the gradient included.
  double apply(const KeepGoing& keep_going = {});

  // Forgets the gradient.
  void zero_grad();

  // Returns the loss of this batch and writes its gradient, laid out as Model::parameter_block(). Nothing is updated, not
  // even running statistics. If `gradient` is empty, only the loss is computed. A loss that is infinite or NaN is
  // returned, and the gradient is then NaN. The loss is NaN as well where the statistics of the batch overflow.
  double loss_and_grad(const InputView& x, const Targets<T>& y, std::span<T> gradient, GradientMode mode = {},
                       const KeepGoing& keep_going = {});

  // Computes the Hessian of that loss times `direction`, exactly but for rounding (Pearlmutter 1994). `direction` and
  // `product` are laid out as Model::parameter_block(); elements of parameters that are not trained are neither read nor
  // set. Functions without a second derivative, such as relu at 0 and l1, count as straight lines.
  void hessian_vector_product(const InputView& x, const Targets<T>& y, std::span<const T> direction,
                              std::span<T> product, GradientMode mode = {}, const KeepGoing& keep_going = {});

  // Returns loss (regularisation included) and accuracy in inference mode. Writes to `losses` (n), unless it is empty, the
  // loss of each sample, times its weight where weights are given, without regularisation; if it throws, they may have
  // changed.
  Metrics evaluate(const InputView& x, const Targets<T>& y, const KeepGoing& keep_going = {},
                   std::span<double> losses = {});
  // Writes these losses alone.
  void losses(const InputView& x, const Targets<T>& y, std::span<double> out, const KeepGoing& keep_going = {});

  // Sets the learning rate or schedule from the next update on; t goes on counting.
  void set_learning_rate(LearningRate learning_rate);
  // These set the penalties and the limits of the gradient of TrainerConfig, from the next update on.
  void set_penalties(double l1, double l2);
  void set_clipping(std::optional<double> clip_norm, std::optional<double> clip_value);

  // `state` returns a copy of what training carries on. `set_state` puts such a copy into a trainer of the same
  // configuration; it throws ValueError for a state of another configuration and changes nothing then.
  TrainingState<T> state() const;
  void set_state(const TrainingState<T>& state);

  // The moving average of the parameters, laid out as Model::parameter_block(); empty without `ema`.
  std::span<T> ema_block();
  // Puts the average into the model and sets the parameters aside, or puts the parameters back. While the model holds the
  // average, predict and evaluate use it, and training, which needs the parameters, throws ValueError. Running statistics
  // are not averaged.
  void swap_ema();

  // Writes a checkpoint, also within a fit, from its functions. A failed or interrupted save leaves the old file as it was.
  // Throws FileError.
  void save_checkpoint(const std::filesystem::path& path, const CheckpointExtras& extras = {},
                       const KeepGoing& keep_going = {}) const;
  // Puts the model, the training and the learning rate, penalties and limits of a checkpoint in place of this trainer's.
  // Throws what read_checkpoint throws, and CheckpointError for the checkpoint of another network or other settings; nothing
  // is changed then. A learning rate that is a function stays as it is.
  void load_checkpoint(const std::filesystem::path& path, const KeepGoing& keep_going = {});
  void load_checkpoint(const Checkpoint<T>& checkpoint);

  // While a process of several works alone, evaluate and losses do not wait for the others, and fit and step throw ValueError.
  void work_alone(bool alone);

  // A checksum of all that training carries on, to compare processes or moments.
  std::uint64_t fingerprint() const;

  const History& history() const;  // of the newest fit, also while it runs and if it threw
  const Model<T>& model() const;
  Index epoch() const;  // epochs completed
  Index steps() const;  // updates made
  const TrainerConfig& config() const;

 private:
  friend struct TrainerAccess;
  struct STOOP_PRIVATE Impl;
  std::unique_ptr<Impl> impl_;
};

// Scales the gradients of all trainers, between `backward` and `apply`, down to an L2 norm of `max_norm` of all of them
// together, and returns that norm as it was. They are without penalties; `apply` adds these. Throws NonFiniteLossError for a
// gradient that is not finite and ValueError for a max_norm that is not positive, and changes nothing then.
using AnyTrainer = std::variant<Trainer<float>*, Trainer<double>*>;
STOOP_API double clip_grad_norm(std::span<const AnyTrainer> trainers, double max_norm);
inline double clip_grad_norm(std::initializer_list<AnyTrainer> trainers, double max_norm) {
  return clip_grad_norm(std::span(trainers.begin(), trainers.size()), max_norm);
}

extern template class Trainer<float>;
extern template class Trainer<double>;

}  // namespace stoop
