#include "checkpoint_file.hpp"

#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include <stoop/error.hpp>
#include <stoop/runtime.hpp>

#include "../base/path_text.hpp"
#include "../io/asking.hpp"
#include "../io/config_json.hpp"
#include "../io/safetensors.hpp"
#include "../model/model_file.hpp"
#include "../spec/schedules.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr const char* kExtrasKey = "stoop.extras";
const std::string kAverage = std::string(kTrainingPrefix) + "average.";
const std::string kOptimizer = std::string(kTrainingPrefix) + "optimizer.";
const std::string kExtra = std::string(kTrainingPrefix) + "extra.";

std::string optimizer_prefix(Index array) { return kOptimizer + std::to_string(array) + "."; }

// A configuration that a file can hold: a learning rate that is a function becomes 0.
std::pair<TrainerConfig, bool> writable(TrainerConfig config) {
  if (!schedules::has_functions(schedule_of(config.optimizer))) return {std::move(config), false};
  set_learning_rate(config.optimizer, 0.0);
  return {std::move(config), true};
}

// Without the settings that may change while a trainer lives, and without the threads, which change no bits.
TrainerConfig fixed_settings(TrainerConfig config) {
  set_learning_rate(config.optimizer, 0.0);
  config.l1 = config.l2 = 0.0;
  config.clip_norm = config.clip_value = std::nullopt;
  config.num_threads = 0;
  return config;
}

template <class T>
CheckpointInfo info_of(const TrainerCore<T>& core, Index optimizer_arrays) {
  CheckpointInfo info;
  info.library = build_info().version;
  std::tie(info.trainer, info.has_custom_rate) = writable(core.config);
  info.optimizer_arrays = optimizer_arrays;
  info.swapped = core.state.swapped;
  info.epoch = core.state.epoch;
  info.steps = core.state.steps;
  info.place = core.cursor;
  info.fit = core.fit;
  info.history = core.history;
  return info;
}

// The tensors of the training in a file, by name.
class TrainingTensors {
 public:
  explicit TrainingTensors(const TensorFile& file) : file_(file) {
    for (const TensorEntry& entry : file.tensors()) {
      if (entry.name.starts_with(kTrainingPrefix)) by_name_.add(entry);
    }
    by_name_.sort();
  }

  const TensorEntry& find(const std::string& name) const {
    if (const TensorEntry* found = by_name_.find(name)) return *found;
    throw_checkpoint_error(file_.name(), "there is no tensor " + in_quotes(name), "expected it in a checkpoint",
                           "save the checkpoint again");
  }

 private:
  const TensorFile& file_;
  TensorsByName by_name_;
};

// Reads an array that is laid out as the parameters.
template <class T>
std::vector<T> read_block(const TensorFile& file, const TrainingTensors& tensors, const std::string& prefix,
                          const Model<T>& model) {
  std::vector<T> block(model.parameter_block().size());
  for (const ParameterInfo& info : model.parameter_infos()) {
    const TensorEntry& entry = tensors.find(prefix + info.name);
    const bool fits = entry.end - entry.begin == info.rows * info.cols * static_cast<Index>(sizeof(T));
    if (file.dtype(entry) != kDType<T> || !fits) {
      throw_checkpoint_error(file.name(), "tensor " + in_quotes(entry.name) + " has another size or dtype",
                             "expected that of its parameter", "save the checkpoint again");
    }
    file.read(entry, block.data() + info.offset);
  }
  return block;
}

CheckpointArray read_extra(const TensorFile& file, const TensorEntry& entry) {
  CheckpointArray array{entry.name.substr(kExtra.size()), file.dtype(entry), entry.shape, {}};
  array.bytes.resize(static_cast<std::size_t>(entry.end - entry.begin));
  file.read(entry, array.bytes.data());
  return array;
}

