// Reads and writes safetensors files: 8-byte little-endian header length, JSON header, data.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <stoop/types.hpp>

#include "config_json.hpp"
#include "file.hpp"

namespace stoop::inline v0_1 {

struct TensorToSave {
  std::string name;
  DType dtype = DType::float32;
  std::vector<Index> shape;
  const void* data = nullptr;  // contiguous
};

// Writes a file. Data starts on a multiple of 64 bytes. The file is written beside its target and replaces it as a whole
// (replacement.hpp), so a failed save leaves the old one. A reader lets a file cost memory by its size, so it becomes as large
// as the values of the texts need, and `memory` bytes more that the reader counts. Throws FileError, and ValueError for what
// no reader would take.
void save_tensors(const std::filesystem::path& path, std::span<const TensorToSave> tensors,
                  const std::map<std::string, std::string>& metadata, std::size_t memory = 0);
// The same with a checksum of all names, metadata and data among the metadata.
void save_tensors_checked(const std::filesystem::path& path, std::span<const TensorToSave> tensors,
                          std::map<std::string, std::string> metadata, std::size_t memory = 0);

// An open file whose header has been read and checked: the tensors cover its data without gap or overlap, and have the
// sizes that their shapes say. Data is read on request, into the caller's memory.
class TensorFile {
 public:
  // Throws FileError if the file cannot be read, and CheckpointError if it is not a whole safetensors file (truncated, sizes
  // that disagree, overlapping or out-of-range tensors, a header that is no JSON, an unknown dtype).
  explicit TensorFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  std::string name() const { return file_.name(); }                            // the path for messages
  const std::vector<TensorEntry>& tensors() const { return header_.tensors; }  // in the order of their bytes
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  DType dtype(const TensorEntry& tensor) const;
  // The memory that the values of its texts, and what is made of them, may still take.
  std::size_t* memory_of_texts() const { return &memory_of_texts_; }
  // Subtracts from it, or returns false if there is not so much.
  bool take_memory(std::size_t bytes) const {
    const bool is_there = bytes <= memory_of_texts_;
    memory_of_texts_ -= is_there ? bytes : 0;
    return is_there;
  }
  // Reads the whole file and compares it with its checksum. Throws CheckpointError if it is another, or if there is none.
  void check_sum() const;
  // Reads all bytes of the tensor.
  void read(const TensorEntry& tensor, void* data) const;

 private:
  File file_;
  TensorHeader header_;
  Index data_ = 0;  // position of the data in the file
  mutable std::size_t memory_of_texts_;
};

}  // namespace stoop
