#include "windows.hpp"

#include <windows.h>

namespace stoop::inline v0_1 {
namespace {

// std::system_category() has the text in the code page of the user, which may be any.
class WindowsErrors final : public std::error_category {
 public:
  const char* name() const noexcept override { return "windows"; }

  std::string message(int number) const override {
    wchar_t text[512];
    constexpr DWORD kFlags = FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS;
    DWORD length = ::FormatMessageW(kFlags, nullptr, static_cast<DWORD>(number), 0, text, 512, nullptr);
    while (length > 0 && std::wstring_view(L"\r\n .").find(text[length - 1]) != std::wstring_view::npos) --length;
    return length > 0 ? to_utf8({text, length}) : "error " + std::to_string(number) + " of Windows";
  }

  std::error_condition default_error_condition(int number) const noexcept override {
    if (number == ERROR_SHARING_VIOLATION) return std::errc::permission_denied;
    if (number == ERROR_INVALID_NAME) return std::errc::no_such_file_or_directory;
    return std::system_category().default_error_condition(number);
  }
};

}  // namespace

std::string to_utf8(std::wstring_view text) {
  const int length = static_cast<int>(text.size());
  const int bytes = ::WideCharToMultiByte(CP_UTF8, 0, text.data(), length, nullptr, 0, nullptr, nullptr);
  std::string result(static_cast<std::size_t>(bytes), '\0');
  ::WideCharToMultiByte(CP_UTF8, 0, text.data(), length, result.data(), bytes, nullptr, nullptr);
  return result;
}

std::wstring to_wide(std::string_view utf8) {
  const int bytes = static_cast<int>(utf8.size());
  const int length = ::MultiByteToWideChar(CP_UTF8, 0, utf8.data(), bytes, nullptr, 0);
  std::wstring result(static_cast<std::size_t>(length), L'\0');
  ::MultiByteToWideChar(CP_UTF8, 0, utf8.data(), bytes, result.data(), length);
  return result;
}

std::error_code last_windows_error() noexcept {
  static const WindowsErrors errors;
  return {static_cast<int>(::GetLastError()), errors};
}

}  // namespace stoop
