// An open file of the operating system: whole reads and writes, errors as FileError with the path that was given.
#pragma once

#include <filesystem>

#include <stoop/types.hpp>

namespace stoop {

class File {
 public:
  // Takes the descriptor over; `path` is the one to name in messages.
  File(int descriptor, std::filesystem::path path);
  File(File&& other) noexcept;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();

  // Opens regular files alone: to open a pipe would wait for ever.
  static File open_to_read(const std::filesystem::path& path);

  // All of the bytes, from this place in the file on. CheckpointError if the file ends before.
  void read(void* data, Index bytes, Index position) const;
  // After what was written last.
  void write(const void* data, Index bytes) const;
  // Brings what was written to the disk, then closes: a network file system reports some failures at no earlier moment.
  void finish();

  Index size() const;
  int descriptor() const { return descriptor_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  int descriptor_;
  std::filesystem::path path_;
};

}  // namespace stoop
