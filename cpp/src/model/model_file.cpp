// A model as a safetensors file: one tensor per parameter, the architecture as JSON under "stoop.model".

#include <cstring>

#include <stoop/error.hpp>
#include <stoop/model.hpp>

#include "../io/asking.hpp"
#include "../io/config_json.hpp"
#include "../io/safetensors.hpp"
#include "../plan/graph.hpp"

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
  const auto format = file.metadata.find(kFormatKey);
  const auto config = file.metadata.find(kModelKey);
  if (format == file.metadata.end() || config == file.metadata.end()) {
    refuse(file.path, "has no stoop architecture in its metadata", "expected a file written by Model.save");
  }
  if (format->second != kFormat) {
    refuse(file.path, "has format " + format->second, std::string("expected format ") + kFormat);
  }
  try {
    return model_config_from_json(config->second);
  } catch (const std::invalid_argument& error) {
    refuse(file.path, std::string("has an architecture that cannot be built: ") + error.what(),
           "expected layers this version knows");
  }
}

// The tensors of the file are those of the architecture.
void check_shapes(const TensorFile& file, const Graph& graph) {
  const std::size_t expected = graph.parameters.size() + graph.buffers.size();
  if (file.tensors.size() != expected) {
    refuse(file.path, "has " + std::to_string(file.tensors.size()) + " tensors",
           "expected " + std::to_string(expected));
  }
  for (const auto* block : {&graph.parameters, &graph.buffers}) {
    for (const GraphParameter& parameter : *block) {
      const ParameterInfo& info = parameter.info;
      if (file.tensor(info.name).shape == shape_of(info)) continue;
      refuse(file.path, "has a " + info.name + " of another shape", "expected its layer's");
    }
  }
}

template <class T>
void copy_values(const TensorFile& file, const std::vector<ParameterInfo>& infos, T* block) {
  for (const ParameterInfo& info : infos) {
    const LoadedTensor& tensor = file.tensor(info.name);
    if (tensor.dtype != kDType<T>) {
      throw_type_error(
          "load_model", file.path.string() + " holds " + (kDType<T> == DType::float32 ? "float64" : "float32"),
          kDType<T> == DType::float32 ? "expected float32" : "expected float64", "load it as a model of its own dtype");
    }
    std::memcpy(block + info.offset, tensor.data.data(), tensor.data.size());
  }
}

}  // namespace

template <class T>
void Model<T>::save(const std::filesystem::path& path, const KeepGoing& keep_going) const {
  const Asking asking(keep_going, "Model.save");
  std::vector<TensorToSave> tensors;
  for (const ParameterInfo& info : parameter_infos()) {
    tensors.push_back({info.name, kDType<T>, shape_of(info), parameter_block().data() + info.offset});
  }
  for (const ParameterInfo& info : buffer_infos()) {
    tensors.push_back({info.name, kDType<T>, shape_of(info), buffer_block().data() + info.offset});
  }
  save_tensors(path, tensors, {{kFormatKey, kFormat}, {kModelKey, to_json(config())}});
}

template <class T>
Model<T> Model<T>::load(const std::filesystem::path& path, const KeepGoing& keep_going) {
  const Asking asking(keep_going, "load_model");
  const TensorFile file = load_tensors(path);
  Model model = [&] {
    try {
      ModelConfig config = config_of(file);
      check_shapes(file, build_graph(config, 1));  // before memory is taken for what a damaged file may ask for
      return without_values(std::move(config));
    } catch (const ValueError& error) {
      refuse(path, std::string("has an architecture that cannot be built: ") + error.what(), "expected valid layers");
    }
  }();
  copy_values(file, model.parameter_infos(), model.parameter_block().data());
  copy_values(file, model.buffer_infos(), model.buffer_block().data());
  return model;
}

DType file_dtype(const std::filesystem::path& path) {
  const TensorFile file = load_tensors(path, Contents::header);
  if (file.tensors.empty()) refuse(path, "holds no tensors", "expected a file written by Model.save");
  return file.tensors.front().dtype;
}

template void Model<float>::save(const std::filesystem::path&, const KeepGoing&) const;
template void Model<double>::save(const std::filesystem::path&, const KeepGoing&) const;
template Model<float> Model<float>::load(const std::filesystem::path&, const KeepGoing&);
template Model<double> Model<double>::load(const std::filesystem::path&, const KeepGoing&);

}  // namespace stoop
