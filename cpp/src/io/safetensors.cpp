// Trusts nothing a file says before it is checked against the size of the file, so that a damaged or hostile one costs
// neither memory nor more than an error. Writing follows the rule of databases: temporary file, fsync, rename, fsync.
#include "safetensors.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include <stoop/error.hpp>

#include "asking.hpp"
#include "config_json.hpp"

namespace stoop {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian and is read without swapping");

constexpr Index kDataAlignment = 64;  // of the tensors in a file
constexpr Index kLengthBytes = 8;
constexpr Index kMaxHeaderBytes = 100'000'000;    // the limit of the reference implementation
constexpr Index kMaxChunkBytes = Index{1} << 24;  // read or written between two questions whether to go on

struct DTypeInfo {
  const char* name;
  Index bytes;
};
constexpr std::array kDTypes = {DTypeInfo{"F32", 4}, DTypeInfo{"F64", 8}};  // in the order of DType

const DTypeInfo& info_of(DType dtype) { return kDTypes[static_cast<std::size_t>(dtype)]; }

// Bytes of a tensor; nothing when a dimension is negative or the product does not fit.
std::optional<Index> byte_count(const std::vector<Index>& shape, Index element_bytes) {
  Index bytes = element_bytes;
  for (const Index size : shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  }
  return bytes;
}

// ---- files ----

class File {
 public:
  File(int descriptor, const std::filesystem::path& path) : descriptor_(descriptor), path_(path) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  void read(void* data, Index bytes) const {
    auto* cursor = static_cast<std::byte*>(data);
    while (bytes > 0) {
      Asking::ask_to_go_on();
      const ssize_t done = ::read(descriptor_, cursor, static_cast<std::size_t>(std::min(bytes, kMaxChunkBytes)));
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) throw FileError(errno, path_.string(), "cannot read");
      if (done == 0) {
        throw_checkpoint_error(path_.string(), "the file became shorter while it was read", "expected a file at rest",
                               "wait until whatever writes it is done");
      }
      cursor += done;
      bytes -= done;
    }
  }

  void write(const void* data, Index bytes) const {
    const auto* cursor = static_cast<const std::byte*>(data);
    while (bytes > 0) {
      Asking::ask_to_go_on();
      const ssize_t done = ::write(descriptor_, cursor, static_cast<std::size_t>(std::min(bytes, kMaxChunkBytes)));
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) throw FileError(errno, path_.string(), "cannot write");
      cursor += done;
      bytes -= done;
    }
  }

  // To the disk, then closed: a network file system reports some failures at no earlier moment.
  void finish() {
    if (::fsync(descriptor_) != 0) throw FileError(errno, path_.string(), "cannot write");
    const bool closed = ::close(std::exchange(descriptor_, -1)) == 0 || errno == EINTR;
    if (!closed) throw FileError(errno, path_.string(), "cannot write");
  }

  Index size() const {
    struct stat status{};
    if (::fstat(descriptor_, &status) != 0) throw FileError(errno, path_.string(), "cannot read");
    return static_cast<Index>(status.st_size);
  }

 private:
  int descriptor_;
  std::filesystem::path path_;  // the one to name in messages
};

// The file that a chain of symbolic links ends in, whether it exists or not.
std::filesystem::path follow_links(const std::filesystem::path& link) {
  constexpr int kMostLinks = 40;  // the kernel's limit
  std::filesystem::path path = link;
  for (int i = 0; i < kMostLinks; ++i) {
    std::error_code error;
    if (!std::filesystem::is_symlink(std::filesystem::symlink_status(path, error))) return path;
    const std::filesystem::path next = std::filesystem::read_symlink(path, error);
    if (error) throw FileError(error.value(), link.string(), "cannot follow");
    path = path.parent_path() / next;
  }
  throw FileError(ELOOP, link.string(), "cannot follow");
}

