// Files: round trips, every way in which a file can be damaged, and saves that fail half way.
#include "io/safetensors.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <stoop/error.hpp>

#include "tensor_file.hpp"

namespace stoop {
namespace {

namespace fs = std::filesystem;

class Safetensors : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "stoop_test_XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
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

std::string entry(const std::string& name, const std::string& shape, const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

const std::vector<float> kWeight = {1.5f, -2.0f, 3.25f, 0.0f, 1e-40f, -0.0f};
const std::vector<double> kScalar = {1.0 / 3.0};

std::vector<TensorToSave> some_tensors() {
  return {{"0.weight", DType::float32, {2, 3}, kWeight.data()},
          {"empty", DType::float32, {0, 7}, nullptr},
          {"a scalar", DType::float64, {}, kScalar.data()}};
}

// ---- what is saved ----

TEST_F(Safetensors, RoundTripKeepsEveryBit) {
  const std::map<std::string, std::string> metadata = {{"stoop", "{\"layers\":[]}"}, {"note", "\u00e9\n"}};
  save_tensors(path_, some_tensors(), metadata);
  const LoadedFile file = load_tensors(path_);
  EXPECT_EQ(file.metadata, metadata);
  EXPECT_EQ(file.path, path_);
  ASSERT_EQ(file.tensors.size(), 3u);
  EXPECT_EQ(file.tensors[0].name, "0.weight");
  const LoadedTensor& weight = file.tensor("0.weight");
  EXPECT_EQ(weight.dtype, DType::float32);
  EXPECT_EQ(weight.shape, (std::vector<Index>{2, 3}));
  ASSERT_EQ(weight.data.size(), 24u);
  EXPECT_EQ(std::memcmp(weight.data.data(), kWeight.data(), 24), 0);
  const LoadedTensor& scalar = file.tensor("a scalar");
  EXPECT_EQ(scalar.dtype, DType::float64);
  EXPECT_TRUE(scalar.shape.empty());
  EXPECT_EQ(std::memcmp(scalar.data.data(), kScalar.data(), 8), 0);
  EXPECT_EQ(file.tensor("empty").shape, (std::vector<Index>{0, 7}));
}

TEST_F(Safetensors, DataStartsAligned) {
  for (const std::size_t length : {0, 1, 7, 8, 33, 63, 64}) {
    save_tensors(path_, some_tensors(), {{"k", std::string(length, 'x')}});
    const std::string text = file_text();
    std::uint64_t header = 0;
    std::memcpy(&header, text.data(), sizeof header);
    EXPECT_EQ((8 + header) % 64, 0u);
    EXPECT_EQ(text[8], '{');
    EXPECT_EQ(text.size(), 8 + header + 32);
  }
}

TEST_F(Safetensors, NothingAtAllIsAFileToo) {
  save_tensors(path_, {}, {});
  const LoadedFile file = load_tensors(path_);
  EXPECT_TRUE(file.tensors.empty());
  EXPECT_TRUE(file.metadata.empty());
}

TEST_F(Safetensors, MissingTensorIsNamed) {
  save_tensors(path_, some_tensors(), {});
  const LoadedFile file = load_tensors(path_);
  try {
    file.tensor("1.bias");
    FAIL();
  } catch (const CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find(path_.string() + "] there is no tensor \"1.bias\""), std::string::npos);
  }
}

TEST_F(Safetensors, ReadsAFileOfAnotherWriter) {
  // Keys in another order, tensors not in the order of their bytes, no padding.
  write_raw(R"({"b":{"shape":[1],"data_offsets":[4,8],"dtype":"F32"},)" + entry("c", "[1]", "[0,4]") + "}", "abcdefgh");
  const LoadedFile file = load_tensors(path_);
  EXPECT_EQ(std::memcmp(file.tensor("b").data.data(), "efgh", 4), 0);
  EXPECT_EQ(std::memcmp(file.tensor("c").data.data(), "abcd", 4), 0);
}

// ---- damage ----

TEST_F(Safetensors, EveryTruncationIsRefused) {
  save_tensors(path_, some_tensors(), {{"k", "v"}});
  for (auto length = fs::file_size(path_); length-- > 0;) {
    fs::resize_file(path_, length);
    EXPECT_THROW(load_tensors(path_), CheckpointError) << length;
  }
}

TEST_F(Safetensors, NoFlippedBitOfTheHeaderEscapesAsAnotherError) {
  save_tensors(path_, some_tensors(), {{"k", "v"}});
  const std::string whole = file_text();
  std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
  for (std::size_t bit = 0; bit < 8 * (whole.size() - 32); ++bit) {
    const auto position = static_cast<std::streamoff>(bit / 8);
    const char damaged = static_cast<char>(whole[bit / 8] ^ (1 << (bit % 8)));
    file.seekp(position).put(damaged).flush();
    try {
      load_tensors(path_);  // a letter of a name may change unnoticed
    } catch (const CheckpointError&) {
    }
    file.seekp(position).put(whole[bit / 8]).flush();
  }
  EXPECT_EQ(file_text(), whole);
}

TEST_F(Safetensors, LengthOfTheHeaderMustFitTheFile) {
  for (const std::int64_t claimed : {std::int64_t{3}, std::int64_t{1'000'000'000'000}, INT64_MAX}) {
    write_raw("{}", "", claimed);
    EXPECT_NE(damage().find("the header claims " + std::to_string(claimed)), std::string::npos);
  }
  std::ofstream(path_, std::ios::binary) << std::string(8, '\xff') << "{}";
  EXPECT_NE(damage().find("the header claims 18446744073709551615 bytes; expected at most 2"), std::string::npos);
  write_raw("", "");
  EXPECT_NE(damage().find("stops being JSON"), std::string::npos);
}

TEST_F(Safetensors, HeaderAboveTheLimitIsRefusedUnread) {
  write_raw("{}", "", 100'000'001);
  fs::resize_file(path_, 200'000'000);  // sparse
  EXPECT_NE(damage().find("expected at most 100000000 in"), std::string::npos);
}

TEST_F(Safetensors, DamagedHeadersAreRefused) {
  const std::string eight = "abcdefgh";
  expect_damage("not json", "", "stops being JSON");
  expect_damage("{} {}", "", "stops being JSON");
  expect_damage("[]", "", "got an array");
  expect_damage("{" + entry("a", "[1]", "[0,4]") + "," + entry("a", "[1]", "[4,8]") + "}", eight, "there twice");
  expect_damage(R"({"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}})", "abcd",
                "has the dtype \"BF16\"; expected F32");
  expect_damage(R"({"a":{"dtype":"F64","shape":[2],"data_offsets":[0,8]}})", eight, "expected 16 bytes for its shape");
  expect_damage("{" + entry("\\u001b[2J", "[3]", "[0,8]") + "}", eight, "tensor \"?[2J\" covers");
}

