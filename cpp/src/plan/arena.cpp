// Gives the buffers of a plan their places: the largest first, each at the lowest offset where no buffer that is alive
// at the same time lies. Greedy, but the order makes it close to optimal for chains of layers.

#include "arena.hpp"

#include <algorithm>
#include <numeric>

#include "plan.hpp"

namespace stoop {
namespace {

bool alive_together(const Buffer& a, const Buffer& b) { return a.first <= b.last && b.first <= a.last; }

}  // namespace

Index layout_arena(std::span<Buffer> buffers, Index rows) {
  const auto bytes_of = [rows](const Buffer& b) {
    return round_up((b.rows > 0 ? b.rows : rows) * b.stride * b.element_size, kAlignment);
  };
  std::vector<std::size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return bytes_of(buffers[a]) > bytes_of(buffers[b]); });
  std::vector<const Buffer*> placed;  // sorted by offset
  Index total = 0;
  for (const std::size_t i : order) {
    Buffer& buffer = buffers[i];
    if (buffer.external) continue;
    Index offset = 0;
    for (const Buffer* other : placed) {
      if (!alive_together(buffer, *other)) continue;
      if (offset + bytes_of(buffer) <= other->offset) break;
      offset = std::max(offset, other->offset + bytes_of(*other));
    }
    buffer.offset = offset;
    const auto by_offset = [](const Buffer* a, const Buffer* b) { return a->offset < b->offset; };
    placed.insert(std::upper_bound(placed.begin(), placed.end(), &buffer, by_offset), &buffer);
    total = std::max(total, offset + bytes_of(buffer));
  }
  return total;
}

}  // namespace stoop