CheckpointInfo read_info(const TensorFile& file) try {
  const auto text = file.metadata().find(kTrainingKey);
  if (text == file.metadata().end()) {
    throw_checkpoint_error(file.name(), "the file holds no training", "expected a checkpoint",
                           "load_model loads a model that was saved alone");
  }
  return checkpoint_info_from_json(text->second, file.memory_of_texts());
} catch (const std::invalid_argument& error) {
  throw_checkpoint_error(file.name(), std::string("its training cannot be read: ") + error.what(),
                         "expected one of this version of Stoop or an earlier one", "save the checkpoint again");
}

template <class T>
TrainingState<T> read_state(const TensorFile& file, const CheckpointInfo& info, const Model<T>& model) {
  TrainingState<T> state;
  state.shapes = shapes_of(model);
  state.parameters.assign(model.parameter_block().begin(), model.parameter_block().end());
  state.buffers.assign(model.buffer_block().begin(), model.buffer_block().end());
  const TrainingTensors tensors(file);
  for (Index i = 0; i < info.optimizer_arrays; ++i) {
    state.optimizer.push_back(read_block(file, tensors, optimizer_prefix(i), model));
  }
  if (info.trainer.ema) state.average = read_block(file, tensors, kAverage, model);
  state.swapped = info.swapped;
  state.epoch = info.epoch;
  state.steps = info.steps;
  state.place = info.place;
  state.fit = info.fit;
  return state;
}

}  // namespace

template <class T>
void Trainer<T>::save_checkpoint(const std::filesystem::path& path, const CheckpointExtras& extras,
                                 const KeepGoing& keep_going) const {
  const Asking asking(keep_going, "Trainer.save_checkpoint");
  const TrainerCore<T>& core = *impl_;
  const std::vector<ParameterInfo>& infos = core.model.parameter_infos();
  std::vector<TensorToSave> tensors = tensors_of(core.model);
  const std::vector<std::span<const T>> arrays = core.optimizer_arrays();
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    add_tensors(tensors, optimizer_prefix(static_cast<Index>(i)), infos, arrays[i].data());
  }
  if (core.config.ema) add_tensors(tensors, kAverage, infos, core.state.average.data());
  for (const CheckpointArray& array : extras.arrays) {
    if (!array.bytes.empty()) tensors.push_back({kExtra + array.name, array.dtype, array.shape, array.bytes.data()});
  }
  const ModelConfig config = core.model.config_now();
  std::map<std::string, std::string> metadata = metadata_of(config);
  metadata[kTrainingKey] = to_json(info_of(core, static_cast<Index>(arrays.size())));
  if (!extras.text.empty()) metadata[kExtrasKey] = extras.text;
  const std::size_t memory = memory_of_metadata(config) + memory_in_python(extras.text);
  save_tensors_checked(path, tensors, std::move(metadata), memory);
}

template <class T>
Checkpoint<T> read_checkpoint(const std::filesystem::path& path, const KeepGoing& keep_going) {
  const Asking asking(keep_going, "load_checkpoint");
  const TensorFile file(path);
  CheckpointInfo info = read_info(file);
  file.check_sum();
  const Model<T> model = read_model<T>(file);
  Checkpoint<T> checkpoint{
      path, model.config(), info.trainer, info.has_custom_rate, read_state(file, info, model), std::move(info.history),
      {}};
  if (const auto text = file.metadata().find(kExtrasKey); text != file.metadata().end()) {
    if (!file.take_memory(memory_in_python(text->second))) {
      throw_checkpoint_error(path_text(path), "what a program kept in it has very many values",
                             "expected fewer in a file of its size", "save the checkpoint again");
    }
    checkpoint.extras.text = text->second;
  }
  for (const TensorEntry& entry : file.tensors()) {
    if (entry.name.starts_with(kExtra)) checkpoint.extras.arrays.push_back(read_extra(file, entry));
  }
  return checkpoint;
}

