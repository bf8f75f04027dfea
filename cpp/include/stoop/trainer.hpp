// Trainer<T>: runs whole epochs of mini-batch training inside the core. One trainer drives one model.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include <stoop/error.hpp>
#include <stoop/losses.hpp>
#include <stoop/model.hpp>
#include <stoop/optimizers.hpp>

namespace stoop {

// The precision of training. float32, or float64 for a Trainer<double>, computes in the element type of the model.
// bfloat16, for a Trainer<float> on CPUs with AVX512-BF16 or AMX-BF16, rounds the factors of the matrix products of fit,
// step and loss_and_grad to bfloat16. Their sums, the parameters, the gradients and everything else stay float32.
// Evaluation (of validation data too) and second derivatives are computed in float32.
enum class Precision { float32, float64, bfloat16 };
STOOP_API std::string_view name_of(Precision precision);
STOOP_API Precision precision_from_name(std::string_view name, std::string_view where = "precision");

struct TrainerConfig {
  Loss loss = SoftmaxCrossEntropy{};
  Optimizer optimizer = Adam{};
  // Penalties of the weights of Dense layers: l1 * sum|weight| and l2/2 * sum(weight^2) are added to the loss. A layer may
  // have its own.
  double l1 = 0.0;
  double l2 = 0.0;
  // Limits of the gradient, which includes the penalties. Each element is cut to [-clip_value, clip_value]. Then the
  // gradient of all parameters together is scaled down to an L2 norm of clip_norm (Pascanu, Mikolov & Bengio 2013,
  // algorithm 1).
  std::optional<double> clip_norm{};
  std::optional<double> clip_value{};
  // After an update the incoming weights of each unit are scaled down to this L2 norm (Srivastava et al. 2014).
  std::optional<double> max_norm{};
  Index accumulate = 1;  // number of batches whose gradients make one update, as one batch of all their samples would
  // A moving average of the parameters is kept: average = ema*average + (1-ema)*parameters after each update, from
  // the first parameters on (Polyak & Juditsky 1992, exponentially weighted).
  std::optional<double> ema{};
  Precision precision = Precision::float32;
  int num_threads = 0;     // 0: chosen from the work of a step, at most get_num_threads()
  std::uint64_t seed = 0;  // for shuffling and dropout
};

// The targets of training: class indices or a matrix of values, whichever the loss takes.
template <class T>
struct Targets {
  Targets() = default;
  Targets(std::span<const std::int32_t> y) : classes(y) {}
  Targets(const std::vector<std::int32_t>& y) : classes(y) {}
  Targets(MatrixView<const T> y) : values(y), has_values(true) {}

  std::span<const std::int32_t> classes;  // (n_samples)
  MatrixView<const T> values;             // (n_samples, n_outputs)
  bool has_values = false;
  std::span<const T> weights;  // (n_samples), >= 0; if empty, all samples have the same weight
};

// The weighted mean loss, and the share of samples that are predicted right (for binary labels, the share of labels). The
// accuracy is NaN for losses of values.
struct Metrics {
  double loss = 0.0;
  double accuracy = 0.0;
};

struct EpochResult {
  Index epoch = 0;    // 0-based, counted over all calls of fit
  double loss = 0.0;  // mean of the objective seen by each update, before that update
  double accuracy = 0.0;
  double val_loss = 0.0;  // NaN without validation data
  double val_accuracy = 0.0;
  double learning_rate = 0.0;  // of the last update
  double grad_norm = 0.0;      // mean over the updates of the global L2 norm of the gradient, before clip_norm
  double seconds = 0.0;        // of the training pass
  double samples_per_second = 0.0;
};

// One value per epoch in each column.
struct History {
  std::vector<Index> epochs;  // 0-based, counted over all calls of fit
  std::vector<double> loss, accuracy, val_loss, val_accuracy, learning_rate, grad_norm, samples_per_second;
  bool interrupted = false;  // a callback asked to stop
};

// How far the running epoch has come.
struct Progress {
  Index epoch = 0;
  Index samples_done = 0;
  Index samples = 0;
};

// What happens to the samples at the end of an epoch that do not fill a batch.
enum class LastBatch {
  keep,   // They make a smaller batch. With a BatchNorm, a single sample joins the batch before it.
  drop,   // They are left out of the epoch; with `shuffle` these are other samples each time.
  merge,  // They join the batch before them, which then has up to 2 * batch_size - 1 samples.
};
STOOP_API LastBatch last_batch_from_name(std::string_view name, std::string_view where = "last_batch");

template <class T>
struct FitOptions {
  Index epochs = 1;
  Index batch_size = 128;
  bool shuffle = true;
  LastBatch last_batch = LastBatch::keep;
  std::optional<InputView> validation_x{};
  Targets<T> validation_y{};
  // Gets the rows as they come, each before on_epoch is called; has them also where `fit` throws.
  History* history = nullptr;
  // Is called after each epoch; if it returns false, the fit ends. It may call this trainer, also to train, and change the
  // parameters of the model: the next epoch goes on from there. The fit throws ValueError if the model then has other
  // layers or holds the average.
  std::function<bool(const EpochResult&)> on_epoch{};
  // Is called on the calling thread between two steps, at most every 50 ms; if it returns false, the fit stops after that
  // step. It must neither throw nor call this trainer.
  std::function<bool(const Progress&)> on_progress{};
  // Is asked while the data are checked, where false throws Interrupted, and during validation, where false ends the fit.
  // The epoch then stays in the history with a val_loss and val_accuracy of NaN.
  KeepGoing keep_going{};
};

// How BatchNorm and Dropout behave while a gradient is computed.
struct GradientMode {
  bool training = true;  // true: BatchNorm uses the statistics of the batch; false: the running statistics
  bool dropout = false;  // true: Dropout drops, with the mask of the next update
};

// Everything that training carries from one update to the next, apart from the configurations of model and trainer.
// Training goes on from it to the same bits, since all else (shuffling, dropout, schedules) is a function of seed, epoch
// and step. Arrays are laid out as Model::parameter_block(), and `buffers` as Model::buffer_block().
template <class T>
struct TrainingState {
  std::vector<Index> shapes;  // rows and columns of each parameter in turn, which show for which network the arrays are
  std::vector<T> parameters;
  std::vector<T> buffers;
  std::vector<std::vector<T>> optimizer;  // what it accumulates; for LBFGS pairs of step and change, the oldest first
  std::vector<T> average;                 // with ema; the parameters themselves while `swapped`
  bool swapped = false;                   // the model holds the average
  Index epoch = 0;
  Index steps = 0;
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
  explicit Trainer(Model<T>& model, TrainerConfig config = {});
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

  // Returns loss (regularisation included) and accuracy in inference mode.
  Metrics evaluate(const InputView& x, const Targets<T>& y, const KeepGoing& keep_going = {});

  // Sets the learning rate or schedule from the next update on; t goes on counting.
  void set_learning_rate(LearningRate learning_rate);
  // These set the penalties and the limits of the gradient of TrainerConfig, from the next update of `step` or epoch of
  // `fit` on.
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

  const Model<T>& model() const;
  Index epoch() const;  // epochs completed
  Index steps() const;  // updates made
  const TrainerConfig& config() const;

 private:
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
