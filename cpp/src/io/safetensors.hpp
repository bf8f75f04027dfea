// Reading and writing safetensors files: 8-byte little-endian header length, JSON header, data.
// A file is written beside its target, flushed to disk and renamed over it, so a failed save leaves the old file.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <stoop/types.hpp>

namespace stoop {

struct TensorToSave {
  std::string name;
  DType dtype = DType::float32;
  std::vector<Index> shape;
  const void* data = nullptr;  // contiguous
};

// Data starts on a multiple of 64 bytes. A link is followed, a file that is replaced keeps its mode, and what a killed
// save of this file has left is removed. Throws FileError.
void save_tensors(const std::filesystem::path& path, std::span<const TensorToSave> tensors,
                  const std::map<std::string, std::string>& metadata);

struct LoadedTensor {
  std::string name;
  DType dtype = DType::float32;
  std::vector<Index> shape;
  std::vector<std::byte> data;
};

struct TensorFile {
  std::vector<LoadedTensor> tensors;
  std::map<std::string, std::string> metadata;
  // Throws CheckpointError naming the file when there is none of that name.
  const LoadedTensor& tensor(const std::string& name) const;
  std::filesystem::path path;
};

enum class Contents { header, all };

// Of the header alone the tensors have no data. Throws FileError when it cannot be read, CheckpointError when it is not a whole safetensors file
// (truncated, sizes that disagree, overlapping or out-of-range tensors, a header that is no JSON, an unknown dtype).
TensorFile load_tensors(const std::filesystem::path& path, Contents contents = Contents::all);

}  // namespace stoop
