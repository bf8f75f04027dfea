// A new folder for a test, in the folder of the system for such.
#pragma once

#include <filesystem>
#include <random>
#include <string>

namespace stoop {

inline std::filesystem::path make_temporary_folder() {
  std::random_device random;
  for (;;) {
    const std::string name = "stoop_test_" + std::to_string(random()) + std::to_string(random());
    std::filesystem::path path = std::filesystem::temp_directory_path() / name;
    if (std::filesystem::create_directory(path)) return path;
  }
}

}  // namespace stoop
