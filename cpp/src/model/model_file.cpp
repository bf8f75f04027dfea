// Saves and loads a model as a safetensors file: one tensor per parameter, the architecture as JSON under "stoop.model".

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include <stoop/error.hpp>
#include <stoop/model.hpp>

#include "../io/asking.hpp"
#include "../io/config_json.hpp"
#include "../io/safetensors.hpp"
#include "../graph/graph.hpp"
#include "model_file.hpp"

namespace stoop::inline v0_1 {
namespace {

std::vector<Index> shape_of(const ParameterInfo& info) {
  if (info.rank == 1) return {info.cols};
  if (info.rank == 3) return {info.members, info.rows / info.members, info.cols};
  return {info.rows, info.cols};
}

ModelConfig config_of(const FilePart& part) {
  const std::map<std::string, std::string>& metadata = part.file.metadata();
  const auto format = metadata.find(kFormatKey), config = metadata.find(part.key);
  if (metadata.contains(kEnsembleKey) && part.prefix.empty()) {
    throw_checkpoint_error(part.where, part.file.name() + " holds an ensemble", "expected one model",
                           "read it with load_ensemble");
  }
  if (format == metadata.end() || config == metadata.end()) {
    refuse(part, "has no stoop architecture in its metadata", std::string("expected a file written by ") + part.writer);
  }
  if (format->second != kFormat) {
    refuse(part, "has format " + in_quotes(format->second), std::string("expected format ") + kFormat);
  }
  try {
    ModelConfig found = model_config_from_json(config->second, part.file.memory_of_texts());
    if (!part.file.take_memory(memory_of_metadata(found))) {
      refuse(part, "has metadata of very many values", "expected fewer in a file of its size");
    }
    return found;
  } catch (const std::invalid_argument& error) {
    refuse(part, std::string("has an architecture that cannot be built: ") + error.what(),
           "expected layers this version knows");
  }
}

// `name` is that in the model.
const TensorEntry& find(const FilePart& part, const std::string& name) {
  if (const TensorEntry* found = part.tensors.find(part.prefix + name)) return *found;
  throw_checkpoint_error(part.file.name(), "there is no tensor " + in_quotes(part.prefix + name),
                         "expected it among the " + std::to_string(part.tensors.size()) + " of the file",
                         "check that the file was written for this architecture");
}

bool is_of_training(const TensorFile& file, const TensorEntry& tensor) {
  return tensor.name.starts_with(kTrainingPrefix) && file.metadata().contains(kTrainingKey);
}

// Each column of X has a weight or a statistic of its own. This comes before anything is made for each column. Few columns cost
// nothing, and what else is wrong with their file says more.
template <class T>
void check_input_dim(const FilePart& part, Index input_dim) {
  const Index elements = part.file.tensors().back().end / static_cast<Index>(sizeof(T));
  constexpr Index kFew = 1024;
  if (input_dim <= std::max(elements, kFew)) return;
  refuse(part, "has an architecture for " + std::to_string(input_dim) + " columns of X",
         "expected at most one for each of its " + std::to_string(elements) + " numbers");
}

// Checks that the tensors of the architecture are there. This comes before memory is allocated for them, since a damaged file
// may ask for any amount.
void check_tensors(const FilePart& part, const ModelConfig& config) {
  const Graph graph = build_graph(config, 1);
  const std::size_t expected = graph.parameters.size() + graph.buffers.size();
  if (part.prefix.empty() && part.tensors.size() != expected) {
    refuse(part, "has " + std::to_string(part.tensors.size()) + " tensors", "expected " + std::to_string(expected));
  }
  for (const auto* block : {&graph.parameters, &graph.buffers}) {
    for (const GraphParameter& parameter : *block) {
      if (find(part, parameter.info.name).shape == shape_of(parameter.info)) continue;
      refuse(part, "has a " + part.prefix + parameter.info.name + " of another shape", "expected its layer's");
    }
  }
}

template <class T>
void read_values(const FilePart& part, const std::vector<ParameterInfo>& infos, T* block) {
  for (const ParameterInfo& info : infos) part.file.read(find(part, info.name), block + info.offset);
}

template <class T>
void check_dtype(const FilePart& part) {
  if (dtype_of(part) == kDType<T>) return;
  const bool single = kDType<T> == DType::float32;
  throw_type_error(part.where, part.file.name() + " holds " + (single ? "float64" : "float32"),
                   single ? "expected float32" : "expected float64", "load it as a model of its own dtype");
}

}  // namespace

template <class T>
void add_tensors(std::vector<TensorToSave>& tensors, const std::string& prefix, const std::vector<ParameterInfo>& infos,
                 const T* block) {
  for (const ParameterInfo& info : infos) {
    tensors.push_back({prefix + info.name, kDType<T>, shape_of(info), block + info.offset});
  }
}

template <class T>
std::vector<TensorToSave> tensors_of(const Model<T>& model) {
  std::vector<TensorToSave> tensors;
  add_tensors(tensors, "", model.parameter_infos(), model.parameter_block().data());
  add_tensors(tensors, "", model.buffer_infos(), model.buffer_block().data());
  return tensors;
}

std::map<std::string, std::string> metadata_of(const ModelConfig& config) {
  return {{kFormatKey, kFormat}, {kModelKey, to_json(config)}};
}

std::size_t memory_of_metadata(const ModelConfig& config) {
  std::size_t memory = 0;
  for (const auto& [name, text] : config.metadata) memory += memory_in_python(text);
  return memory;
}

template <class T>
void Model<T>::save(const std::filesystem::path& path, const KeepGoing& keep_going) const {
  const Asking asking(keep_going, "Model.save");
  const ModelConfig config = config_now();
  save_tensors(path, tensors_of(*this), metadata_of(config), memory_of_metadata(config));
}

void refuse(const FilePart& part, const std::string& given, const std::string& expected) {
  throw_checkpoint_error(part.where, part.file.name() + " " + given, expected,
                         std::string("save it again with ") + part.writer);
}

DType dtype_of(const FilePart& part) {
  if (part.file.tensors().empty()) {
    refuse(part, "holds no tensors", std::string("expected a file written by ") + part.writer);
  }
  return part.file.dtype(part.file.tensors().front());
}

TensorsByName tensors_by_name(const FilePart& part) {
  const TensorFile& file = part.file;
  const DType dtype = dtype_of(part);
  TensorsByName tensors;
  for (const TensorEntry& tensor : file.tensors()) {
    if (is_of_training(file, tensor)) continue;
    tensors.add(tensor);
    if (file.dtype(tensor) != dtype) refuse(part, "holds float32 and float64", "expected one of the two");
  }
  tensors.sort();
  return tensors;
}

void TensorsByName::sort() {
  std::sort(sorted_.begin(), sorted_.end(), [](const auto* a, const auto* b) { return a->name < b->name; });
}

const TensorEntry* TensorsByName::find(std::string_view name) const {
  const auto found = std::lower_bound(sorted_.begin(), sorted_.end(), name,
                                      [](const auto* entry, std::string_view wanted) { return entry->name < wanted; });
  return found == sorted_.end() || (*found)->name != name ? nullptr : *found;
}

template <class T>
Model<T> read_part(const FilePart& part) try {
  ModelConfig config = config_of(part);
  check_dtype<T>(part);
  check_input_dim<T>(part, config.input_dim);
  check_tensors(part, config);
  const std::optional<OutputKind> output = std::exchange(config.output, std::nullopt);
  Model<T> model = Model<T>::without_values(std::move(config));
  if (output) model.set_output_by_training(*output);  // training may set it anew, for another loss
  read_values(part, model.parameter_infos(), model.parameter_block().data());
  read_values(part, model.buffer_infos(), model.buffer_block().data());
  return model;
} catch (const ValueError& error) {
  refuse(part, std::string("has an architecture that cannot be built: ") + error.what(), "expected valid layers");
}

template <class T>
Model<T> read_model(const TensorFile& file) {
  TensorsByName tensors;
  const FilePart whole{file, tensors};
  tensors = tensors_by_name(whole);
  return read_part<T>(whole);
}

template <class T>
Model<T> Model<T>::load(const std::filesystem::path& path, const KeepGoing& keep_going) {
  const Asking asking(keep_going, "load_model");
  return read_model<T>(TensorFile(path));
}

std::variant<Model<float>, Model<double>> load_model(const std::filesystem::path& path, const KeepGoing& keep_going) {
  const Asking asking(keep_going, "load_model");
  const TensorFile file(path);
  if (dtype_of(FilePart{file, {}}) == DType::float32) return read_model<float>(file);
  return read_model<double>(file);
}

DType file_dtype(const std::filesystem::path& path) {
  const TensorFile file(path);
  return dtype_of(FilePart{file, {}});
}

template void Model<float>::save(const std::filesystem::path&, const KeepGoing&) const;
template void Model<double>::save(const std::filesystem::path&, const KeepGoing&) const;
template Model<float> read_part(const FilePart&);
template Model<double> read_part(const FilePart&);
template Model<float> read_model(const TensorFile&);
template Model<double> read_model(const TensorFile&);
template std::vector<TensorToSave> tensors_of(const Model<float>&);
template std::vector<TensorToSave> tensors_of(const Model<double>&);
template void add_tensors(std::vector<TensorToSave>&, const std::string&, const std::vector<ParameterInfo>&,
                          const float*);
template void add_tensors(std::vector<TensorToSave>&, const std::string&, const std::vector<ParameterInfo>&,
                          const double*);
template Model<float> Model<float>::load(const std::filesystem::path&, const KeepGoing&);
template Model<double> Model<double>::load(const std::filesystem::path&, const KeepGoing&);

}  // namespace stoop
