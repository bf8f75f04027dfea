// How Windows makes a new file that is locked, and renames it over the old one. A file is locked by its sharing mode: while
// it is open for writing, nobody can open it without sharing that.
#include "replacement.hpp"

#include <windows.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <stoop/error.hpp>

#include "../base/path_text.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr DWORD kAllShared = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;

// A file that is being removed keeps its name until the last process has closed it, and refuses access until then.
bool is_there_or_leaving(const std::filesystem::path& path) {
  return ::GetFileAttributesW(path.c_str()) != INVALID_FILE_ATTRIBUTES || ::GetLastError() == ERROR_ACCESS_DENIED;
}

// Puts a file in the place of another one, which others may have open. Windows can since 10 (1607), on NTFS.
bool rename_over_open_file(HANDLE file, const std::wstring& target) {
  const std::size_t name_bytes = target.size() * sizeof(wchar_t);
  std::vector<std::byte> memory(sizeof(FILE_RENAME_INFO) + name_bytes);  // which has room for a NUL
  auto* const request = reinterpret_cast<FILE_RENAME_INFO*>(memory.data());
  request->Flags = FILE_RENAME_FLAG_REPLACE_IF_EXISTS | FILE_RENAME_FLAG_POSIX_SEMANTICS;
  request->FileNameLength = static_cast<DWORD>(name_bytes);
  std::memcpy(request->FileName, target.data(), name_bytes);
  return ::SetFileInformationByHandle(file, FileRenameInfoEx, request, static_cast<DWORD>(memory.size()));
}

}  // namespace

std::optional<OldFile> Replacement::check_target(const std::filesystem::path& target,
                                                 const std::filesystem::path& given) {
  const DWORD attributes = ::GetFileAttributesW(target.c_str());
  if (attributes == INVALID_FILE_ATTRIBUTES) return std::nullopt;
  const auto refuse = [&](std::error_code error) { throw FileError(error, path_text(given), "cannot replace"); };
  if ((attributes & FILE_ATTRIBUTE_DIRECTORY) != 0) refuse(make_error_code(std::errc::is_a_directory));
  if ((attributes & FILE_ATTRIBUTE_READONLY) != 0) refuse(make_error_code(std::errc::permission_denied));
  const HANDLE handle = ::CreateFileW(target.c_str(), GENERIC_WRITE, kAllShared, nullptr, OPEN_EXISTING, 0, nullptr);
  if (handle == INVALID_HANDLE_VALUE) refuse(last_windows_error());
  const bool is_file = ::GetFileType(handle) == FILE_TYPE_DISK;
  ::CloseHandle(handle);
  if (!is_file) refuse(make_error_code(std::errc::invalid_argument));
  return OldFile{};
}

// The handle removes the very file, whatever has its name.
void Replacement::discard() noexcept {
  if (lock_ == File::kNoFile) return;
  FILE_DISPOSITION_INFO removal{};
  removal.DeleteFile = TRUE;
  if (!renamed_) ::SetFileInformationByHandle(lock_, FileDispositionInfo, &removal, sizeof removal);
  ::CloseHandle(std::exchange(lock_, File::kNoFile));
}

File::Handle Replacement::claim(const std::filesystem::path& candidate, std::error_code& error) {
  constexpr DWORD kAccess = GENERIC_READ | GENERIC_WRITE | DELETE;
  const HANDLE made = ::CreateFileW(candidate.c_str(), kAccess, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr,
                                    CREATE_NEW, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (made == INVALID_HANDLE_VALUE) {
    error = last_windows_error();
    if (error.value() == ERROR_ACCESS_DENIED && is_there_or_leaving(candidate))
      error = make_error_code(std::errc::file_exists);
    return File::kNoFile;
  }
  HANDLE second = nullptr;  // keeps the file locked when it is closed after the last write
  const HANDLE process = ::GetCurrentProcess();
  if (!::DuplicateHandle(process, made, process, &second, 0, FALSE, DUPLICATE_SAME_ACCESS)) {
    error = last_windows_error();
    ::CloseHandle(made);
    ::DeleteFileW(candidate.c_str());
    return File::kNoFile;
  }
  lock_ = second;
  return made;
}

bool Replacement::remove_leftover(const std::filesystem::path& path) {
  constexpr DWORD kFlags = FILE_FLAG_DELETE_ON_CLOSE | FILE_FLAG_OPEN_REPARSE_POINT;
  const HANDLE handle = ::CreateFileW(path.c_str(), DELETE, 0, nullptr, OPEN_EXISTING, kFlags, nullptr);
  if (handle == INVALID_HANDLE_VALUE) return ::GetLastError() == ERROR_FILE_NOT_FOUND;
  ::CloseHandle(handle);
  return true;
}

// What needs memory comes before the rename, so that a commit that throws has replaced nothing.
void Replacement::commit() {
  constexpr DWORD kFlags = MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH;
  const std::filesystem::path whole_path = std::filesystem::absolute(target_);
  file_->finish();
  if (!rename_over_open_file(lock_, whole_path.native()) && !::MoveFileExW(path_.c_str(), target_.c_str(), kFlags))
    throw FileError(last_windows_error(), path_text(given_), "cannot replace");
  renamed_ = true;
  discard();  // closes the file: not every system can replace one that is open
}

}  // namespace stoop
