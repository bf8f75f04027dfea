// The model within a safetensors file, for files that hold more than a model.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <stoop/model.hpp>

#include "../io/safetensors.hpp"

namespace stoop::inline v0_1 {

// Tensors whose name begins with this are not the model's, in a file that has the key kTrainingKey.
inline constexpr const char* kTrainingPrefix = "training.";
inline constexpr const char* kTrainingKey = "stoop.training";

// Names an array that is laid out as a block of the model: one tensor for each of `infos`, with `prefix` before its name.
template <class T>
void add_tensors(std::vector<TensorToSave>& tensors, const std::string& prefix, const std::vector<ParameterInfo>& infos,
                 const T* block);

// The parameters and running statistics, and the metadata of a model file.
template <class T>
std::vector<TensorToSave> tensors_of(const Model<T>& model);
std::map<std::string, std::string> metadata_of(const ModelConfig& config);
// What a program takes that reads the texts of Model::metadata as JSON. Readers count it.
std::size_t memory_of_metadata(const ModelConfig& config);

// Keys of the metadata: the architecture of a model, the number of members of an ensemble, the version of both.
inline constexpr const char* kModelKey = "stoop.model";
inline constexpr const char* kEnsembleKey = "stoop.ensemble";
inline constexpr const char* kFormatKey = "stoop.format";
inline constexpr const char* kFormat = "1";

// Tensors of a file by name. A search takes as many steps as their number has digits, whatever they are called: for a table of
// hashes a file could have names that collide.
class TensorsByName {
 public:
  void add(const TensorEntry& tensor) { sorted_.push_back(&tensor); }
  void sort();  // before the first search
  std::size_t size() const { return sorted_.size(); }
  const TensorEntry* find(std::string_view name) const;  // or nullptr

 private:
  std::vector<const TensorEntry*> sorted_;
};

// A model in a file: alone, or as a member of an ensemble.
struct FilePart {
  const TensorFile& file;
  const TensorsByName& tensors;
  std::string key = kModelKey;  // of its architecture, among the metadata
  std::string prefix{};         // of the names of its tensors
  const char* where = "load_model";
  const char* writer = "Model.save";
};

// The tensors without those of a training. Throws CheckpointError if the file holds float32 and float64.
TensorsByName tensors_by_name(const FilePart& part);

// Throws CheckpointError for a file without this part, and TypeError for a model of another element type.
template <class T>
Model<T> read_part(const FilePart& part);

// Reads a file that holds one model.
template <class T>
Model<T> read_model(const TensorFile& file);

// Throws CheckpointError.
[[noreturn]] void refuse(const FilePart& part, const std::string& given, const std::string& expected);

// Returns the dtype of the first tensor, which is that of all.
DType dtype_of(const FilePart& part);

}  // namespace stoop
