// Files: round trips, and every way in which a file can be damaged.
#include "io/safetensors.hpp"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <stoop/error.hpp>

#include "safetensors_folder.hpp"

namespace stoop {
namespace {

using Safetensors = SafetensorsFolder;

std::string entry(const std::string& name, const std::string& shape, const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
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

}  // namespace
}  // namespace stoop
