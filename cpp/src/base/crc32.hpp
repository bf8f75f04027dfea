// CRC-32 as in zip and PNG (ISO 3309, polynomial 0x04C11DB7, reflected), eight bytes at a time (Kounavis & Berry 2005).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace stoop::inline v0_1 {

using Crc32Tables = std::array<std::array<std::uint32_t, 256>, 8>;

// Table i gives what a byte contributes that i bytes follow.
inline constexpr Crc32Tables kCrc32Tables = [] {
  Crc32Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ ((value & 1) != 0 ? 0xEDB88320U : 0U);
    tables[0][byte] = value;
  }
  for (std::size_t i = 1; i < 8; ++i) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[i - 1][byte];
      tables[i][byte] = before >> 8 ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}();

class Crc32 {
 public:
  void add(const void* data, std::size_t bytes) {
    const auto* at = static_cast<const unsigned char*>(data);
    for (; bytes >= 8; bytes -= 8, at += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, at, 8);  // little-endian, as the files are
      word ^= state_;
      state_ = 0;
      for (std::size_t i = 0; i < 8; ++i) state_ ^= kCrc32Tables[7 - i][(word >> (8 * i)) & 0xFF];
    }
    for (; bytes > 0; --bytes, ++at) state_ = state_ >> 8 ^ kCrc32Tables[0][(state_ ^ *at) & 0xFF];
  }
  std::uint32_t value() const { return ~state_; }

 private:
  std::uint32_t state_ = 0xFFFFFFFFU;
};

}  // namespace stoop
