// A safetensors file read as a whole, for tests: the library reads each tensor where it is wanted.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <stoop/error.hpp>

#include "io/safetensors.hpp"

namespace stoop {

struct LoadedTensor {
  std::string name;
  DType dtype = DType::float32;
  std::vector<Index> shape;
  std::vector<std::byte> data;
};

struct LoadedFile {
  std::vector<LoadedTensor> tensors;
  std::map<std::string, std::string> metadata;
  std::filesystem::path path;

  const LoadedTensor& tensor(const std::string& name) const {
    for (const LoadedTensor& candidate : tensors) {
      if (candidate.name == name) return candidate;
    }
    throw_checkpoint_error(path.string(), "there is no tensor " + in_quotes(name), "expected it", "look at the file");
  }
};

inline LoadedFile load_tensors(const std::filesystem::path& path) {
  const TensorFile file(path);
  LoadedFile loaded{.tensors = {}, .metadata = file.metadata(), .path = path};
  for (const TensorEntry& entry : file.tensors()) {
    std::vector<std::byte> data(static_cast<std::size_t>(entry.end - entry.begin));
    file.read(entry, data.data());
    loaded.tensors.push_back({entry.name, file.dtype(entry), entry.shape, std::move(data)});
  }
  return loaded;
}

}  // namespace stoop
