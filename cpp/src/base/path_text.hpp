// Paths as text in UTF-8, as messages and the C interface have them.
#pragma once

#include <filesystem>
#include <string>

#if defined(_WIN32)
#include "windows.hpp"
#endif

namespace stoop::inline v0_1 {

// POSIX has bytes, which are taken as they are.
#if defined(_WIN32)
inline std::string path_text(const std::filesystem::path& path) { return to_utf8(path.native()); }
inline std::filesystem::path path_of(const std::string& text) { return to_wide(text); }
#else
inline std::string path_text(const std::filesystem::path& path) { return path.string(); }
inline std::filesystem::path path_of(const std::string& text) { return text; }
#endif

}  // namespace stoop
