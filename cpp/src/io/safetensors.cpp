// Everything that a file says is checked against the size of the file before it is used, so that a damaged or hostile file
// leads to an error and takes no memory. The whole header is read and checked before any data is read.
#include "safetensors.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include <stoop/error.hpp>

#include "../base/crc32.hpp"
#include "replacement.hpp"

namespace stoop::inline v0_1 {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian and is read without swapping");

constexpr Index kDataAlignment = 64;  // bytes; each tensor in a file begins on a multiple
constexpr Index kLengthBytes = 8;
constexpr const char* kChecksumKey = "stoop.checksum";
constexpr Index kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation

struct DTypeInfo {
  const char* name;
  Index bytes;
};
constexpr std::array kDTypes = {DTypeInfo{"F32", 4}, DTypeInfo{"F64", 8}};  // in the order of DType

const DTypeInfo& info_of(DType dtype) { return kDTypes[static_cast<std::size_t>(dtype)]; }

// Returns the bytes of a tensor, or nothing if a dimension is negative or the product does not fit.
std::optional<Index> byte_count(const std::vector<Index>& shape, Index element_bytes) {
  Index bytes = element_bytes;
  for (const Index size : shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  }
  return bytes;
}

// ---- the header ----

TensorHeader layout_of(std::span<const TensorToSave> tensors, const std::map<std::string, std::string>& metadata) {
  TensorHeader header{.tensors = {}, .metadata = metadata};
  Index position = 0;
  for (const TensorToSave& tensor : tensors) {
    const std::optional<Index> bytes = byte_count(tensor.shape, info_of(tensor.dtype).bytes);
    Index end = 0;
    if (!bytes || __builtin_add_overflow(position, *bytes, &end)) {
      throw_value_error("save", "the shape of " + in_quotes(tensor.name) + " is negative or too large",
                        "expected sizes of at least 0 that fit into memory", "check the shape");
    }
    header.tensors.push_back({tensor.name, info_of(tensor.dtype).name, tensor.shape, position, end});
    position = end;
  }
  return header;
}

// A reader takes texts whose values take this much memory. A layer without parameters, with all that is made of it, takes 464
// bytes, so there may be one for each 66 bytes of the file, and 1000 in any case. Most layers have tensors, which need more
// room in the file than their texts take memory.
constexpr std::size_t kMemoryOfAnyFile = std::size_t{1} << 19, kMemoryOfAByte = 7;

std::size_t memory_of_texts_in(Index file_bytes) {
  return kMemoryOfAnyFile + kMemoryOfAByte * static_cast<std::size_t>(file_bytes);
}

// Returns how large a file must be for a reader to take these texts, and what takes `memory` besides.
Index bytes_for_texts(const std::map<std::string, std::string>& metadata, std::size_t memory, Index file_bytes) {
  constexpr std::size_t kMostOfAByte = 128;  // more than any text takes for each of its bytes
  std::size_t bytes = 0;
  for (const auto& [key, text] : metadata) bytes += text.size();
  if (memory + kMostOfAByte * bytes <= memory_of_texts_in(file_bytes)) return file_bytes;
  for (const auto& [key, text] : metadata) memory += memory_of_values(text);
  if (memory <= memory_of_texts_in(file_bytes)) return file_bytes;
  return static_cast<Index>((memory - kMemoryOfAnyFile + kMemoryOfAByte - 1) / kMemoryOfAByte);
}

// A header beyond the limits of the reader leads to an error here, and not when the file is loaded.
void check_readable(const std::string& json, std::size_t memory) try {
  if (json.size() > static_cast<std::size_t>(kMaxHeaderBytes)) {
    throw_value_error("save",
                      "names, texts and the room for what they say take " + std::to_string(json.size()) + " bytes",
                      "expected at most " + std::to_string(kMaxHeaderBytes), "shorten the metadata");
  }
  tensor_header_from_json(json, "save", memory);
} catch (const CheckpointError& error) {
  throw ValueError(error.what());
}

// Returns length and JSON, padded with spaces, which the format allows: the data is aligned, and the file is as large as its
// texts ask for.
std::string encode(const TensorHeader& header, std::size_t memory) {
  std::string json = to_json(header);
  const Index data_bytes = header.tensors.empty() ? 0 : header.tensors.back().end;
  const Index unpadded = kLengthBytes + static_cast<Index>(json.size());
  const Index file_bytes = bytes_for_texts(header.metadata, memory, unpadded + data_bytes);
  const Index begin = (file_bytes - data_bytes + kDataAlignment - 1) / kDataAlignment * kDataAlignment;
  json.append(static_cast<std::size_t>(begin - unpadded), ' ');
  check_readable(json, memory_of_texts_in(begin + data_bytes));
  const std::uint64_t length = json.size();
  std::string text(sizeof length, '\0');
  std::memcpy(text.data(), &length, sizeof length);
  return text + json;
}

[[noreturn]] void throw_damaged(const std::string& file, const std::string& given, const std::string& expected) {
  throw_checkpoint_error(file, given, expected, "the file is damaged or not safetensors, save or copy it again");
}

// Reads the number of bytes of the header, which follows this number.
Index header_length(const File& file, const std::string& name, Index file_bytes) {
  if (file_bytes < kLengthBytes) {
    throw_damaged(name, "the file has " + std::to_string(file_bytes) + " bytes", "expected at least 8");
  }
  std::uint64_t length = 0;
  file.read(&length, kLengthBytes, 0);
  const Index limit = std::min(file_bytes - kLengthBytes, kMaxHeaderBytes);
  if (length > static_cast<std::uint64_t>(limit)) {
    throw_damaged(name, "the header claims " + std::to_string(length) + " bytes",
                  "expected at most " + std::to_string(limit) + " in a file of " + std::to_string(file_bytes));
  }
  return static_cast<Index>(length);
}

ReadBytes header_bytes(const File& file, Index length) {
  return [&file, length, position = Index{0}](char* into, std::size_t most) mutable {
    const Index count = std::min(static_cast<Index>(most), length - position);
    file.read(into, count, kLengthBytes + position);
    position += count;
    return static_cast<std::size_t>(count);
  };
}

DType dtype_of(const TensorEntry& entry, const std::string& file) {
  for (std::size_t i = 0; i < kDTypes.size(); ++i) {
    if (entry.dtype == kDTypes[i].name) return static_cast<DType>(i);
  }
  throw_checkpoint_error(file, "tensor " + in_quotes(entry.name) + " has the dtype " + in_quotes(entry.dtype),
                         "expected F32 or F64", "convert it to float32 or float64");
}

// Checks that the tensors, sorted by position, cover the data exactly: no gap, no overlap, nothing after the last one.
void check_layout(const TensorHeader& header, Index data_bytes, const std::string& file) {
  Index position = 0;
  for (const TensorEntry& entry : header.tensors) {
    const std::string tensor = "tensor " + in_quotes(entry.name);
    const std::optional<Index> bytes = byte_count(entry.shape, info_of(dtype_of(entry, file)).bytes);
    if (!bytes) throw_damaged(file, tensor + " has a negative size or too many elements", "expected a possible shape");
    if (entry.begin != position) {
      throw_damaged(file, tensor + " begins at byte " + std::to_string(entry.begin) + " of the data",
                    "expected " + std::to_string(position) + ", without gap or overlap");
    }
    if (entry.end < entry.begin || entry.end - entry.begin != *bytes) {
      throw_damaged(
          file, tensor + " covers the bytes from " + std::to_string(entry.begin) + " to " + std::to_string(entry.end),
          "expected " + std::to_string(*bytes) + " bytes for its shape and dtype");
    }
    if (entry.end > data_bytes) {
      throw_damaged(file, tensor + " ends at byte " + std::to_string(entry.end) + " of the data",
                    "expected at most " + std::to_string(data_bytes) + ", where the file ends");
    }
    position = entry.end;
  }
  if (position != data_bytes) {
    throw_damaged(file, std::to_string(data_bytes - position) + " bytes follow the last tensor", "expected none");
  }
}

// ---- the checksum ----

void add_text(Crc32& sum, std::string_view text) {
  sum.add(text.data(), text.size());
  sum.add("", 1);  // a zero byte, so that texts cannot run into each other
}

Crc32 sum_of_texts(const std::map<std::string, std::string>& metadata, std::span<const TensorEntry> tensors) {
  Crc32 sum;
  for (const auto& [key, text] : metadata) {
    if (key == kChecksumKey) continue;
    add_text(sum, key);
    add_text(sum, text);
  }
  for (const TensorEntry& tensor : tensors) {
    add_text(sum, tensor.name);
    add_text(sum, tensor.dtype);
    for (const Index size : tensor.shape) add_text(sum, std::to_string(size));
  }
  return sum;
}

std::string text_of(const Crc32& sum) {
  std::array<char, 9> text{};
  std::snprintf(text.data(), text.size(), "%08x", static_cast<unsigned>(sum.value()));
  return {text.data(), 8};
}

}  // namespace

