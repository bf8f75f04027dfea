// The new file has one of a few fixed names beside its target, made from the target's name. So the leftovers of a killed
// save are found by trying these names, not by listing a folder that may hold a million files. A file with such a name
// belongs to a save as long as it is locked. A save that finds it unlocked may lock and remove it.
#include "replacement.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <stoop/error.hpp>

namespace stoop::inline v0_1 {
namespace {

constexpr int kMostAtOnce = 1000;  // most saves of one file at the same time
constexpr int kLookedAt = 8;       // names that each save checks for leftovers

// Returns the file that a chain of symbolic links ends in, whether it exists or not.
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

// Returns the file that is to be replaced, if there is one. Refuses pipes, devices and read-only files, which a rename would
// silently replace. Root may write to every file, but a file that nobody may write to is meant to stay.
std::optional<struct stat> check_target(const std::filesystem::path& target, const std::filesystem::path& given) {
  struct stat status{};
  if (::stat(target.c_str(), &status) != 0) return std::nullopt;
  const auto refuse = [&](int error) { throw FileError(error, given.string(), "cannot replace"); };
  if (S_ISDIR(status.st_mode)) refuse(EISDIR);
  if (!S_ISREG(status.st_mode)) refuse(EINVAL);
  if ((status.st_mode & 0222) == 0) refuse(EACCES);
  if (::faccessat(AT_FDCWD, target.c_str(), W_OK, AT_EACCESS) != 0) refuse(errno);
  return status;
}

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

// Returns whether nothing has this name any more.
bool remove_leftover(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (descriptor < 0) return errno == ENOENT;
  const bool removed = lock(descriptor) && has_name(descriptor, path) && ::unlink(path.c_str()) == 0;
  ::close(descriptor);
  return removed;
}

}  // namespace

Replacement::Replacement(const std::filesystem::path& path)
    : given_(path), target_(follow_links(path)), old_(check_target(target_, path)) {
  try {
    create();
  } catch (...) {
    discard();
    throw;
  }
}

Replacement::~Replacement() { discard(); }

void Replacement::discard() noexcept {
  if (lock_ < 0) return;
  if (!renamed_) ::unlink(path_.c_str());
  ::close(lock_);
}

// The name holds a digest (FNV-1a) of the target's name, which may itself be as long as the file system allows.
std::filesystem::path Replacement::candidate(int number) const {
  std::uint64_t digest = 0xcbf29ce484222325u;
  for (const char c : target_.filename().string()) digest = (digest ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return target_.parent_path() / (".stoop-" + std::to_string(digest) + "-" + std::to_string(number) + ".tmp");
}

// Returns the descriptor of a new file that is locked, or -1 and errno; EEXIST if the name belongs to another save.
int Replacement::claim(const std::filesystem::path& candidate) {
  const int descriptor = ::open(candidate.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, old_ ? 0600 : 0666);
  if (descriptor < 0) return -1;
  // Another save may have taken the file for a leftover before it was locked, and removes it then. This does not happen on
  // a file system without locks.
  const bool taken = (!lock(descriptor) && errno == EWOULDBLOCK) || !has_name(descriptor, candidate);
  lock_ = taken ? -1 : ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);  // holds the lock when the file is closed
  if (lock_ >= 0) return descriptor;
  const int error = taken ? EEXIST : errno;
  if (!taken) ::unlink(candidate.c_str());
  ::close(descriptor);
  errno = error;
  return -1;
}

void Replacement::create() {
  std::filesystem::path name = given_;
  int error = EAGAIN;
  for (int number = 0; number < kMostAtOnce; ++number) {
    path_ = candidate(number);
    int descriptor = claim(path_);
    error = errno;
    if (descriptor < 0 && error == EEXIST && remove_leftover(path_)) {
      descriptor = claim(path_);
      error = errno;
    }
    if (descriptor >= 0) {
      file_.emplace(descriptor, std::move(name));
      return remove_leftovers(number);
    }
    if (error != EEXIST && error != EINTR) break;
  }
  throw FileError(error == EEXIST ? EAGAIN : error, given_.string(), "cannot create a file for");
}

// Removes what several saves at once left when they were killed.
void Replacement::remove_leftovers(int own) const {
  for (int number = own + 1; number < kLookedAt; ++number) remove_leftover(candidate(number));
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
  check(fresh.descriptor() >= 0, errno);
  File target(::open(target_.c_str(), O_WRONLY | O_CLOEXEC), std::move(target_name));
  check(target.descriptor() >= 0, errno);
  const Index bytes = fresh.size();
  const int no_room = reserve(target.descriptor(), static_cast<off_t>(bytes));
  if (no_room != 0 && no_room != EOPNOTSUPP) {
    const bool as_before = ::ftruncate(target.descriptor(), old_->st_size) == 0;
    check(false, as_before ? no_room : errno);
  }
  for (Index position = 0; position < bytes;) {
    const Index count = std::min(static_cast<Index>(block.size()), bytes - position);
    fresh.read(block.data(), count, position);
    target.write(block.data(), count);
    position += count;
  }
  check(::ftruncate(target.descriptor(), static_cast<off_t>(bytes)) == 0, errno);
  target.finish();
}

}  // namespace stoop