template <class T>
void put_into(TrainerCore<T>& core, const Checkpoint<T>& checkpoint) {
  const std::string path = path_text(checkpoint.path);
  const ModelConfig own = core.model.config_now();
  const ModelConfig& written = checkpoint.model;
  if (written.layers != own.layers || written.input_dim != own.input_dim || written.input_scale != own.input_scale ||
      written.input_shift != own.input_shift) {
    throw_checkpoint_error(path, "it was made for a model of other layers, input_dim or input_scale",
                           "expected those of this trainer's model", "stoop.load_checkpoint makes model and trainer");
  }
  const std::string difference =
      first_difference(fixed_settings(checkpoint.trainer), fixed_settings(writable(core.config).first));
  if (!difference.empty()) {
    throw_checkpoint_error(path, "it was made with other settings of the trainer, " + difference,
                           "expected those of this trainer, which come second", "make the trainer as it was made then");
  }
  if (own.classes && written.classes != own.classes) {
    throw_checkpoint_error(path, "its classes have other names than those of the model", "expected the same names",
                           "give the labels that it was written with");
  }
  if (checkpoint.has_custom_rate && !schedules::has_functions(schedule_of(core.config.optimizer))) {
    throw_checkpoint_error(path, "its learning rate is a function", "expected a trainer with that function",
                           "make the trainer as it was made then");
  }
  TrainerConfig next = core.config;
  if (!checkpoint.has_custom_rate) set_learning_rate(next.optimizer, schedule_of(checkpoint.trainer.optimizer));
  next.l1 = checkpoint.trainer.l1;
  next.l2 = checkpoint.trainer.l2;
  next.clip_norm = checkpoint.trainer.clip_norm;
  next.clip_value = checkpoint.trainer.clip_value;
  History history = checkpoint.history;  // what needs memory comes before anything is changed
  std::optional<ClassNames> classes = written.classes;
  Metadata metadata = written.metadata, own_metadata = own.metadata;
  const bool is_named = own.classes.has_value();
  const auto undo = [&] {
    if (!is_named) core.model.set_classes(std::nullopt);
    core.model.set_metadata(std::move(own_metadata));
  };
  try {
    core.check_settings(next);
    if (!is_named) core.model.set_classes(std::move(classes));
    core.model.set_metadata(std::move(metadata));
    core.set_state(path, checkpoint.state);
  } catch (const ValueError& error) {
    undo();
    throw CheckpointError(error.what());
  } catch (...) {
    undo();
    throw;
  }
  core.config = std::move(next);
  ++core.settings_version;
  core.history = std::move(history);
  if (written.output) core.model.set_output_by_training(*written.output);
}

namespace {

template <class T>
void check_no_fit_runs(const TrainerCore<T>& core) {
  if (core.fits_running == 0) return;
  throw_value_error("Trainer.load_checkpoint", "a fit of this trainer is running", "expected none",
                    "load it before the fit, or end the fit first");
}

}  // namespace

template <class T>
void Trainer<T>::load_checkpoint(const std::filesystem::path& path, const KeepGoing& keep_going) {
  check_no_fit_runs(*impl_);
  impl_->bind_model("Trainer.load_checkpoint");
  put_into<T>(*impl_, read_checkpoint<T>(path, keep_going));
}

template <class T>
void Trainer<T>::load_checkpoint(const Checkpoint<T>& checkpoint) {
  check_no_fit_runs(*impl_);
  impl_->bind_model("Trainer.load_checkpoint");
  put_into<T>(*impl_, checkpoint);
}

template Checkpoint<float> read_checkpoint(const std::filesystem::path&, const KeepGoing&);
template Checkpoint<double> read_checkpoint(const std::filesystem::path&, const KeepGoing&);
template void put_into(TrainerCore<float>&, const Checkpoint<float>&);
template void put_into(TrainerCore<double>&, const Checkpoint<double>&);
template void Trainer<float>::save_checkpoint(const std::filesystem::path&, const CheckpointExtras&,
                                              const KeepGoing&) const;
template void Trainer<double>::save_checkpoint(const std::filesystem::path&, const CheckpointExtras&,
                                               const KeepGoing&) const;
template void Trainer<float>::load_checkpoint(const std::filesystem::path&, const KeepGoing&);
template void Trainer<double>::load_checkpoint(const std::filesystem::path&, const KeepGoing&);
template void Trainer<float>::load_checkpoint(const Checkpoint<float>&);
template void Trainer<double>::load_checkpoint(const Checkpoint<double>&);

}  // namespace stoop
