// What the processes of a training tell each other.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include <stoop/world.hpp>

#include "../base/memory.hpp"
#include "../ops/ops.hpp"

namespace stoop {

// Gets a value of each process, in the order of their ranks. Returns false if one cannot be reached.
template <class Value>
bool gather(const Collectives& all, const Value& own, std::vector<Value>& values) {
  static_assert(std::is_trivially_copyable_v<Value>);
  values.assign(static_cast<std::size_t>(all.size), own);
  if (all.size == 1) return true;
  const Value given = own;  // `own` may be an element of `values`
  return all.allgather(all.context, &given, values.data(), sizeof(Value)) == 0;
}

// Adds up arrays over processes in a binary tree: the sum of the lower half of the ranks plus that of the upper half, each
// made in the same way.
template <class T>
class TreeSum {
 public:
  // Arrays of up to this many bytes are gathered whole, in one message.
  static constexpr Index kWhole = 1 << 15;

  TreeSum(const Collectives& all, const OpTable<T>& ops, Index elements) : all_(all), ops_(ops), elements_(elements) {
    if (all.size > 1) received_.reset(is_small() ? elements * all.size : elements);
  }

  // The number of elements that arrays must have: a multiple of the number of processes, so that each has a part.
  static Index padded(const Collectives& all, Index elements) {
    return round_up(elements, all.size * kAlignment / static_cast<Index>(sizeof(T)));
  }

  // Replaces `values` by its sum over the processes whose ranks are multiples of `stride`; the arrays of the others do not
  // count. Returns false if a process cannot be reached.
  bool add(T* values, int stride) {
    if (all_.size == 1) return true;
    const Index part = is_small() ? elements_ : elements_ / all_.size, bytes = part * static_cast<Index>(sizeof(T));
    T* const received = received_.data();
    const auto move = is_small() ? all_.allgather : all_.alltoall;
    if (move(all_.context, values, received, bytes) != 0) return false;
    for (Index step = stride; step < all_.size; step *= 2) {
      for (Index rank = 0; rank < all_.size; rank += 2 * step) {
        ops_.add({1, part, received + (rank + step) * part, part, received + rank * part, part, false});
      }
    }
    if (is_small()) return std::copy_n(received, part, values), true;
    return all_.allgather(all_.context, received, values, bytes) == 0;
  }

 private:
  bool is_small() const { return elements_ * static_cast<Index>(sizeof(T)) <= kWhole; }

  const Collectives& all_;
  const OpTable<T>& ops_;
  const Index elements_;
  AlignedBuffer<T> received_;
};

}  // namespace stoop
