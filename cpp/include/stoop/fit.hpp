// What Trainer<T>::fit takes beside the samples, and what it gives back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <stoop/augment_settings.hpp>
#include <stoop/error.hpp>
#include <stoop/input.hpp>
#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

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
  // In place of `weights`, (n_samples, n_outputs) as `values`: a weight, or a mask of 0 and 1, for each target. The loss is
  // then sum(weight * loss of the element) / sum(weight). Losses of whole rows (softmax cross-entropy) take none.
  MatrixView<const T> element_weights;
  // A value may be NaN where its weight is 0: it is absent.
};

// The weighted mean loss, and the share of samples that are predicted right (for binary labels, the share of labels). The
// accuracy is NaN for losses of values. It is not weighted, but where there are weights of elements, or absent targets, those
// of weight 0 do not count.
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

// Why a fit ended.
enum class StopReason {
  epochs,       // all of them are done
  max_time,     // its time was over
  interrupted,  // on_progress or keep_going said no
  callback,     // on_begin, on_steps or on_epoch returned false
};
STOOP_API std::string_view name_of(StopReason reason);

// One value per epoch in each column.
struct History {
  std::vector<Index> epochs;  // 0-based, counted over all calls of fit
  std::vector<double> loss, accuracy, val_loss, val_accuracy, learning_rate, grad_norm, samples_per_second;
  StopReason stop_reason = StopReason::epochs;
};

// How far the running epoch has come.
struct Progress {
  Index epoch = 0;
  Index samples_done = 0;
  Index samples = 0;
};

// What on_progress wants to happen.
enum class Next {
  go_on,
  look,  // on_steps is called as soon as the running update is made
  stop,  // the fit ends then
};

// What is known after some updates. The sums are over the samples of the epoch so far.
struct StepsResult {
  Index epoch = 0;        // 0-based, as in EpochResult
  Index steps = 0;        // updates made by the trainer
  double loss_sum = 0.0;  // of the losses times their weights, regularisation included
  double weight_sum = 0.0;
  double learning_rate = 0.0;  // of the last update
};

// What happens to the samples at the end of an epoch that do not fill a batch.
enum class LastBatch {
  keep,   // They make a smaller batch. With a BatchNorm, a single sample joins the batch before it.
  drop,   // They are left out of the epoch; with `shuffle` these are other samples each time.
  merge,  // They join the batch before them, which then has up to 2 * batch_size - 1 samples.
};
STOOP_API std::string_view name_of(LastBatch last_batch);
STOOP_API LastBatch last_batch_from_name(std::string_view name, std::string_view where = "last_batch");

template <class T>
struct Checkpoint;

// The functions below are called on the thread that called `fit`, between two updates. They may call this trainer, also to
// train, change its settings and the parameters of the model: the next update goes on from there. The fit throws ValueError
// if the model then has other layers or holds the average.
template <class T>
struct FitOptions {
  Index epochs = 1;  // with `resume` counted from the start of the fit that wrote the checkpoint
  Index batch_size = 128;
  bool shuffle = true;
  LastBatch last_batch = LastBatch::keep;
  // Each sample is changed at random as it is gathered; validation data are not. Not with LBFGS and NewtonCG.
  std::optional<Augment> augment{};
  std::optional<InputView> validation_x{};
  Targets<T> validation_y{};
  Index validation_freq = 1;  // The validation data are evaluated after every so many epochs of the fit.
  // The fit ends after the update that is running when this time is over.
  double max_seconds = std::numeric_limits<double>::infinity();
  // A checkpoint. If the file is there, the fit that wrote it goes on: it ends with the bits of a fit that was never
  // interrupted. If it is not there, the fit starts. CheckpointError or ValueError say what does not fit.
  std::filesystem::path resume{};
  // False: no copy is kept of the parameters at the start of an epoch, which takes the memory of the parameters once more,
  // and of what the optimizer holds where that is small. After NonFiniteLossError they may then be NaN, or not be those of
  // an update.
  bool rollback = true;
  // True: l1 and l2 are divided by the samples of each update, or by the sum of their weights. A last batch of fewer samples
  // then has a larger penalty. Not with LBFGS and NewtonCG, nor with several processes.
  bool penalty_per_sample = false;

  // Is called once, when everything is checked and the state is that of the start, with the checkpoint that is resumed or
  // null. False ends the fit.
  std::function<bool(const Checkpoint<T>*)> on_begin{};
  // Returns after how many updates on_steps is called, 0 for never. Asked after on_begin and after each on_steps.
  std::function<Index()> next_steps{};
  // Is called after so many updates, at the end of an epoch if next_steps did not return 0, and where on_progress returned
  // Next::look; if it returns false, the fit ends. With LBFGS and NewtonCG it is called after on_epoch.
  std::function<bool(const StepsResult&)> on_steps{};
  // Is called after each epoch, whose row is in Trainer::history by then; if it returns false, the fit ends.
  std::function<bool(const EpochResult&)> on_epoch{};
  // Is called at most every 50 ms. It must neither throw nor call this trainer.
  std::function<Next(const Progress&)> on_progress{};
  // Is asked while the data are checked, where false throws Interrupted, and during validation, where false ends the fit.
  // The epoch then stays in the history with a val_loss and val_accuracy of NaN. It must neither throw nor call this trainer.
  KeepGoing keep_going{};
};

}  // namespace stoop
