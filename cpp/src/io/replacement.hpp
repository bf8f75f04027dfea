// Replaces a file as a whole: the new file is written beside the old one, flushed to disk and renamed over it. Until then
// the old file stays, whatever fails and even if the process is killed.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <optional>

#include "file.hpp"

namespace stoop::inline v0_1 {

// Links are followed. The process must be allowed to write to the file that is replaced. The new file has its mode and,
// where the process may set it, its owner. FileError names the given path.
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
  void create();
  void discard() noexcept;
  int claim(const std::filesystem::path& candidate);
  std::filesystem::path candidate(int number) const;
  void remove_leftovers(int own) const;
  void keep_owner_and_mode() const;
  void overwrite_target() const;

  std::filesystem::path given_;     // the path for messages
  std::filesystem::path target_;    // the file that it names or links to
  std::optional<struct stat> old_;  // status of the file that is replaced
  std::filesystem::path path_;      // path of the new file until it is renamed
  int lock_ = -1;                   // holds a lock on the new file, which marks it as in use
  std::optional<File> file_;        // always there after construction
  bool renamed_ = false;
};

}  // namespace stoop
