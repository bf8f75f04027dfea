#include "shared_library.hpp"

#include <stdlib.h>
#include <windows.h>

#include "../base/path_text.hpp"

namespace stoop::inline v0_1 {
namespace {

HMODULE module_of(LibraryHandle library) { return static_cast<HMODULE>(library); }

}  // namespace

LibraryHandle find_loaded_library(const std::string& file) {
  HMODULE module = nullptr;
  return ::GetModuleHandleExW(0, path_of(file).make_preferred().c_str(), &module) ? module : nullptr;
}

// What a library at an absolute path needs is looked for beside it.
LibraryHandle open_library(const std::string& file, std::string& error) {
  const std::filesystem::path path = path_of(file).make_preferred();
  DWORD before = 0;
  ::SetThreadErrorMode(SEM_FAILCRITICALERRORS, &before);  // no window that asks for a missing disk or library
  const HMODULE module =
      ::LoadLibraryExW(path.c_str(), nullptr, path.is_absolute() ? LOAD_WITH_ALTERED_SEARCH_PATH : 0);
  if (module == nullptr) error = file + ": " + last_windows_error().message();
  ::SetThreadErrorMode(before, nullptr);
  return module;
}

void close_library(LibraryHandle library) { ::FreeLibrary(module_of(library)); }

void* find_function(LibraryHandle library, const char* name) {
  return reinterpret_cast<void*>(::GetProcAddress(module_of(library), name));
}

std::string file_of_function(void* function) {
  constexpr DWORD kFlags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
  HMODULE module = nullptr;
  if (!::GetModuleHandleExW(kFlags, static_cast<const wchar_t*>(function), &module)) return {};
  std::wstring path(MAX_PATH, L'\0');
  const DWORD length = ::GetModuleFileNameW(module, path.data(), MAX_PATH);
  return to_utf8(std::wstring_view(path).substr(0, length));
}

std::optional<std::string> read_environment(const char* name) {
  const wchar_t* value = ::_wgetenv(to_wide(name).c_str());
  return value != nullptr ? std::optional<std::string>(to_utf8(value)) : std::nullopt;
}

// That of the C library and, with it, that of the system: OpenBLAS reads the latter.
void set_environment(const char* name, const char* value) {
  ::_wputenv_s(to_wide(name).c_str(), value != nullptr ? to_wide(value).c_str() : L"");
}

}  // namespace stoop
