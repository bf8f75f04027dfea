// What a File asks of Windows. Bytes stay as they are: the text mode that turns line ends belongs to the library of C, which
// has no part in this.
#include <windows.h>

#include <utility>

#include <stoop/error.hpp>

#include "../base/path_text.hpp"
#include "file.hpp"

namespace stoop::inline v0_1 {
namespace {

bool is_folder(const std::filesystem::path& path) {
  const DWORD attributes = ::GetFileAttributesW(path.c_str());
  return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
}

}  // namespace

void File::close(Handle handle) noexcept { ::CloseHandle(handle); }

// Others may replace the file while it is read, as on POSIX.
File File::open_to_read(const std::filesystem::path& path) {
  constexpr DWORD kShared = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
  std::filesystem::path name = path;  // copied before the file is open, since that may fail
  const HANDLE handle =
      ::CreateFileW(path.c_str(), GENERIC_READ, kShared, nullptr, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (handle == INVALID_HANDLE_VALUE) {
    const std::error_code error = last_windows_error();
    throw FileError(is_folder(path) ? make_error_code(std::errc::is_a_directory) : error, path_text(path),
                    "cannot read");
  }
  File file(handle, std::move(name));
  if (::GetFileType(handle) != FILE_TYPE_DISK)
    throw FileError(make_error_code(std::errc::invalid_argument), path_text(path), "cannot read");
  return file;
}

Index File::read_some(void* data, Index bytes, Index position) const {
  OVERLAPPED at{};
  at.Offset = static_cast<DWORD>(position & 0xffffffff);
  at.OffsetHigh = static_cast<DWORD>(position >> 32);
  DWORD done = 0;
  if (::ReadFile(handle_, data, static_cast<DWORD>(bytes), &done, &at)) return static_cast<Index>(done);
  if (::GetLastError() == ERROR_HANDLE_EOF) return 0;
  throw FileError(last_windows_error(), name(), "cannot read");
}

Index File::write_some(const void* data, Index bytes) const {
  DWORD done = 0;
  if (::WriteFile(handle_, data, static_cast<DWORD>(bytes), &done, nullptr)) return static_cast<Index>(done);
  throw FileError(last_windows_error(), name(), "cannot write");
}

void File::finish() {
  if (!::FlushFileBuffers(handle_)) throw FileError(last_windows_error(), name(), "cannot write");
  if (!::CloseHandle(std::exchange(handle_, kNoFile))) throw FileError(last_windows_error(), name(), "cannot write");
}

Index File::size() const {
  LARGE_INTEGER bytes{};
  if (!::GetFileSizeEx(handle_, &bytes)) throw FileError(last_windows_error(), name(), "cannot read");
  return static_cast<Index>(bytes.QuadPart);
}

}  // namespace stoop
