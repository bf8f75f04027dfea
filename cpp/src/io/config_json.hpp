// Layers, losses and optimizers as JSON text, and the header of a safetensors file. Only config_json.cpp knows JSON and
// includes nlohmann/json.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <stoop/checkpoint.hpp>
#include <stoop/model.hpp>
#include <stoop/trainer_config.hpp>

namespace stoop::inline v0_1 {

// {"input_dim": 4, "seed": 0, "layers": [{"type": "dense", "units": 8, "activation": "relu",
//  "use_bias": null, "kernel_init": null, "bias_init": "zeros"}, {"type": "leaky_relu", "negative_slope": 0.01}]}
// Any layer may have "trainable": false.
// An activation with parameters is an object: {"type": "leaky_relu", "negative_slope": 0.2}; so is an initialiser
// with one: {"type": "normal", "value": 0.1}.
std::string to_json(const ModelConfig& config);
// One of its layers. What a Residual holds is left out: its "layers" are [].
std::string layer_to_json(const Layer& layer);
// ValueError: unknown names, wrong types, missing keys, and values that take more memory than is left, if that is given. What
// they take is subtracted from it.
ModelConfig model_config_from_json(std::string_view text, std::size_t* memory_left = nullptr);

// {"loss": "mse", "optimizer": {"type": "adam", "learning_rate": 0.001, ...}, "l1": 0.0, "l2": 0.0, "clip_norm": null,
//  "clip_value": null, "max_norm": null, "accumulate": 1, "ema": null, "num_threads": 0, "seed": 0}
// loss and optimizer may be a name or an object with "type"; learning_rate is a number or an object like
// {"type": "cosine", "lr": 0.001, "end": 0.0, "steps": 1000, "per": "step"}. One that is a function throws ValueError.
std::string to_json(const TrainerConfig& config);

// Functions for the schedules that hold no other: the first for the first of these in the text, and so on. A text cannot hold
// functions.
using RateFunctions = std::vector<std::optional<schedules::Custom>>;

TrainerConfig trainer_config_from_json(std::string_view text, const RateFunctions& functions = {});
Optimizer optimizer_from_json(std::string_view text, const RateFunctions& functions = {});
// The learning rate alone, or nothing if it is a function, which no text can hold.
std::optional<std::string> learning_rate_to_json(const Optimizer& optimizer);
// A number or an object.
LearningRate learning_rate_from_json(std::string_view text, const RateFunctions& functions = {});
// A name ("mse", with or without JSON quotes) or a JSON object with "type".
Loss loss_from_json(std::string_view text);

// What a checkpoint says beside its model and its tensors.
struct CheckpointInfo {
  Index version = 1;    // of this text and of the names of the tensors
  std::string library;  // the version of Stoop that wrote it
  TrainerConfig trainer;
  bool has_custom_rate = false;
  Index optimizer_arrays = 0;
  bool swapped = false;
  Index epoch = 0;
  Index steps = 0;
  EpochPlace place;
  FitRecord fit;
  History history;
};
std::string to_json(const CheckpointInfo& info);
// ValueError: as for the configuration of a model, and a version later than CheckpointInfo::version.
CheckpointInfo checkpoint_info_from_json(std::string_view text, std::size_t* memory_left = nullptr);
// Returns the first key with different values in the two, as `key: value, value`, or an empty text.
std::string first_difference(const TrainerConfig& one, const TrainerConfig& other);

struct TensorEntry {
  std::string name;
  std::string dtype;  // "F32" or "F64"
  std::vector<Index> shape;
  Index begin = 0;  // bytes from the end of the header
  Index end = 0;
};

struct TensorHeader {
  std::vector<TensorEntry> tensors;
  std::map<std::string, std::string> metadata;
};

std::string to_json(const TensorHeader& header);
// Returns what readers count for the values of a text that is JSON. Another text has a number too: one of a reader that goes
// on to the place where the text is no JSON.
std::size_t memory_of_values(std::string_view text);
// Returns what they count where Python reads the text, whose values take an eighth more.
inline std::size_t memory_in_python(std::string_view text) {
  const std::size_t memory = memory_of_values(text);
  return memory + memory / 8;
}
// Gives the next bytes of a text, at most as many as requested, and 0 at its end.
using ReadBytes = std::function<std::size_t(char* into, std::size_t most)>;

// Tensors come in the order of their bytes. Throws CheckpointError, whose message opens with `where`, for damaged JSON, a name
// that is given twice, missing or unknown keys, and wrong types. safetensors.cpp checks whether the numbers make sense.
// `memory` is what the values of one tensor or of the metadata may take beside their text.
TensorHeader tensor_header_from_json(ReadBytes bytes, const std::string& where, std::size_t memory);
TensorHeader tensor_header_from_json(std::string_view text, const std::string& where = "safetensors header",
                                     std::optional<std::size_t> memory = std::nullopt);

}  // namespace stoop
