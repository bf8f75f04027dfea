// An open file of the operating system. Reads and writes are complete, and errors are FileErrors with the given path.
// file_posix.cpp and file_windows.cpp have what the systems do differently.
#pragma once

#include <filesystem>
#include <string>

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

class File {
 public:
#if defined(_WIN32)
  using Handle = void*;  // a HANDLE
  static constexpr Handle kNoFile = nullptr;
#else
  using Handle = int;  // a descriptor
  static constexpr Handle kNoFile = -1;
#endif

  // Takes ownership of the handle. Messages name `path`, which whoever calls copies before the file is open.
  File(Handle handle, std::filesystem::path&& path) noexcept;
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
  Handle handle() const { return handle_; }
  const std::filesystem::path& path() const { return path_; }
  std::string name() const;  // the path for messages

 private:
  static constexpr Index kAgain = -1;  // a signal came before anything was read or written

  // One call of the system, which returns how many bytes it moved, or kAgain; reading returns 0 at the end of the file.
  Index read_some(void* data, Index bytes, Index position) const;
  Index write_some(const void* data, Index bytes) const;
  static void close(Handle handle) noexcept;

  Handle handle_;
  std::filesystem::path path_;
};

// Returns whether there is something at this path. A file that cannot be looked at is there: reading it says why.
bool is_there(const std::filesystem::path& path);

}  // namespace stoop
