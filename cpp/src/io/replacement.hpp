// A new file that takes the place of an old one as a whole: written beside it, flushed to disk, renamed over it. Until
// then the old one stays, whatever fails and whoever is killed.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <optional>

#include "file.hpp"

namespace stoop {

// Links are followed. The file that is replaced must be one that may be written to; it keeps its mode and, where the
// process may give files away, its owner. FileError names the path that was given.
class Replacement {
 public:
  explicit Replacement(const std::filesystem::path& path);
  Replacement(const Replacement&) = delete;
  Replacement& operator=(const Replacement&) = delete;
  ~Replacement();

  const File& file() const { return file_; }

  // Puts the new file in place. A file that is mounted by itself (containers do so) cannot be renamed over: it is
  // overwritten, once the whole of the new content is on the disk and the room for it is there.
  void commit();

 private:
  File create();
  int claim(const std::filesystem::path& candidate);
  std::filesystem::path candidate(int number) const;
  void remove_leftovers(int own) const;
  void keep_owner_and_mode() const;
  void overwrite_target() const;
  void sync_directory() const;

  std::filesystem::path given_;     // the one to name in messages
  std::filesystem::path target_;    // what it names or links to
  std::optional<struct stat> old_;  // of the file that is replaced
  std::filesystem::path path_;      // of the new file, until it is renamed
  int lock_ = -1;                   // holds a lock on it, which tells it from what a killed process has left
  File file_;                       // after the others, which create() uses
  bool renamed_ = false;
};

}  // namespace stoop
