// Trainers in the C interface.
#include <algorithm>
#include <span>
#include <string>

#include <stoop/trainer.hpp>

#include "../base/path_text.hpp"
#include "../io/arguments.hpp"
#include "guard.hpp"

namespace stoop::c {
namespace {

// The data of a call.
struct Samples {
  MatrixView<const float> x;
  Targets<float> y;
};

Samples samples_of(const char* where, const stoop_trainer& handle, const float* x, std::int64_t rows,
                   const std::int32_t* classes, const float* values) {
  const MatrixView<const float> inputs = matrix_of(where, "x", x, rows, handle.model->input_dim());
  if ((classes == nullptr) == (values == nullptr)) {
    throw_value_error(where, classes == nullptr ? "classes and values are NULL" : "classes and values are given",
                      "expected one of them", "give classes to losses of classes, values to the others");
  }
  if (classes != nullptr) return {inputs, std::span(classes, static_cast<std::size_t>(rows))};
  return {inputs, matrix_of(where, "values", values, rows, handle.target_columns)};
}

// The samples from row `first` up to, but not including, row `last`.
Samples rows_of(const Samples& samples, Index first, Index last) {
  Samples part{{samples.x.data + first * samples.x.cols, last - first, samples.x.cols, samples.x.cols}, {}};
  if (!samples.y.has_values) {
    part.y = samples.y.classes.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first));
  } else {
    const MatrixView<const float>& y = samples.y.values;
    part.y = MatrixView<const float>{y.data + first * y.cols, last - first, y.cols, y.cols};
  }
  return part;
}

// How many samples are trained on; the others, at the end, are for validation.
Index kept_rows(const FitArguments& arguments, Index rows) {
  const double share = arguments.validation_split;
  if (share == 0.0) return rows;
  const std::string given = "validation_split is " + number_text(share);
  if (!(share > 0.0 && share < 1.0)) {
    throw_value_error("stoop_trainer_fit", given, "expected 0 <= validation_split < 1",
                      "0.2 keeps the last fifth of x");
  }
  const Index kept = rows - static_cast<Index>(static_cast<double>(rows) * share);
  if (kept <= 0 || kept >= rows) {
    throw_value_error("stoop_trainer_fit", given + " for " + std::to_string(rows) + " samples",
                      "expected at least one sample in both parts", "change it");
  }
  return kept;
}

void fit(stoop_trainer& handle, const Samples& samples, const FitArguments& arguments) {
  Index kept = kept_rows(arguments, samples.x.rows);
  FitOptions<float> options;
  if (kept < samples.x.rows) {
    const Samples validation = rows_of(samples, kept, samples.x.rows);
    options.validation_x = validation.x;
    options.validation_y = validation.y;
  }
  if (arguments.overfit_batches) {
    if (*arguments.overfit_batches < 1) {
      throw_value_error("stoop_trainer_fit", "overfit_batches is " + std::to_string(*arguments.overfit_batches),
                        "expected at least 1", "leave it out to train on all batches");
    }
    if (*arguments.overfit_batches <= kept / std::max<Index>(arguments.batch_size, 1)) {
      kept = *arguments.overfit_batches * arguments.batch_size;
    }
  }
  options.epochs = arguments.epochs;
  options.batch_size = arguments.batch_size;
  options.shuffle = arguments.shuffle;
  options.last_batch = arguments.last_batch;
  options.validation_freq = arguments.validation_freq;
  if (arguments.max_time) options.max_seconds = arguments.max_time->value;
  if (arguments.resume) options.resume = stoop::path_of(*arguments.resume);
  options.rollback = handle.rollback;
  const Samples training = rows_of(samples, 0, kept);
  handle.trainer.fit(training.x, training.y, options);
}

}  // namespace
}  // namespace stoop::c

using namespace stoop::c;

extern "C" {

stoop_trainer* stoop_trainer_create(stoop_model* model, const char* config_json) {
  stoop_trainer* made = nullptr;
  guarded([&] {
    require("stoop_trainer_create", "model", model, "make one with stoop_model_create or stoop_model_load");
    const auto arguments = stoop::trainer_arguments_from_json(config_json == nullptr ? "{}" : config_json);
    const stoop::LossKind loss = stoop::kind_of(arguments.config.loss);
    made = new stoop_trainer{model->model, stoop::Trainer<float>(*model->model, arguments.config), arguments.rollback,
                             stoop::target_columns(loss, model->model->output_dim())};
  });
  return made;
}

int stoop_trainer_fit(stoop_trainer* trainer, const float* x, int64_t rows, const int32_t* classes, const float* values,
                      const char* options_json) {
  return guarded([&] {
    const InUse in_use("stoop_trainer_fit", trainer);
    const auto arguments = stoop::fit_arguments_from_json(options_json == nullptr ? "{}" : options_json);
    fit(*trainer, samples_of("stoop_trainer_fit", *trainer, x, rows, classes, values), arguments);
  });
}

int stoop_trainer_step(stoop_trainer* trainer, const float* x, int64_t rows, const int32_t* classes,
                       const float* values, double* loss) {
  return guarded([&] {
    const InUse in_use("stoop_trainer_step", trainer);
    const Samples batch = samples_of("stoop_trainer_step", *trainer, x, rows, classes, values);
    const double before = trainer->trainer.step(batch.x, batch.y);
    if (loss != nullptr) *loss = before;
  });
}

int stoop_trainer_evaluate(stoop_trainer* trainer, const float* x, int64_t rows, const int32_t* classes,
                           const float* values, double* loss, double* accuracy) {
  return guarded([&] {
    const InUse in_use("stoop_trainer_evaluate", trainer);
    const Samples samples = samples_of("stoop_trainer_evaluate", *trainer, x, rows, classes, values);
    const stoop::Metrics metrics = trainer->trainer.evaluate(samples.x, samples.y);
    if (loss != nullptr) *loss = metrics.loss;
    if (accuracy != nullptr) *accuracy = metrics.accuracy;
  });
}

int stoop_trainer_save_checkpoint(const stoop_trainer* trainer, const char* path) {
  return guarded([&] {
    const InUse in_use("stoop_trainer_save_checkpoint", trainer);
    require("stoop_trainer_save_checkpoint", "path", path, "give the path of the file to write");
    trainer->trainer.save_checkpoint(stoop::path_of(path));
  });
}

int stoop_trainer_load_checkpoint(stoop_trainer* trainer, const char* path) {
  return guarded([&] {
    const InUse in_use("stoop_trainer_load_checkpoint", trainer);
    require("stoop_trainer_load_checkpoint", "path", path, "give the path of a checkpoint");
    trainer->trainer.load_checkpoint(stoop::path_of(path));
  });
}

void stoop_trainer_free(stoop_trainer* trainer) { delete trainer; }

}  // extern "C"
