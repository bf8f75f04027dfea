// A checksum of 64 bits that is as fast as memory, for processes that compare what they have. It is not for files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace stoop::inline v0_1 {

class Fingerprint {
 public:
  Fingerprint& add(const void* data, std::size_t bytes) {
    const auto* from = static_cast<const std::byte*>(data);
    for (; bytes >= sizeof lanes_; from += sizeof lanes_, bytes -= sizeof lanes_) {
      for (std::size_t i = 0; i < kLanes; ++i) {
        std::uint64_t word = 0;
        std::memcpy(&word, from + i * sizeof word, sizeof word);
        lanes_[i] = mixed(lanes_[i], word);
      }
    }
    for (std::size_t i = 0; bytes > 0; ++i) {
      const std::size_t size = bytes < 8 ? bytes : 8;
      std::uint64_t word = 0;
      std::memcpy(&word, from, size);
      lanes_[i] = mixed(lanes_[i], word ^ size);
      from += size;
      bytes -= size;
    }
    return *this;
  }
  Fingerprint& add(std::string_view text) { return add(text.data(), text.size()).add_number(text.size()); }
  template <class Number>
  Fingerprint& add_number(Number number) {
    return add(&number, sizeof number);
  }

  std::uint64_t value() const {
    std::uint64_t sum = kFactor;
    for (const std::uint64_t lane : lanes_) sum = mixed(sum, lane);
    return sum ^ sum >> 29;
  }

 private:
  static constexpr std::size_t kLanes = 8;  // independent of each other, so that their multiplications overlap
  static constexpr std::uint64_t kFactor = 0x9E3779B97F4A7C15;

  static std::uint64_t mixed(std::uint64_t lane, std::uint64_t word) {
    lane = (lane ^ word) * kFactor;
    return lane << 31 | lane >> 33;
  }

  std::uint64_t lanes_[kLanes] = {1, 2, 3, 4, 5, 6, 7, 8};
};

}  // namespace stoop
