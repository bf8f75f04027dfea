// What Python's Model, Trainer and Trainer.fit are told, as far as a text can hold it, with the names and defaults of Python.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <stoop/fit.hpp>
#include <stoop/model.hpp>
#include <stoop/trainer_config.hpp>

namespace stoop::inline v0_1 {

struct ModelArguments {
  ModelConfig config;
  std::string dtype = "float32";
};

struct TrainerArguments {
  TrainerConfig config;
  bool rollback = true;
};

// A time in seconds, or as text such as "1h30m".
struct Seconds {
  double value = 0.0;
};

struct FitArguments {
  Index epochs = 10;
  Index batch_size = 128;
  double validation_split = 0.0;
  Index validation_freq = 1;
  bool shuffle = true;
  LastBatch last_batch = LastBatch::keep;
  std::optional<Seconds> max_time{};
  std::optional<std::string> resume{};
  std::optional<Index> overfit_batches{};
};

// ValueError: unknown names, wrong types, missing keys; for a model another dtype than float32. Ranges are checked where the
// values are used.
ModelConfig model_arguments_from_json(std::string_view text);
TrainerArguments trainer_arguments_from_json(std::string_view text);
FitArguments fit_arguments_from_json(std::string_view text);

}  // namespace stoop
