// Counter-based random numbers: Philox4x32-10 of Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
// A draw is a function of (seed, stream, which, position) and of nothing else. It has no state and does not depend on the
// order of calls.
#pragma once

#include <array>
#include <cstdint>

namespace stoop::inline v0_1 {

// The use of a draw. It is part of the counter, so that no two uses share numbers.
enum class Stream : std::uint32_t { initialize = 1, shuffle = 2, dropout = 3, lanczos = 4, augment = 5 };

inline std::array<std::uint32_t, 4> philox(std::uint64_t seed, std::array<std::uint32_t, 4> counter) {
  std::uint32_t key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key0, static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key1, static_cast<std::uint32_t>(product0)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// Returns two 64-bit draws. `which` is the parameter, the epoch, ...
inline std::array<std::uint64_t, 2> draw(std::uint64_t seed, Stream stream, std::uint32_t which,
                                         std::uint64_t position) {
  const auto words = philox(seed, {static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(position >> 32),
                                   which, static_cast<std::uint32_t>(stream)});
  return {words[0] | std::uint64_t{words[1]} << 32, words[2] | std::uint64_t{words[3]} << 32};
}

// Returns a number strictly between 0 and 1 with 52 random bits. With 53 bits the largest would round to 1.
inline double to_unit_interval(std::uint64_t bits) { return (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52; }

// Returns a number in 0 .. bound-1 (Lemire 2019, without the rejection: the bias is below bound / 2^64).
inline std::uint64_t to_bounded(std::uint64_t bits, std::uint64_t bound) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>((Wide{bits} * bound) >> 64);
}

}  // namespace stoop