// A new file beside the one that `given` names or links to; removed again unless it was renamed to it. It stays locked
// for as long as it is in use, which tells it from one that a killed process has left behind.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::filesystem::path& given)
      : given_(given), target_(follow_links(given)), mode_(mode_of(target_)), file_(create(), given) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!renamed_) ::unlink(path_.c_str());
    ::close(lock_);
  }

  const File& file() const { return file_; }

  void rename_to_target() {
    if (mode_) ::fchmod(lock_, *mode_);  // where the file system has no modes there is nothing to keep
    file_.finish();
    if (::rename(path_.c_str(), target_.c_str()) != 0) throw FileError(errno, given_.string(), "cannot replace");
    renamed_ = true;
    sync_directory();
  }

 private:
  static std::optional<::mode_t> mode_of(const std::filesystem::path& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) return std::nullopt;
    return status.st_mode & 07777;
  }

  std::filesystem::path directory() const { return target_.has_parent_path() ? target_.parent_path() : "."; }

  // The name holds a digest (FNV-1a) of the target's, which may itself be as long as the file system allows.
  std::string prefix() const {
    std::uint64_t digest = 0xcbf29ce484222325u;
    for (const char c : target_.filename().string()) digest = (digest ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    return ".stoop-" + std::to_string(digest) + "-";
  }

  static bool lock(int descriptor) { return ::flock(descriptor, LOCK_EX | LOCK_NB) == 0; }
  static bool has_name(int descriptor) {
    struct stat status{};
    return ::fstat(descriptor, &status) == 0 && status.st_nlink > 0;
  }

  // What saves of this target that were killed have left.
  void remove_leftovers() const {
    std::error_code error;  // a folder that cannot be read stays as it is
    for (std::filesystem::directory_iterator entry(directory(), error), end; !error && entry != end;
         entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      if (!name.starts_with(prefix()) || !name.ends_with(kSuffix)) continue;
      const int descriptor = ::open(entry->path().c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
      if (descriptor < 0) continue;
      if (lock(descriptor) && has_name(descriptor)) ::unlink(entry->path().c_str());
      ::close(descriptor);
    }
  }

  int create() {
    static std::atomic<unsigned> counter{0};
    constexpr int kAttempts = 1000;  // another save may take a new file for a leftover before it is locked
    remove_leftovers();
    int error = 0;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      path_ =
          target_.parent_path() / (prefix() + std::to_string(::getpid()) + "-" + std::to_string(counter++) + kSuffix);
      const int descriptor = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode_ ? 0600 : 0666);
      error = errno;
      if (descriptor < 0 && error != EEXIST && error != EINTR) break;
      if (descriptor < 0) continue;
      const bool taken = (!lock(descriptor) && errno == EWOULDBLOCK) || !has_name(descriptor);
      lock_ = taken ? -1 : ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);  // holds the lock when the file is closed
      if (lock_ >= 0) return descriptor;
      error = taken ? EAGAIN : errno;
      ::close(descriptor);
      ::unlink(path_.c_str());
    }
    throw FileError(error, given_.string(), "cannot create a file for");
  }

  // Makes the rename survive a power cut. Not every file system can; the new file is in place either way.
  void sync_directory() const {
    const int descriptor = ::open(directory().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return;
    ::fsync(descriptor);
    ::close(descriptor);
  }

  static constexpr const char* kSuffix = ".tmp";
  std::filesystem::path given_;   // the one to name in messages
  std::filesystem::path target_;  // what it names or links to
  std::optional<::mode_t> mode_;  // of the file that is replaced
  std::filesystem::path path_;
  int lock_ = -1;
  File file_;  // after the others, which create() sets
  bool renamed_ = false;
};

// Opening a pipe would wait for ever, and a rename would silently replace it, or a device, by a file.
void refuse_special_file(const std::filesystem::path& path, const std::string& what_fails) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode)) return;
  throw FileError(S_ISDIR(status.st_mode) ? EISDIR : EINVAL, path.string(), what_fails);
}

