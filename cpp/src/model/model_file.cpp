// Saves and loads a model as a safetensors file: one tensor per parameter, the architecture as JSON under "stoop.model".

#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <stoop/error.hpp>
#include <stoop/model.hpp>

#include "../io/asking.hpp"
#include "../io/config_json.hpp"
#include "../io/safetensors.hpp"
#include "../graph/graph.hpp"
#include "model_file.hpp"

namespace stoop {
namespace {

constexpr const char* kModelKey = "stoop.model";
constexpr const char* kFormatKey = "stoop.format";
constexpr const char* kFormat = "1";

std::vector<Index> shape_of(const ParameterInfo& info) {
  if (info.rank == 1) return {info.cols};
  return {info.rows, info.cols};
}

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& given, const std::string& expected) {
  throw_checkpoint_error("load_model", path.string() + " " + given, expected, "save the model again with Model.save");
}

ModelConfig config_of(const TensorFile& file) {
  const auto format = file.metadata().find(kFormatKey);
  const auto config = file.metadata().find(kModelKey);
  if (format == file.metadata().end() || config == file.metadata().end()) {
    refuse(file.path(), "has no stoop architecture in its metadata", "expected a file written by Model.save");
  }
  if (format->second != kFormat) {
    refuse(file.path(), "has format " + in_quotes(format->second), std::string("expected format ") + kFormat);
  }
  try {
    return model_config_from_json(config->second);
  } catch (const std::invalid_argument& error) {
    refuse(file.path(), std::string("has an architecture that cannot be built: ") + error.what(),
           "expected layers this version knows");
  }
}

using TensorsByName = std::unordered_map<std::string_view, const TensorEntry*>;

const TensorEntry& find(const TensorsByName& tensors, const std::string& name, const std::filesystem::path& path) {
  const auto found = tensors.find(name);
  if (found != tensors.end()) return *found->second;
  throw_checkpoint_error(path.string(), "there is no tensor " + in_quotes(name),
                         "expected it among the " + std::to_string(tensors.size()) + " of the file",
                         "check that the file was written for this architecture");
}

bool is_of_training(const TensorFile& file, const TensorEntry& tensor) {
  return tensor.name.starts_with(kTrainingPrefix) && file.metadata().contains(kTrainingKey);
}

// Checks that the tensors of the file, but for those of a training, are those of the architecture.
TensorsByName check_tensors(const TensorFile& file, const Graph& graph, DType dtype) {
  const std::size_t expected = graph.parameters.size() + graph.buffers.size();
  TensorsByName tensors;
  for (const TensorEntry& tensor : file.tensors()) {
    if (is_of_training(file, tensor)) continue;
    tensors.emplace(tensor.name, &tensor);
    if (file.dtype(tensor) != dtype) refuse(file.path(), "holds float32 and float64", "expected one of the two");
  }
  if (tensors.size() != expected) {
    refuse(file.path(), "has " + std::to_string(tensors.size()) + " tensors", "expected " + std::to_string(expected));
  }
  for (const auto* block : {&graph.parameters, &graph.buffers}) {
    for (const GraphParameter& parameter : *block) {
      const ParameterInfo& info = parameter.info;
      if (find(tensors, info.name, file.path()).shape == shape_of(info)) continue;
      refuse(file.path(), "has a " + info.name + " of another shape", "expected its layer's");
    }
  }
  return tensors;
}

template <class T>
void read_values(const TensorFile& file, const TensorsByName& tensors, const std::vector<ParameterInfo>& infos,
                 T* block) {
  for (const ParameterInfo& info : infos) file.read(find(tensors, info.name, file.path()), block + info.offset);
}

// Returns the dtype of the first tensor. The check of the shapes also checks that all tensors have this dtype.
DType dtype_of(const TensorFile& file) {
  if (file.tensors().empty()) refuse(file.path(), "holds no tensors", "expected a file written by Model.save");
  return file.dtype(file.tensors().front());
}

template <class T>
void check_dtype(const TensorFile& file) {
  if (dtype_of(file) == kDType<T>) return;
  const bool single = kDType<T> == DType::float32;
  throw_type_error("load_model", file.path().string() + " holds " + (single ? "float64" : "float32"),
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

template <class T>
void Model<T>::save(const std::filesystem::path& path, const KeepGoing& keep_going) const {
  const Asking asking(keep_going, "Model.save");
  save_tensors(path, tensors_of(*this), metadata_of(config()));
}

template <class T>
Model<T> read_model(const TensorFile& file) try {
  ModelConfig config = config_of(file);
  check_dtype<T>(file);
  const TensorsByName tensors =  // checked before memory is allocated, since a damaged file may ask for any amount
      check_tensors(file, build_graph(config, 1), kDType<T>);
  const std::optional<OutputKind> output = std::exchange(config.output, std::nullopt);
  Model<T> model = Model<T>::without_values(std::move(config));
  if (output) model.set_output_by_training(*output);  // training may set it anew, for another loss
  read_values(file, tensors, model.parameter_infos(), model.parameter_block().data());
  read_values(file, tensors, model.buffer_infos(), model.buffer_block().data());
  return model;
} catch (const ValueError& error) {
  refuse(file.path(), std::string("has an architecture that cannot be built: ") + error.what(),
         "expected valid layers");
}

template <class T>
Model<T> Model<T>::load(const std::filesystem::path& path, const KeepGoing& keep_going) {
  const Asking asking(keep_going, "load_model");
  return read_model<T>(TensorFile(path));
}

std::variant<Model<float>, Model<double>> load_model(const std::filesystem::path& path, const KeepGoing& keep_going) {
  const Asking asking(keep_going, "load_model");
  const TensorFile file(path);
  if (dtype_of(file) == DType::float32) return read_model<float>(file);
  return read_model<double>(file);
}

DType file_dtype(const std::filesystem::path& path) { return dtype_of(TensorFile(path)); }

template void Model<float>::save(const std::filesystem::path&, const KeepGoing&) const;
template void Model<double>::save(const std::filesystem::path&, const KeepGoing&) const;
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
