// Trainer<T>: runs whole epochs of mini-batch training inside the core. One trainer drives one model.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <stoop/error.hpp>
#include <stoop/losses.hpp>
#include <stoop/model.hpp>
#include <stoop/optimizers.hpp>

namespace stoop {

// Of the arithmetic. float32: that of the model's elements, which float64 also is for a Trainer<double>. bfloat16, of a
// Trainer<float> on CPUs with AVX512-BF16 or AMX-BF16: what enters the matrix products of fit, step and loss_and_grad is
// rounded to bfloat16, while their sums, the parameters, the gradients and everything else stay float32. Evaluation, also
// that of validation data, and second derivatives are computed in float32.
enum class Precision { float32, float64, bfloat16 };
STOOP_API std::string_view name_of(Precision precision);
STOOP_API Precision precision_from_name(std::string_view name, std::string_view where = "precision");

struct TrainerConfig {
  Loss loss = SoftmaxCrossEntropy{};
  Optimizer optimizer = Adam{};
  // Of the weights of Dense, unless the layer has its own: adds l1 * sum|weight| and l2/2 * sum(weight^2) to the loss.
  double l1 = 0.0;
  double l2 = 0.0;
  // Of the gradient, these terms included: each element is cut to [-clip_value, clip_value], then all parameters
  // together are scaled down to an L2 norm of clip_norm (Pascanu, Mikolov & Bengio 2013, algorithm 1).
  std::optional<double> clip_norm{};
  std::optional<double> clip_value{};
  // After an update the incoming weights of each unit are scaled down to this L2 norm (Srivastava et al. 2014).
  std::optional<double> max_norm{};
  Index accumulate = 1;  // batches whose gradients make one update, the same as a batch of all their samples
  // A moving average of the parameters is kept: average = ema*average + (1-ema)*parameters after each update, from
  // the first parameters on (Polyak & Juditsky 1992, exponentially weighted).
  std::optional<double> ema{};
  Precision precision = Precision::float32;
  int num_threads = 0;     // 0: chosen from the work of a step, at most get_num_threads()
  std::uint64_t seed = 0;  // of the shuffling and of dropout
};

// What the outputs are compared with: class indices or a matrix of values, whichever the loss takes.
template <class T>
struct Targets {
  Targets() = default;
  Targets(std::span<const std::int32_t> y) : classes(y) {}
  Targets(const std::vector<std::int32_t>& y) : classes(y) {}
  Targets(MatrixView<const T> y) : values(y), has_values(true) {}

  std::span<const std::int32_t> classes;  // (n_samples)
  MatrixView<const T> values;             // (n_samples, n_outputs)
  bool has_values = false;
  std::span<const T> weights;  // (n_samples), >= 0; empty: every sample counts alike
};

// The weighted mean loss, and the share of samples (for binary labels: of labels) predicted right; NaN for other losses.
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
  std::vector<double> loss, accuracy, val_loss, val_accuracy, learning_rate, grad_norm, samples_per_second;
  bool interrupted = false;  // a callback asked to stop
};

// Where the running epoch is.
struct Progress {
  Index epoch = 0;
  Index samples_done = 0;
  Index samples = 0;
};

// What becomes of the samples that do not fill a last batch.
enum class LastBatch {
  keep,   // a smaller batch; with a BatchNorm one of a single sample joins the batch before it
  drop,   // left out of the epoch; with `shuffle` others each time
  merge,  // joins the batch before it, which then has up to 2 * batch_size - 1 samples
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
  // Called after each epoch; false ends the fit. May call this trainer, also to train, and change the parameters of the
  // model: the next epoch goes on from there. ValueError if the model then has other layers or holds the average.
  std::function<bool(const EpochResult&)> on_epoch{};
  // Called on the calling thread at a step boundary at most every 50 ms; false stops after that step. Must neither
  // throw nor call this trainer.
  std::function<bool(const Progress&)> on_progress{};
  // Asked while the data are checked, when false throws Interrupted, and during the validation, when it ends the fit: the
  // epoch stays in the history with a val_loss and val_accuracy of NaN.
  KeepGoing keep_going{};
};

