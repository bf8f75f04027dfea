// An open file of the operating system. Reads and writes are complete, and errors are FileErrors with the given path.
#pragma once

#include <filesystem>

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

class File {
 public:
  // Takes ownership of the descriptor. Messages name `path`, which whoever calls copies before the file is open.
  File(int descriptor, std::filesystem::path&& path) noexcept;
  File(File&& other) noexcept;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();

  // Opens regular files only: opening a pipe would wait forever.
  static File open_to_read(const std::filesystem::path& path);

  // Reads all of the bytes, starting at this place in the file. Throws CheckpointError if the file ends before.
  void read(void* data, Index bytes, Index position) const;
  // Writes after the bytes that were written last.
  void write(const void* data, Index bytes) const;
  // Flushes to the disk, then closes. A network file system reports some failures only then.
  void finish();

  Index size() const;
  int descriptor() const { return descriptor_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  int descriptor_;
  std::filesystem::path path_;
};

// Returns whether there is something at this path. A file that cannot be looked at is there: reading it says why.
bool is_there(const std::filesystem::path& path);

}  // namespace stoop