void save_tensors_checked(const std::filesystem::path& path, std::span<const TensorToSave> tensors,
                          std::map<std::string, std::string> metadata, std::size_t memory) {
  const TensorHeader header = layout_of(tensors, metadata);
  Crc32 sum = sum_of_texts(metadata, header.tensors);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    sum.add(tensors[i].data, static_cast<std::size_t>(header.tensors[i].end - header.tensors[i].begin));
  }
  metadata[kChecksumKey] = "crc32:" + text_of(sum);
  save_tensors(path, tensors, metadata, memory);
}

void save_tensors(const std::filesystem::path& path, std::span<const TensorToSave> tensors,
                  const std::map<std::string, std::string>& metadata, std::size_t memory) {
  const TensorHeader header = layout_of(tensors, metadata);
  const std::string encoded = encode(header, memory);
  Replacement replacement(path);
  replacement.file().write(encoded.data(), static_cast<Index>(encoded.size()));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    replacement.file().write(tensors[i].data, header.tensors[i].end - header.tensors[i].begin);
  }
  replacement.commit();
}

TensorFile::TensorFile(const std::filesystem::path& path) : file_(File::open_to_read(path)) {
  const std::string name = file_.name();
  const Index file_bytes = file_.size();
  const Index length = header_length(file_, name, file_bytes);
  memory_of_texts_ = memory_of_texts_in(file_bytes);
  header_ = tensor_header_from_json(header_bytes(file_, length), name, memory_of_texts_);
  data_ = kLengthBytes + length;
  check_layout(header_, file_bytes - data_, name);
}

