// Files as every system has them: names in any script, errors, and saves that replace a file as a whole.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>

#include <gtest/gtest.h>

#include <stoop/error.hpp>
#include <stoop/model.hpp>
#include <stoop/stoop.h>

#include "base/path_text.hpp"
#include "io/file.hpp"
#include "io/replacement.hpp"
#include "temporary_folder.hpp"

namespace stoop {
namespace {

namespace fs = std::filesystem;

// "modell_ä_模型": characters that no code page of Windows has together.
const std::string kName = "modell_\u00e4_\u6a21\u578b.safetensors";

class Files : public testing::Test {
 protected:
  void TearDown() override { fs::remove_all(folder_); }

  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  static void save(const fs::path& path, const std::string& text) {
    Replacement replacement(path);
    replacement.file().write(text.data(), static_cast<Index>(text.size()));
    replacement.commit();
  }
  static std::string content(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  // The code of the FileError that work() throws, which names this path and says more than a number.
  template <class Work>
  static std::error_code error_of(const fs::path& path, const Work& work) {
    try {
      work();
    } catch (const FileError& error) {
      EXPECT_EQ(error.path, path_text(path));
      const std::string text = error.what();
      EXPECT_NE(text.find("'" + path_text(path) + "': "), std::string::npos) << text;
      EXPECT_GT(error.code().message().size(), 5u) << text;
      return error.code();
    }
    return {};
  }

  const fs::path folder_ = make_temporary_folder();
  const fs::path path_ = folder_ / path_of(kName);
};

TEST_F(Files, BytesStayAsTheyAre) {
  const std::string text("a\nb\r\nc\x1a\0d", 9);
  save(path_, text);
  EXPECT_EQ(content(path_), text);
  const File file = File::open_to_read(path_);
  EXPECT_EQ(file.size(), 9);
  std::string part(3, ' ');
  file.read(part.data(), 3, 4);
  EXPECT_EQ(part, text.substr(4, 3));
  EXPECT_THROW(file.read(part.data(), 3, 8), CheckpointError);
}

TEST_F(Files, PlacesBeyondFourGigabytesAreReadAndWritten) {
  constexpr Index kFar = (Index{1} << 32) + 7;
  std::ofstream(path_) << "near";
  fs::resize_file(path_, kFar + 4);  // which takes no room on most disks
  std::fstream(path_, std::ios::binary | std::ios::in | std::ios::out).seekp(kFar).write("far!", 4);
  const File file = File::open_to_read(path_);
  EXPECT_EQ(file.size(), kFar + 4);
  char text[4];
  file.read(text, 4, kFar);
  EXPECT_EQ(std::string(text, 4), "far!");
  file.read(text, 4, 0);
  EXPECT_EQ(std::string(text, 4), "near");
}

TEST_F(Files, WhatIsMissingOrAFolderIsRefusedWithThePath) {
  const fs::path nowhere = folder_ / "none" / path_of(kName);
  EXPECT_EQ(error_of(path_, [&] { File::open_to_read(path_); }), std::errc::no_such_file_or_directory);
  EXPECT_EQ(error_of(nowhere, [&] { File::open_to_read(nowhere); }), std::errc::no_such_file_or_directory);
  EXPECT_EQ(error_of(nowhere, [&] { save(nowhere, "x"); }), std::errc::no_such_file_or_directory);
  EXPECT_EQ(error_of(folder_, [&] { File::open_to_read(folder_); }), std::errc::is_a_directory);
  EXPECT_EQ(error_of(folder_, [&] { save(folder_, "x"); }), std::errc::is_a_directory);
  EXPECT_EQ(files(), 0u);
}

TEST_F(Files, AFileThatNobodyMayWriteStays) {
  save(path_, "old");
  const fs::perms write = fs::perms::owner_write | fs::perms::group_write | fs::perms::others_write;
  fs::permissions(path_, write, fs::perm_options::remove);
  EXPECT_EQ(error_of(path_, [&] { save(path_, "new"); }), std::errc::permission_denied);
  fs::permissions(path_, write, fs::perm_options::add);
  EXPECT_EQ(content(path_), "old");
  EXPECT_EQ(files(), 1u);
}

TEST_F(Files, WhatIsNotCommittedLeavesNothing) {
  save(path_, "old");
  {
    const Replacement abandoned(path_);
    abandoned.file().write("new", 3);
    EXPECT_EQ(files(), 2u);
  }
  EXPECT_EQ(content(path_), "old");
  EXPECT_EQ(files(), 1u);
}

TEST_F(Files, SavesAtOnceHaveFilesOfTheirOwn) {
  {
    Replacement first(path_), second(path_);
    EXPECT_EQ(files(), 2u);
    first.file().write("first", 5);
    second.file().write("second", 6);
    second.commit();
    first.commit();
  }
  EXPECT_EQ(content(path_), "first");
  EXPECT_EQ(files(), 1u);
}

TEST_F(Files, WhatAKilledSaveLeftIsRemoved) {
  fs::path leftover;
  {
    const Replacement unfinished(path_);
    leftover = fs::directory_iterator(folder_)->path();
  }
  std::ofstream(leftover) << "half";
  EXPECT_EQ(files(), 1u);
  save(path_, "new");
  EXPECT_EQ(content(path_), "new");
  EXPECT_EQ(files(), 1u);
}

TEST_F(Files, AFileThatIsBeingReadCanBeReplaced) {
  save(path_, "old");
  const File reader = File::open_to_read(path_);
  const std::error_code error = error_of(path_, [&] { save(path_, "new"); });
#if defined(_WIN32)
  if (error == std::errc::permission_denied) {
    EXPECT_EQ(content(path_), "old");
    EXPECT_EQ(files(), 1u);
    GTEST_SKIP() << "needs Windows 10 (1607) and NTFS; Wine refuses";
  }
#endif
  EXPECT_FALSE(error) << error.message();
  EXPECT_EQ(content(path_), "new");
  char text[3];
  reader.read(text, 3, 0);
  EXPECT_EQ(std::string(text, 3), "old");
}

TEST_F(Files, TheCInterfaceTakesNamesInAnyScript) {
  const std::string path = path_text(path_);
  stoop_model* model = stoop_model_create("{\"input_dim\": 2, \"layers\": [{\"type\": \"dense\", \"units\": 3}]}");
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(stoop_model_save(model, path.c_str()), STOOP_OK) << stoop_last_error();
  stoop_model_free(model);
  EXPECT_TRUE(fs::exists(path_));
  model = stoop_model_load(path.c_str());
  EXPECT_NE(model, nullptr) << stoop_last_error();
  stoop_model_free(model);
  EXPECT_EQ(stoop_model_load((path + "x").c_str()), nullptr);
  EXPECT_NE(std::strstr(stoop_last_error(), kName.c_str()), nullptr) << stoop_last_error();
}

}  // namespace
}  // namespace stoop
