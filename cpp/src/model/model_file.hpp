// The model within a safetensors file, for files that hold more than a model.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <stoop/model.hpp>

#include "../io/safetensors.hpp"

namespace stoop {

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

// Throws CheckpointError for a file without a model, and TypeError for a model of another element type.
template <class T>
Model<T> read_model(const TensorFile& file);

}  // namespace stoop
