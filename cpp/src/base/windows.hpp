// What several files need of Windows: text, which is UTF-16 there, and errors. Other systems do not compile it.
#pragma once

#include <string>
#include <string_view>
#include <system_error>

namespace stoop::inline v0_1 {

// What is no character becomes a replacement character.
std::string to_utf8(std::wstring_view text);
std::wstring to_wide(std::string_view utf8);

// Returns what GetLastError() says, with the text of the system in UTF-8. It compares with std::errc.
std::error_code last_windows_error() noexcept;

}  // namespace stoop