TEST_F(Safetensors, TensorsMustCoverTheDataExactly) {
  const std::string eight = "abcdefgh";
  expect_damage("{" + entry("a", "[1]", "[0,4]") + "," + entry("b", "[1]", "[0,4]") + "}", "abcd", "gap or overlap");
  expect_damage("{" + entry("a", "[2]", "[0,8]") + "," + entry("b", "[1]", "[4,8]") + "}", eight, "gap or overlap");
  expect_damage("{" + entry("a", "[1]", "[0,4]") + "," + entry("b", "[1]", "[5,9]") + "}", "abcdefghi", "gap or");
  expect_damage("{" + entry("a", "[1]", "[4,8]") + "}", eight, "begins at byte 4 of the data; expected 0");
  expect_damage("{" + entry("a", "[1]", "[0,4]") + "}", eight, "4 bytes follow the last tensor");
  expect_damage("{" + entry("a", "[4]", "[0,16]") + "}", eight, "ends at byte 16 of the data; expected at most 8");
  expect_damage("{}", "x", "1 bytes follow the last tensor");
}

TEST_F(Safetensors, ImpossibleNumbersAreRefused) {
  const std::string eight = "abcdefgh";
  expect_damage("{" + entry("a", "[1]", "[-4,0]") + "}", eight, "begins at byte -4");
  expect_damage("{" + entry("a", "[1]", "[0,-4]") + "}", eight, "covers the bytes from 0 to -4");
  expect_damage("{" + entry("a", "[1]", "[0,4]") + "," + entry("b", "[1]", "[4,-9223372036854775808]") + "}", eight,
                "\"b\" covers the bytes");
  expect_damage("{" + entry("a", "[1]", "[8,4]") + "}", eight, "begins at byte 8");
  expect_damage("{" + entry("a", "[-1]", "[0,4]") + "}", "abcd", "has a negative size");
  expect_damage("{" + entry("a", "[-1,-1]", "[0,4]") + "}", "abcd", "has a negative size");
  // 2^32 * 2^32 * 4 is 0 modulo 2^64, which would fit an empty range.
  expect_damage("{" + entry("a", "[4294967296,4294967296]", "[0,0]") + "}", "", "too many elements");
  expect_damage("{" + entry("a", "[9223372036854775807,2]", "[0,8]") + "}", eight, "too many elements");
  expect_damage("{" + entry("a", "[1]", "[0,18446744073709551616]") + "}", eight, "got 1.8446744073709552e+19");
  // Possible, but far more than the file holds: refused before memory is asked for.
  expect_damage("{" + entry("a", "[1099511627776]", "[0,4398046511104]") + "}", eight, "expected at most 8");
}

