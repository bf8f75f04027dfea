// How POSIX makes a new file that is locked, and renames it over the old one.
#include "replacement.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <system_error>
#include <utility>
#include <vector>

#include <stoop/error.hpp>

namespace stoop::inline v0_1 {
namespace {

// Makes room for so many bytes. Returns 0 or the number of an error; EOPNOTSUPP where the file system cannot tell.
int reserve(int descriptor, off_t bytes) {
#if defined(__APPLE__)
  ::fstore_t store{F_ALLOCATEALL, F_PEOFPOSMODE, 0, bytes, 0};
  return ::fcntl(descriptor, F_PREALLOCATE, &store) == 0 || errno == ENOTSUP ? 0 : errno;
#else
  return ::posix_fallocate(descriptor, 0, bytes);
#endif
}

// Makes a rename survive a power cut. Not every file system can do that; the new file is in place either way.
void sync(const std::filesystem::path& directory) {
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

bool lock(int descriptor) { return ::flock(descriptor, LOCK_EX | LOCK_NB) == 0; }

bool has_name(int descriptor, const std::filesystem::path& path) {
  struct stat opened{}, named{};
  return ::fstat(descriptor, &opened) == 0 && ::lstat(path.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

}  // namespace

// Root may write to every file, but a file that nobody may write to is meant to stay.
std::optional<OldFile> Replacement::check_target(const std::filesystem::path& target,
                                                 const std::filesystem::path& given) {
  struct stat status{};
  if (::stat(target.c_str(), &status) != 0) return std::nullopt;
  const auto refuse = [&](int error) { throw FileError(error, given.string(), "cannot replace"); };
  if (S_ISDIR(status.st_mode)) refuse(EISDIR);
  if (!S_ISREG(status.st_mode)) refuse(EINVAL);
  if ((status.st_mode & 0222) == 0) refuse(EACCES);
  if (::faccessat(AT_FDCWD, target.c_str(), W_OK, AT_EACCESS) != 0) refuse(errno);
  return status;
}

void Replacement::discard() noexcept {
  if (lock_ < 0) return;
  if (!renamed_) ::unlink(path_.c_str());
  ::close(lock_);
}

File::Handle Replacement::claim(const std::filesystem::path& candidate, std::error_code& error) {
  const auto fail = [&error](int number) {
    error.assign(number, std::generic_category());
    return File::kNoFile;
  };
  const int descriptor = ::open(candidate.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, old_ ? 0600 : 0666);
  if (descriptor < 0) return fail(errno);
  // Another save may have taken the file for a leftover before it was locked, and removes it then. This does not happen on
  // a file system without locks.
  const bool taken = (!lock(descriptor) && errno == EWOULDBLOCK) || !has_name(descriptor, candidate);
  lock_ = taken ? -1 : ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);  // holds the lock when the file is closed
  if (lock_ >= 0) return descriptor;
  const int number = taken ? EEXIST : errno;
  if (!taken) ::unlink(candidate.c_str());
  ::close(descriptor);
  return fail(number);
}

bool Replacement::remove_leftover(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (descriptor < 0) return errno == ENOENT;
  const bool removed = lock(descriptor) && has_name(descriptor, path) && ::unlink(path.c_str()) == 0;
  ::close(descriptor);
  return removed;
}

// What needs memory comes before the rename, so that a commit that throws has replaced nothing.
void Replacement::commit() {
  const std::filesystem::path directory = target_.has_parent_path() ? target_.parent_path() : ".";
  keep_owner_and_mode();
  file_->finish();
  if (::rename(path_.c_str(), target_.c_str()) != 0) {
    if (errno != EBUSY || !old_) throw FileError(errno, given_.string(), "cannot replace");
    overwrite_target();
    return;
  }
  renamed_ = true;
  sync(directory);
}

// Gives the new file the owner and mode of the old one. Where that is not possible, the new file belongs to the caller. A
// file system without modes has nothing to keep.
void Replacement::keep_owner_and_mode() const {
  if (!old_) return;
  const auto nobody = static_cast<::uid_t>(-1);  // leaves the owner as it is
  const bool kept = ::fchown(lock_, old_->st_uid, old_->st_gid) == 0 || ::fchown(lock_, nobody, old_->st_gid) == 0;
  static_cast<void>(kept);
  ::fchmod(lock_, old_->st_mode & 07777);  // after the owner is set, since that clears bits of the mode
}

void Replacement::overwrite_target() const {
  const auto check = [this](bool done, int error) {
    if (!done) throw FileError(error, given_.string(), "cannot replace");
  };
  std::filesystem::path fresh_name = given_, target_name = given_;
  std::vector<std::byte> block(std::size_t{1} << 20);
  const File fresh(::fcntl(lock_, F_DUPFD_CLOEXEC, 0), std::move(fresh_name));
  check(fresh.handle() >= 0, errno);
  File target(::open(target_.c_str(), O_WRONLY | O_CLOEXEC), std::move(target_name));
  check(target.handle() >= 0, errno);
  const Index bytes = fresh.size();
  const int no_room = reserve(target.handle(), static_cast<off_t>(bytes));
  if (no_room != 0 && no_room != EOPNOTSUPP) {
    const bool as_before = ::ftruncate(target.handle(), old_->st_size) == 0;
    check(false, as_before ? no_room : errno);
  }
  for (Index position = 0; position < bytes;) {
    const Index count = std::min(static_cast<Index>(block.size()), bytes - position);
    fresh.read(block.data(), count, position);
    target.write(block.data(), count);
    position += count;
  }
  check(::ftruncate(target.handle(), static_cast<off_t>(bytes)) == 0, errno);
  target.finish();
}

}  // namespace stoop
