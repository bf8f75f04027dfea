// What the processes of a training tell each other.
#pragma once

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include <stoop/world.hpp>

#include "../base/memory.hpp"
#include "../base/ranges.hpp"
#include "../ops/ops.hpp"

namespace stoop::inline v0_1 {

// Gets a value of each process, in the order of their ranks. Returns false if one cannot be reached.
template <class Value>
bool gather(const Collectives& all, const Value& own, std::vector<Value>& values) {
  static_assert(std::is_trivially_copyable_v<Value>);
  values.assign(static_cast<std::size_t>(all.size), own);
  if (all.size == 1) return true;
  const Value given = own;  // `own` may be an element of `values`
  return all.allgather(all.context, &given, values.data(), sizeof(Value)) == 0;
}

// Arrays of several processes, of which each has one part where they are large, and their sums in a binary tree: the sum of the
// lower half of the ranks plus that of the upper half, each made in the same way.
template <class T>
class SharedArray {
 public:
  // Arrays of up to this many bytes are gathered whole, in one message.
  static constexpr Index kWhole = 1 << 15;

  static bool is_small(Index elements) { return elements * static_cast<Index>(sizeof(T)) <= kWhole; }
  // The number of elements that arrays must have: a multiple of the number of shards, so that each process has a part.
  static Index padded(const World& world, Index elements) {
    return round_up(elements, world.shards * kAlignment / static_cast<Index>(sizeof(T)));
  }

  // `elements` are those before padding.
  SharedArray(const World& world, const OpTable<T>& ops, Index elements)
      : all_(world.collectives),
        ops_(ops),
        used_(elements),
        elements_(padded(world, elements)),
        is_small_(is_small(elements_)),
        part_(is_small_ ? elements_ : elements_ / all_.size) {
    if (all_.size > 1) received_.reset(is_small_ ? elements_ * all_.size : elements_);
    terms_.resize(static_cast<std::size_t>(all_.size));
  }

  Index elements() const { return elements_; }
  // The elements whose sum this process has after `reduce`.
  Range own() const {
    if (is_small_) return {0, elements_};
    return {all_.rank * part_, (all_.rank + 1) * part_};
  }
  bool is_small() const { return is_small_; }
  bool is_whole() const { return is_small_ || all_.size == 1; }

  // Replaces the own part of `values` by its sum over the processes whose ranks are multiples of `stride`; the arrays of the
  // others do not count. Returns false if a process cannot be reached.
  bool reduce(T* values, int stride) {
    if (all_.size == 1) return true;
    const auto move = is_small_ ? all_.allgather : all_.alltoall;
    if (move(all_.context, values, received_.data(), bytes()) != 0) return false;
    T* const own = values + this->own().begin;
    for (int rank = 0; rank < all_.size; ++rank) at(rank) = rank == all_.rank ? own : received_.data() + rank * part_;
    add_terms(own, stride);
    return true;
  }

  // The same, without a message: `first` has the array of rank 0, and those of the others follow at this distance.
  void reduce(T* values, int stride, T* first, Index distance) {
    for (int rank = 0; rank < all_.size; ++rank) at(rank) = first + rank * distance;
    add_terms(values, stride);
  }

  // Gets the parts of all processes and returns the whole array, which is `values` where each has all. Null if a process cannot
  // be reached.
  T* gather(T* values) { return is_whole() ? values : gather_parts(values + own().begin); }

  // Completes an array without padding in place.
  bool complete(T* array) {
    if (is_whole()) return true;
    const auto [begin, end] = own();
    const T* part = array + begin;
    if (end > used_) {
      last_part_.reserve(part_);
      std::copy(array + std::min(begin, used_), array + used_, last_part_.data());
      part = last_part_.data();
    }
    const T* const all = gather_parts(part);
    if (all == nullptr) return false;
    std::copy(all, all + std::min(begin, used_), array);
    if (end < used_) std::copy(all + end, all + used_, array + end);
    return true;
  }

 private:
  // Adds up the terms, and leaves the sum in `own`, which may be one of them.
  void add_terms(T* own, int stride) {
    for (int step = stride; step < all_.size; step *= 2) {
      for (int rank = 0; rank < all_.size; rank += 2 * step) {
        T *&left = at(rank), *right = at(rank + step);
        if (right == own) std::swap(left, right);  // a + b is b + a
        ops_.add({1, part_, right, part_, left, part_, false});
      }
    }
    if (at(0) != own) std::copy_n(at(0), part_, own);
  }

  T* gather_parts(const T* part) {
    const bool reached = all_.allgather(all_.context, part, received_.data(), bytes()) == 0;
    return reached ? received_.data() : nullptr;
  }

  Index bytes() const { return part_ * static_cast<Index>(sizeof(T)); }
  T*& at(int rank) { return terms_[static_cast<std::size_t>(rank)]; }

  const Collectives& all_;
  const OpTable<T>& ops_;
  const Index used_, elements_;
  const bool is_small_;
  const Index part_;
  AlignedBuffer<T> received_;
  AlignedBuffer<T> last_part_;  // with its padding
  std::vector<T*> terms_;       // by rank
};

}  // namespace stoop
