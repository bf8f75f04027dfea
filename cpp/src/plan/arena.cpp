// Gives the buffers of a plan their places: the largest first, each at the lowest offset that no buffer alive at the same
// time uses. This is greedy, but the order makes it close to optimal for chains of layers.

#include "../base/memory.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "plan.hpp"

namespace stoop::inline v0_1 {
namespace {

// The buffers that have a place, indexed by the time they are alive. Each has few neighbours in time, however long the chain
// is. As long as all are alive at one time, as in training, they lie one after another and need no index.
class Placed {
 public:
  explicit Placed(int last_time) : by_time_(static_cast<std::size_t>(last_time) + 1) {}

  bool all_alive_with(const Buffer& buffer) const {
    return std::max(latest_first_, buffer.first) <= std::min(earliest_last_, buffer.last);
  }

  // Sorts by offset.
  std::vector<const Buffer*> alive_with(const Buffer& buffer) {
    for (const Buffer* earlier : std::exchange(together_, {})) note_times(*earlier);
    std::vector<const Buffer*> found;
    for (int time = buffer.first; time <= buffer.last; ++time) {
      const std::vector<const Buffer*>& then = by_time_[static_cast<std::size_t>(time)];
      found.insert(found.end(), then.begin(), then.end());
    }
    std::sort(found.begin(), found.end(),
              [](const Buffer* a, const Buffer* b) { return std::pair(a->offset, a) < std::pair(b->offset, b); });
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
  }

  void add(const Buffer& buffer) {
    latest_first_ = std::max(latest_first_, buffer.first);
    earliest_last_ = std::min(earliest_last_, buffer.last);
    if (latest_first_ <= earliest_last_) {
      together_.push_back(&buffer);
    } else {
      note_times(buffer);
    }
  }

 private:
  void note_times(const Buffer& buffer) {
    for (int time = buffer.first; time <= buffer.last; ++time) {
      by_time_[static_cast<std::size_t>(time)].push_back(&buffer);
    }
  }

  std::vector<const Buffer*> together_;              // until the first that is not alive with all of them
  std::vector<std::vector<const Buffer*>> by_time_;  // afterwards
  int latest_first_ = 0, earliest_last_ = std::numeric_limits<int>::max();
};

}  // namespace

Index layout_arena(std::span<Buffer> buffers, Index rows) {
  const auto bytes_of = [rows](const Buffer& b) {
    return round_up(b.rows_of(rows) * b.stride * b.element_size, kAlignment);
  };
  std::vector<std::size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return bytes_of(buffers[a]) > bytes_of(buffers[b]); });
  int last_time = 0;
  for (const Buffer& buffer : buffers) last_time = std::max(last_time, buffer.last);
  Placed placed(last_time);
  Index total = 0;
  for (const std::size_t i : order) {
    Buffer& buffer = buffers[i];
    if (buffer.external) continue;
    Index offset = 0;
    if (placed.all_alive_with(buffer)) {
      offset = total;
    } else {
      for (const Buffer* other : placed.alive_with(buffer)) {
        if (offset + bytes_of(buffer) <= other->offset) break;
        offset = std::max(offset, other->offset + bytes_of(*other));
      }
    }
    buffer.offset = offset;
    placed.add(buffer);
    total = std::max(total, offset + bytes_of(buffer));
  }
  return total;
}

}  // namespace stoop
