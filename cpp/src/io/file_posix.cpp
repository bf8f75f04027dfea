// What a File asks of POSIX.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <utility>

#include <stoop/error.hpp>

#include "file.hpp"

namespace stoop::inline v0_1 {

void File::close(Handle handle) noexcept { ::close(handle); }

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

Index File::read_some(void* data, Index bytes, Index position) const {
  const ssize_t done = ::pread(handle_, data, static_cast<std::size_t>(bytes), static_cast<off_t>(position));
  if (done < 0 && errno == EINTR) return kAgain;
  if (done < 0) throw FileError(errno, name(), "cannot read");
  return done;
}

Index File::write_some(const void* data, Index bytes) const {
  const ssize_t done = ::write(handle_, data, static_cast<std::size_t>(bytes));
  if (done < 0 && errno == EINTR) return kAgain;
  if (done < 0) throw FileError(errno, name(), "cannot write");
  return done;
}

void File::finish() {
  if (::fsync(handle_) != 0) throw FileError(errno, name(), "cannot write");
  const bool closed = ::close(std::exchange(handle_, kNoFile)) == 0 || errno == EINTR;
  if (!closed) throw FileError(errno, name(), "cannot write");
}

Index File::size() const {
  struct stat status{};
  if (::fstat(handle_, &status) != 0) throw FileError(errno, name(), "cannot read");
  return static_cast<Index>(status.st_size);
}

}  // namespace stoop