// ---- the operating system ----

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

TEST_F(Safetensors, MissingFileAndDirectoryAreFileErrors) {
  EXPECT_EQ(errno_of_load(path_), ENOENT);
  EXPECT_EQ(errno_of_load(directory_), EISDIR);
  EXPECT_EQ(errno_of_save(directory_ / "none" / "m.safetensors"), ENOENT);
  EXPECT_EQ(errno_of_save(directory_), EISDIR);
  EXPECT_EQ(errno_of_save(""), ENOENT);
  EXPECT_EQ(files_in_directory(), 0u);
}

TEST_F(Safetensors, PipesAndDevicesAreLeftAlone) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(errno_of_load(path_), EINVAL);
  EXPECT_EQ(errno_of_save(path_), EINVAL);
  EXPECT_TRUE(fs::is_fifo(path_));
}

TEST_F(Safetensors, SaveReplacesAndLeavesNothingElse) {
  save_tensors(path_, {}, {{"version", "old"}});
  save_tensors(path_, some_tensors(), {{"version", "new"}});
  EXPECT_EQ(load_tensors(path_).metadata.at("version"), "new");
  EXPECT_EQ(files_in_directory(), 1u);
}

TEST_F(Safetensors, RelativePathIsSavedInTheWorkingDirectory) {
  save_tensors("plain.safetensors", some_tensors(), {});
  EXPECT_EQ(load_tensors(directory_ / "plain.safetensors").tensors.size(), 3u);
}

TEST_F(Safetensors, LongestFileNameCanBeSaved) {
  EXPECT_EQ(errno_of_save(directory_ / std::string(255, 'x')), 0);
  EXPECT_EQ(errno_of_save(directory_ / std::string(256, 'x')), ENAMETOOLONG);
  EXPECT_EQ(files_in_directory(), 1u);
}

TEST_F(Safetensors, FailedSaveLeavesTheOldFile) {
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

TEST_F(Safetensors, SaveWritesThroughASymbolicLink) {
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

TEST_F(Safetensors, SaveKeepsTheModeOfTheFile) {
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

TEST_F(Safetensors, TheNextSaveRemovesWhatAKilledOneLeft) {
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

TEST_F(Safetensors, ProcessesThatSaveAtOnceLeaveEachOtherAlone) {
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

TEST_F(Safetensors, RefusedContentTouchesNoFile) {
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
