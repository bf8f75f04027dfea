#include "shared_library.hpp"

#include <dlfcn.h>
#include <stdlib.h>

namespace stoop::inline v0_1 {

LibraryHandle find_loaded_library(const std::string& file) {
  return ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
}

LibraryHandle open_library(const std::string& file, std::string& error) {
  LibraryHandle library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library != nullptr) return library;
  const char* reason = ::dlerror();
  error = reason != nullptr ? reason : "cannot load " + file;
  return nullptr;
}

void close_library(LibraryHandle library) { ::dlclose(library); }

void* find_function(LibraryHandle library, const char* name) { return ::dlsym(library, name); }

std::string file_of_function(void* function) {
  Dl_info info{};
  if (::dladdr(function, &info) == 0 || info.dli_fname == nullptr) return {};
  return info.dli_fname;
}

std::optional<std::string> read_environment(const char* name) {
  const char* value = ::getenv(name);
  return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
}

void set_environment(const char* name, const char* value) {
  if (value != nullptr) {
    ::setenv(name, value, 1);
  } else {
    ::unsetenv(name);
  }
}

}  // namespace stoop