DType TensorFile::dtype(const TensorEntry& tensor) const { return dtype_of(tensor, name()); }

void TensorFile::check_sum() const {
  constexpr Index kBlock = Index{1} << 20;
  const std::string name = file_.name();
  const auto stated = metadata().find(kChecksumKey);
  if (stated == metadata().end()) {
    throw_checkpoint_error(name, "the file has no checksum", "expected one in its metadata",
                           "save the checkpoint again");
  }
  Crc32 sum = sum_of_texts(metadata(), tensors());
  std::vector<std::byte> block(static_cast<std::size_t>(kBlock));
  const Index bytes = tensors().empty() ? 0 : tensors().back().end;
  for (Index at = 0; at < bytes; at += kBlock) {
    const Index count = std::min(kBlock, bytes - at);
    file_.read(block.data(), count, data_ + at);
    sum.add(block.data(), static_cast<std::size_t>(count));
  }
  const std::string found = "crc32:" + text_of(sum);
  if (found == stated->second) return;
  throw_damaged(name, "its content has the checksum " + found, "expected " + in_quotes(stated->second));
}

void TensorFile::read(const TensorEntry& tensor, void* data) const {
  file_.read(data, tensor.end - tensor.begin, data_ + tensor.begin);
}

}  // namespace stoop
