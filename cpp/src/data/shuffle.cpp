// Two elements of the order are swapped for each draw of random numbers.

#include "shuffle.hpp"

#include <cstddef>
#include <numeric>
#include <utility>

#include "../base/philox.hpp"

namespace stoop::inline v0_1 {

void shuffle(std::uint64_t seed, Index epoch, std::span<std::int32_t> order) {
  std::iota(order.begin(), order.end(), 0);
  if (order.size() < 2) return;
  const auto swap_below = [&](std::size_t i, std::uint64_t bits) {
    std::swap(order[i], order[to_bounded(bits, i + 1)]);
  };
  std::size_t i = order.size() - 1;
  if (i % 2 == 0) swap_below(i, draw(seed, Stream::shuffle, static_cast<std::uint32_t>(epoch), i / 2)[0]), --i;
  for (; i >= 1; i -= 2) {
    const auto bits = draw(seed, Stream::shuffle, static_cast<std::uint32_t>(epoch), i / 2);
    swap_below(i, bits[1]);
    if (i > 1) swap_below(i - 1, bits[0]);
    if (i == 1) break;
  }
}

}  // namespace stoop
