#include "file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <utility>

#include <stoop/error.hpp>

#include "asking.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr Index kMaxChunkBytes = Index{1} << 24;  // are read or written between two questions whether to go on

std::size_t chunk(Index bytes) { return static_cast<std::size_t>(std::min(bytes, kMaxChunkBytes)); }

}  // namespace

File::File(int descriptor, std::filesystem::path&& path) noexcept : descriptor_(descriptor), path_(std::move(path)) {}

File::File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

File File::open_to_read(const std::filesystem::path& path) {
  std::filesystem::path name = path;  // copied before the file is open, since that may fail
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) throw FileError(errno, path.string(), "cannot read");
  File file(descriptor, std::move(name));
  struct stat status{};
  if (::fstat(descriptor, &status) != 0) throw FileError(errno, path.string(), "cannot read");
  if (!S_ISREG(status.st_mode))
    throw FileError(S_ISDIR(status.st_mode) ? EISDIR : EINVAL, path.string(), "cannot read");
  return file;
}

void File::read(void* data, Index bytes, Index position) const {
  auto* cursor = static_cast<std::byte*>(data);
  while (bytes > 0) {
    Asking::ask_to_go_on();
    const ssize_t done = ::pread(descriptor_, cursor, chunk(bytes), static_cast<off_t>(position));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) throw FileError(errno, path_.string(), "cannot read");
    if (done == 0) {
      throw_checkpoint_error(path_.string(), "the file became shorter while it was read", "expected a file at rest",
                             "wait until whatever writes it is done");
    }
    cursor += done;
    position += done;
    bytes -= done;
  }
}

void File::write(const void* data, Index bytes) const {
  const auto* cursor = static_cast<const std::byte*>(data);
  while (bytes > 0) {
    Asking::ask_to_go_on();
    const ssize_t done = ::write(descriptor_, cursor, chunk(bytes));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) throw FileError(errno, path_.string(), "cannot write");
    cursor += done;
    bytes -= done;
  }
}

void File::finish() {
  if (::fsync(descriptor_) != 0) throw FileError(errno, path_.string(), "cannot write");
  const bool closed = ::close(std::exchange(descriptor_, -1)) == 0 || errno == EINTR;
  if (!closed) throw FileError(errno, path_.string(), "cannot write");
}

Index File::size() const {
  struct stat status{};
  if (::fstat(descriptor_, &status) != 0) throw FileError(errno, path_.string(), "cannot read");
  return static_cast<Index>(status.st_size);
}

bool is_there(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::status(path, error).type() != std::filesystem::file_type::not_found;
}

}  // namespace stoop