// How the layers behave that differ between training and inference, where a gradient is asked for.
struct GradientMode {
  bool training = true;  // BatchNorm uses the statistics of the batch, else the running ones
  bool dropout = false;  // Dropout drops, with the mask of the update that would come next
};

// What training carries from one update to the next, beside the configurations of model and trainer: with these it goes on
// to the same bits, for all else (shuffling, dropout, schedules) is a function of seed, epoch and step. Arrays are laid
// out as Model::parameter_block() but for `buffers`, as Model::buffer_block().
template <class T>
struct TrainingState {
  std::vector<Index> shapes;  // rows and columns of each parameter in turn: says of which network the arrays are
  std::vector<T> parameters;
  std::vector<T> buffers;
  std::vector<std::vector<T>> optimizer;  // what it accumulates; for LBFGS pairs of step and change, the oldest first
  std::vector<T> average;                 // with ema; the parameters themselves while `swapped`
  bool swapped = false;                   // the model holds the average
  Index epoch = 0;
  Index steps = 0;
};

template <class T>
class STOOP_API Trainer {
 public:
  // Keeps a reference to `model`, which must outlive it.
  explicit Trainer(Model<T>& model, TrainerConfig config = {});
  Trainer(Trainer&&) noexcept;
  ~Trainer();

  // Trains on x (n, input_dim) and y in mini-batches. Goes on from where it is. Like `step`, sets Model::config().output
  // by its loss, unless it was given.
  // With LBFGS and NewtonCG an epoch is one iteration on all samples, batch_size must be at least their number, and
  // `learning_rate` of the result is the length of the step taken.
  // Throws ValueError / TypeError before anything is changed, NonFiniteLossError with the last good parameters kept.
  History fit(const InputView& x, const Targets<T>& y, const FitOptions<T>& options = {});

  // One update on this batch; returns the loss before it (regularisation included). Interrupted: without the update.
  double step(const InputView& x, const Targets<T>& y, const KeepGoing& keep_going = {});

  // The loss of this batch and its gradient, laid out as Model::parameter_block(); nothing is updated, running
  // statistics included. An empty gradient asks for the loss alone. A loss that is infinite or NaN is returned, with a
  // gradient of NaN; it is NaN as well where statistics of a batch overflow.
  double loss_and_grad(const InputView& x, const Targets<T>& y, std::span<T> gradient, GradientMode mode = {},
                       const KeepGoing& keep_going = {});

  // The Hessian of that loss times `direction`, both laid out as Model::parameter_block(), exact but for rounding
  // (Pearlmutter 1994); elements of parameters that are not trained are neither read nor set. What has no second
  // derivative, like relu at 0 and l1, counts as straight.
  void hessian_vector_product(const InputView& x, const Targets<T>& y, std::span<const T> direction,
                              std::span<T> product, GradientMode mode = {}, const KeepGoing& keep_going = {});

  // Loss (regularisation included) and accuracy in inference mode.
  Metrics evaluate(const InputView& x, const Targets<T>& y, const KeepGoing& keep_going = {});

  // The learning rate or schedule from the next update on; t goes on counting.
  void set_learning_rate(LearningRate learning_rate);
  // The penalties, and the limits of the gradient, of TrainerConfig from the next update of `step` or epoch of `fit` on.
  void set_penalties(double l1, double l2);
  void set_clipping(std::optional<double> clip_norm, std::optional<double> clip_value);

  // A copy of what training carries on, and a trainer of the same configuration that goes on from one. ValueError for a
  // state of another configuration; nothing is changed then.
  TrainingState<T> state() const;
  void set_state(const TrainingState<T>& state);

  // The moving average of the parameters, laid out as Model::parameter_block(); empty without `ema`.
  std::span<T> ema_block();
  // Puts the average into the model and the parameters aside, or back: predict and evaluate then use it. Training
  // needs the parameters themselves and throws ValueError meanwhile. Running statistics are not averaged.
  void swap_ema();

  const Model<T>& model() const;
  Index epoch() const;  // epochs completed
  Index steps() const;  // updates made
  const TrainerConfig& config() const;

 private:
  struct STOOP_PRIVATE Impl;
  std::unique_ptr<Impl> impl_;
};

extern template class Trainer<float>;
extern template class Trainer<double>;

}  // namespace stoop
