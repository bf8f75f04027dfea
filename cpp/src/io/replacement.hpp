// Replaces a file as a whole: the new file is written beside the old one, flushed to disk and renamed over it. Until then
// the old file stays, whatever fails and even if the process is killed.
// replacement_posix.cpp and replacement_windows.cpp have what the systems do differently.
#pragma once

#if !defined(_WIN32)
#include <sys/stat.h>
#endif

#include <filesystem>
#include <optional>
#include <system_error>

#include "file.hpp"

namespace stoop::inline v0_1 {

// What a new file takes over from the one that it replaces.
#if defined(_WIN32)
struct OldFile {};  // nothing: Windows gives it the permissions of its folder
#else
using OldFile = struct stat;
#endif

// Links are followed. The process must be allowed to write to the file that is replaced. On POSIX the new file has its mode
// and, where the process may set it, its owner. FileError names the given path.
class Replacement {
 public:
  explicit Replacement(const std::filesystem::path& path);
  Replacement(const Replacement&) = delete;
  Replacement& operator=(const Replacement&) = delete;
  ~Replacement();

  const File& file() const { return *file_; }

  // Puts the new file in place. A file that is a mount of its own, as in containers, cannot be replaced by a rename. It is
  // overwritten when all of the new content is on the disk and there is room for it.
  void commit();

 private:
  // Returns what is to be replaced, if it is there. Refuses pipes, devices and read-only files, which a rename would silently
  // replace.
  static std::optional<OldFile> check_target(const std::filesystem::path& target, const std::filesystem::path& given);
  // Removes a file that no save has locked. Returns whether nothing has this name any more.
  static bool remove_leftover(const std::filesystem::path& path);
  // Makes a new file, with a lock on it, and returns it. Or it returns File::kNoFile and the error; that is `file_exists` if
  // the name belongs to another save.
  File::Handle claim(const std::filesystem::path& candidate, std::error_code& error);
  void create();
  void discard() noexcept;
  std::filesystem::path candidate(int number) const;
  void remove_leftovers(int own) const;
#if !defined(_WIN32)
  void keep_owner_and_mode() const;
  void overwrite_target() const;
#endif

  std::filesystem::path given_;        // the path for messages
  std::filesystem::path target_;       // the file that it names or links to
  std::optional<OldFile> old_;         // the file that is replaced
  std::filesystem::path path_;         // path of the new file until it is renamed
  File::Handle lock_ = File::kNoFile;  // holds a lock on the new file, which marks it as in use
  std::optional<File> file_;           // always there after construction
  bool renamed_ = false;
};

}  // namespace stoop
