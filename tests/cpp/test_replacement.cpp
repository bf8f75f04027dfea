// What a save asks of the folder it writes to, and what load_model makes of a file.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <variant>

#include <gtest/gtest.h>

#include <stoop/error.hpp>
#include <stoop/model.hpp>

#include "io/replacement.hpp"

namespace stoop {
namespace {

namespace fs = std::filesystem;

class ReplacementTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "stoop_test_XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
    path_ = directory_ / "target";
  }
  void TearDown() override {
    ::chmod(directory_.c_str(), 0700);
    fs::remove_all(directory_);
  }

  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()));
  }

  void save(const std::string& content) const {
    Replacement replacement(path_);
    replacement.file().write(content.data(), static_cast<Index>(content.size()));
    replacement.commit();
  }

  std::string content() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }

  int error_of_save() const {
    try {
      save("new");
    } catch (const FileError& error) {
      EXPECT_EQ(error.path, path_.string());
      return error.code().value();
    }
    return 0;
  }

  fs::path directory_, path_;
};

// A file under the name of the new one that nobody has locked, as a killed process leaves it.
TEST_F(ReplacementTest, LeftoversAreRemovedWithoutALookAtTheFolder) {
  fs::path leftover;
  {
    const Replacement unfinished(path_);
    leftover = fs::directory_iterator(directory_)->path();
  }
  EXPECT_EQ(files(), 0u);
  std::ofstream(leftover) << "half";
  const bool root = ::geteuid() == 0;
  if (root) {
    ASSERT_EQ(::chown(leftover.c_str(), 65534, 65534), 0);
    ASSERT_EQ(::chown(directory_.c_str(), 65534, 65534), 0);
  }
  ASSERT_EQ(::chmod(directory_.c_str(), 0300), 0);  // not to be listed
  if (root) {
    ASSERT_EQ(::seteuid(65534), 0);
  }
  save("new");
  if (root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  ASSERT_EQ(::chmod(directory_.c_str(), 0700), 0);
  EXPECT_EQ(files(), 1u);
  EXPECT_EQ(content(), "new");
}

TEST_F(ReplacementTest, AReadOnlyFileStays) {
  save("old");
  ASSERT_EQ(::chmod(path_.c_str(), 0444), 0);
  EXPECT_EQ(error_of_save(), EACCES);
  EXPECT_EQ(content(), "old");
  EXPECT_EQ(files(), 1u);
}

// A link under the name of the new file must not lead the save elsewhere.
TEST_F(ReplacementTest, ALinkUnderTheNameIsNotFollowed) {
  fs::path name;
  {
    const Replacement unfinished(path_);
    name = fs::directory_iterator(directory_)->path();
  }
  const fs::path victim = directory_ / "victim";
  std::ofstream(victim) << "precious";
  fs::create_symlink(victim, name);
  save("new");
  EXPECT_EQ(content(), "new");
  path_ = victim;
  EXPECT_EQ(content(), "precious");
}

TEST_F(ReplacementTest, LoadModelGivesTheTypeOfTheFile) {
  const ModelConfig config{.input_dim = 2, .layers = {Dense{3}}};
  Model<double>(config).save(path_);
  EXPECT_TRUE(std::holds_alternative<Model<double>>(load_model(path_)));
  EXPECT_EQ(file_dtype(path_), DType::float64);
  EXPECT_THROW(Model<float>::load(path_), TypeError);
  Model<float>(config).save(path_);
  const auto model = load_model(path_);
  ASSERT_TRUE(std::holds_alternative<Model<float>>(model));
  EXPECT_EQ(std::get<Model<float>>(model).num_parameters(), 9);
}

}  // namespace
}  // namespace stoop
