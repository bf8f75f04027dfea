// Libraries that are loaded while the program runs, and the environment that they read then. Paths are text in UTF-8.
#pragma once

#include <optional>
#include <string>

namespace stoop::inline v0_1 {

using LibraryHandle = void*;

// Returns null if the process has not loaded the library. Otherwise the library stays until close_library.
LibraryHandle find_loaded_library(const std::string& file);
// Returns null, with the reason in `error`, if the library cannot be loaded.
LibraryHandle open_library(const std::string& file, std::string& error);
void close_library(LibraryHandle library);

// Returns the function of this name, or null.
void* find_function(LibraryHandle library, const char* name);
// Returns the path of the library that has this function, or nothing if it is unknown.
std::string file_of_function(void* function);

std::optional<std::string> read_environment(const char* name);
// Removes the variable if the value is null.
void set_environment(const char* name, const char* value);

}  // namespace stoop