int open_for_reading(const std::filesystem::path& path) {
  refuse_special_file(path, "cannot read");
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw FileError(errno, path.string(), "cannot read");
  return descriptor;
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

// Length and JSON, padded with spaces (which the format allows) so that the data is aligned.
std::string encode(const TensorHeader& header) {
  std::string json = to_json(header);
  const auto unpadded = kLengthBytes + static_cast<Index>(json.size());
  json.append(static_cast<std::size_t>((kDataAlignment - unpadded % kDataAlignment) % kDataAlignment), ' ');
  const std::uint64_t length = json.size();
  if (static_cast<Index>(length) > kMaxHeaderBytes) {
    throw_value_error("save", "names and metadata take " + std::to_string(length) + " bytes",
                      "expected at most " + std::to_string(kMaxHeaderBytes), "shorten the metadata");
  }
  std::string text(sizeof length, '\0');
  std::memcpy(text.data(), &length, sizeof length);
  return text + json;
}

[[noreturn]] void throw_damaged(const std::string& file, const std::string& given, const std::string& expected) {
  throw_checkpoint_error(file, given, expected, "the file is damaged or not safetensors, save or copy it again");
}

std::string read_header_text(const File& file, const std::string& name, Index file_bytes) {
  if (file_bytes < kLengthBytes) {
    throw_damaged(name, "the file has " + std::to_string(file_bytes) + " bytes", "expected at least 8");
  }
  std::uint64_t length = 0;
  file.read(&length, kLengthBytes);
  const Index limit = std::min(file_bytes - kLengthBytes, kMaxHeaderBytes);
  if (length > static_cast<std::uint64_t>(limit)) {
    throw_damaged(name, "the header claims " + std::to_string(length) + " bytes",
                  "expected at most " + std::to_string(limit) + " in a file of " + std::to_string(file_bytes));
  }
  std::string text(static_cast<std::size_t>(length), '\0');
  file.read(text.data(), static_cast<Index>(length));
  return text;
}

DType dtype_of(const TensorEntry& entry, const std::string& file) {
  for (std::size_t i = 0; i < kDTypes.size(); ++i) {
    if (entry.dtype == kDTypes[i].name) return static_cast<DType>(i);
  }
  throw_checkpoint_error(file, "tensor " + in_quotes(entry.name) + " has the dtype " + in_quotes(entry.dtype),
                         "expected F32 or F64", "convert it to float32 or float64");
}

// The tensors, sorted by position, must cover the data exactly: no gap, no overlap, nothing behind the last one.
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

}  // namespace

void save_tensors(const std::filesystem::path& path, std::span<const TensorToSave> tensors,
                  const std::map<std::string, std::string>& metadata) {
  const TensorHeader header = layout_of(tensors, metadata);
  const std::string encoded = encode(header);
  refuse_special_file(path, "cannot replace");
  TemporaryFile temporary(path);
  temporary.file().write(encoded.data(), static_cast<Index>(encoded.size()));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    temporary.file().write(tensors[i].data, header.tensors[i].end - header.tensors[i].begin);
  }
  temporary.rename_to_target();
}

TensorFile load_tensors(const std::filesystem::path& path, Contents contents) {
  const std::string name = path.string();
  const File file(open_for_reading(path), path);
  const Index file_bytes = file.size();
  const std::string text = read_header_text(file, name, file_bytes);
  TensorHeader header = tensor_header_from_json(text, name);
  check_layout(header, file_bytes - kLengthBytes - static_cast<Index>(text.size()), name);

  TensorFile result{.tensors = {}, .metadata = std::move(header.metadata), .path = path};
  for (TensorEntry& entry : header.tensors) {
    const DType dtype = dtype_of(entry, name);
    result.tensors.push_back({std::move(entry.name), dtype, std::move(entry.shape), {}});
    if (contents == Contents::header) continue;
    std::vector<std::byte>& data = result.tensors.back().data;
    data.resize(static_cast<std::size_t>(entry.end - entry.begin));
    file.read(data.data(), entry.end - entry.begin);
  }
  return result;
}

const LoadedTensor& TensorFile::tensor(const std::string& name) const {
  for (const LoadedTensor& candidate : tensors) {
    if (candidate.name == name) return candidate;
  }
  throw_checkpoint_error(path.string(), "there is no tensor " + in_quotes(name),
                         "expected it among the " + std::to_string(tensors.size()) + " of the file",
                         "check that the file was written for this architecture");
}

}  // namespace stoop
