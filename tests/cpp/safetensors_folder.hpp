// A folder of its own for each test of safetensors files, and tensors to save.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <stoop/error.hpp>

#include "temporary_folder.hpp"
#include "tensor_file.hpp"

namespace stoop {

namespace fs = std::filesystem;

class SafetensorsFolder : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = make_temporary_folder();
    path_ = directory_ / "m.safetensors";
    working_directory_ = fs::current_path();
    fs::current_path(directory_);  // whatever a faulty save leaves behind is removed with it
  }
  void TearDown() override {
    fs::current_path(working_directory_);
    fs::remove_all(directory_);
  }

  // The file as raw parts: the length field says `claimed`, or the truth.
  void write_raw(const std::string& header, const std::string& data, std::int64_t claimed = -1) const {
    const std::uint64_t length = claimed < 0 ? header.size() : static_cast<std::uint64_t>(claimed);
    std::ofstream out(path_, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out << header << data;
  }

  std::string file_text() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }

  // Why the file is refused.
  std::string damage() const {
    try {
      load_tensors(path_);
    } catch (const CheckpointError& error) {
      EXPECT_NE(std::string(error.what()).find(path_.string()), std::string::npos) << error.what();
      return error.what();
    }
    return "nothing was thrown";
  }

  void expect_damage(const std::string& header, const std::string& data, const std::string& part) const {
    write_raw(header, data);
    const std::string message = damage();
    EXPECT_NE(message.find(part), std::string::npos) << header << "\n" << message;
  }

  std::size_t files_in_directory() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()));
  }

  fs::path working_directory_;
  fs::path directory_;
  fs::path path_;
};

inline const std::vector<float> kWeight = {1.5f, -2.0f, 3.25f, 0.0f, 1e-40f, -0.0f};
inline const std::vector<double> kScalar = {1.0 / 3.0};

inline std::vector<TensorToSave> some_tensors() {
  return {{"0.weight", DType::float32, {2, 3}, kWeight.data()},
          {"empty", DType::float32, {0, 7}, nullptr},
          {"a scalar", DType::float64, {}, kScalar.data()}};
}

}  // namespace stoop
