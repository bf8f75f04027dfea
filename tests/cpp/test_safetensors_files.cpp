// Saving and loading beside other processes, links, limits and faults of the file system.
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <stoop/error.hpp>

#include "io/safetensors.hpp"
#include "safetensors_folder.hpp"

namespace stoop {
namespace {

using SafetensorsFiles = SafetensorsFolder;

int errno_of_load(const fs::path& path) {
  try {
    load_tensors(path);
  } catch (const FileError& error) {
    EXPECT_EQ(error.path, path.string());
    return error.code().value();
  }
  return 0;
}

int errno_of_save(const fs::path& path) {
  try {
    save_tensors(path, some_tensors(), {});
  } catch (const FileError& error) {
    EXPECT_EQ(error.path, path.string());
    return error.code().value();
  }
  return 0;
}

TEST_F(SafetensorsFiles, MissingFileAndDirectoryAreFileErrors) {
  EXPECT_EQ(errno_of_load(path_), ENOENT);
  EXPECT_EQ(errno_of_load(directory_), EISDIR);
  EXPECT_EQ(errno_of_save(directory_ / "none" / "m.safetensors"), ENOENT);
  EXPECT_EQ(errno_of_save(directory_), EISDIR);
  EXPECT_EQ(errno_of_save(""), ENOENT);
  EXPECT_EQ(files_in_directory(), 0u);
}

TEST_F(SafetensorsFiles, PipesAndDevicesAreLeftAlone) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(errno_of_load(path_), EINVAL);
  EXPECT_EQ(errno_of_save(path_), EINVAL);
  EXPECT_TRUE(fs::is_fifo(path_));
}

TEST_F(SafetensorsFiles, SaveReplacesAndLeavesNothingElse) {
  save_tensors(path_, {}, {{"version", "old"}});
  save_tensors(path_, some_tensors(), {{"version", "new"}});
  EXPECT_EQ(load_tensors(path_).metadata.at("version"), "new");
  EXPECT_EQ(files_in_directory(), 1u);
}

TEST_F(SafetensorsFiles, RelativePathIsSavedInTheWorkingDirectory) {
  save_tensors("plain.safetensors", some_tensors(), {});
  EXPECT_EQ(load_tensors(directory_ / "plain.safetensors").tensors.size(), 3u);
}

TEST_F(SafetensorsFiles, LongestFileNameCanBeSaved) {
  EXPECT_EQ(errno_of_save(directory_ / std::string(255, 'x')), 0);
  EXPECT_EQ(errno_of_save(directory_ / std::string(256, 'x')), ENAMETOOLONG);
  EXPECT_EQ(files_in_directory(), 1u);
}

TEST_F(SafetensorsFiles, FailedSaveLeavesTheOldFile) {
  save_tensors(path_, some_tensors(), {{"version", "old"}});
  const std::string before = file_text();
  const std::vector<float> large(100'000, 1.0f);
  const std::vector<TensorToSave> tensors = {{"w", DType::float32, {100'000}, large.data()}};

  struct rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  auto* const old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small{10'000, old_limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  int error_number = 0;
  try {
    save_tensors(path_, tensors, {});
  } catch (const FileError& error) {
    error_number = error.code().value();
  }
  ::setrlimit(RLIMIT_FSIZE, &old_limit);
  std::signal(SIGXFSZ, old_handler);

  EXPECT_EQ(error_number, EFBIG);
  EXPECT_EQ(file_text(), before);
  EXPECT_EQ(files_in_directory(), 1u);
}

TEST_F(SafetensorsFiles, SaveWritesThroughASymbolicLink) {
  const fs::path real = directory_ / "real.safetensors", second = directory_ / "second";
  save_tensors(real, {}, {{"version", "old"}});
  fs::create_symlink("real.safetensors", path_);
  fs::create_symlink(path_, second);
  for (const fs::path& link : {path_, second}) {
    save_tensors(link, some_tensors(), {{"version", link.filename().string()}});
    EXPECT_TRUE(fs::is_symlink(link));
    EXPECT_FALSE(fs::is_symlink(real));
    EXPECT_EQ(load_tensors(real).metadata.at("version"), link.filename().string());
  }
  fs::remove(real);  // a link to what is not there yet
  save_tensors(path_, some_tensors(), {});
  EXPECT_TRUE(fs::is_symlink(path_));
  EXPECT_EQ(load_tensors(real).tensors.size(), 3u);
  EXPECT_EQ(files_in_directory(), 3u);
  fs::create_symlink("b", directory_ / "a");
  fs::create_symlink("a", directory_ / "b");
  EXPECT_EQ(errno_of_save(directory_ / "a"), ELOOP);
  EXPECT_EQ(files_in_directory(), 5u);
}

TEST_F(SafetensorsFiles, SaveKeepsTheModeOfTheFile) {
  const ::mode_t before = ::umask(022);
  save_tensors(path_, {}, {});
  EXPECT_EQ(fs::status(path_).permissions(), fs::perms(0644));
  for (const unsigned mode : {0600u, 0640u, 0664u, 0777u}) {
    ASSERT_EQ(::chmod(path_.c_str(), mode), 0);
    save_tensors(path_, some_tensors(), {});
    EXPECT_EQ(fs::status(path_).permissions(), fs::perms(mode));
  }
  ::umask(before);
}

// Saves over and over until it is killed.
void save_for_ever(const fs::path& path) {
  const std::vector<float> large(1'000'000, 1.0f);
  for (;;) save_tensors(path, std::vector<TensorToSave>{{"w", DType::float32, {1'000'000}, large.data()}}, {});
}

TEST_F(SafetensorsFiles, TheNextSaveRemovesWhatAKilledOneLeft) {
  const auto kill_in_a_save = [&](const fs::path& target) {
    const std::size_t files = files_in_directory();
    for (int attempt = 0; attempt < 200; ++attempt) {
      const pid_t child = ::fork();
      if (child == 0) save_for_ever(target);
      ::usleep(static_cast<unsigned>(5000 + 100 * attempt));
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
      if (files_in_directory() > files) break;
    }
  };
  save_tensors(path_, {}, {});
  kill_in_a_save(path_);
  ASSERT_EQ(files_in_directory(), 2u) << "no attempt was killed while it wrote";
  save_tensors(directory_ / "other", {}, {});  // of another file: not its business
  EXPECT_EQ(files_in_directory(), 3u);
  save_tensors(path_, some_tensors(), {});
  EXPECT_EQ(files_in_directory(), 2u);
}

TEST_F(SafetensorsFiles, ProcessesThatSaveAtOnceLeaveEachOtherAlone) {
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (int n = 0; n < 100; ++n) {
        if (errno_of_save(path_) != 0) ::_exit(1);
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0) << "a save failed";
  }
  EXPECT_EQ(load_tensors(path_).tensors.size(), 3u);
  EXPECT_EQ(files_in_directory(), 1u);
}

TEST_F(SafetensorsFiles, RefusedContentTouchesNoFile) {
  save_tensors(path_, {}, {{"version", "old"}});
  const std::vector<TensorToSave> twice = {{"w", DType::float32, {1}, kWeight.data()},
                                           {"w", DType::float32, {1}, kWeight.data()}};
  EXPECT_THROW(save_tensors(path_, twice, {}), ValueError);
  const std::vector<TensorToSave> negative = {{"w", DType::float32, {-1}, kWeight.data()}};
  EXPECT_THROW(save_tensors(path_, negative, {}), ValueError);
  EXPECT_THROW(save_tensors(path_, {}, {{"k", "\xff"}}), ValueError);
  EXPECT_EQ(load_tensors(path_).metadata.at("version"), "old");
  EXPECT_EQ(files_in_directory(), 1u);
}

}  // namespace
}  // namespace stoop
