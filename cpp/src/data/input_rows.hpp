// Reads rows of an InputView in their stored type, and labels, which other threads or processes may change meanwhile.
#pragma once

#include <atomic>
#include <cstdint>

#include <stoop/input.hpp>
#include <stoop/layers.hpp>

#include "../base/finite.hpp"
#include "../base/input_map.hpp"
#include "../base/ranges.hpp"

namespace stoop::inline v0_1 {

// Returns whether all numbers of a row are finite as numbers of T, or NaN where that is not an error.
template <class T>
bool is_finite_row(const InputView& x, Index i, MissingValues missing = MissingValues::error) {
  const auto test = [&]<class From>(const From* row) {
    return missing == MissingValues::error ? all_finite_as<T>(row, x.cols) : none_infinite_as<T>(row, x.cols);
  };
  if (x.type == InputType::uint8) return true;
  if (x.type == InputType::float32) return test(static_cast<const float*>(x.row(i)));
  return test(static_cast<const double*>(x.row(i)));
}

// What a NaN is to a run with this map.
template <class T>
MissingValues missing_values(const InputMap<T>& map) {
  return map.missing == nullptr ? MissingValues::error : MissingValues::mean;
}

// Sets `first` to `row` if `row` comes before it. kNone stands for no row.
inline void keep_first(std::atomic<Index>& first, Index row) {
  Index seen = first.load(std::memory_order_relaxed);
  while ((seen == kNone || row < seen) && !first.compare_exchange_weak(seen, row, std::memory_order_relaxed)) {
  }
}

// Packs a label that was no class when a run read it, and its row, into one number, so that threads can agree on the first.
// There are fewer than 2^31 rows. kNone stands for no such label.
struct BadLabel {
  Index row = kNone;
  std::int32_t label = 0;

  static Index packed(Index row, std::int32_t label) { return row << 32 | static_cast<std::uint32_t>(label); }
  static BadLabel unpacked(Index number) {
    if (number == kNone) return {};
    return {number >> 32, static_cast<std::int32_t>(static_cast<std::uint32_t>(number))};
  }
};

// Reads a number once that others may change meanwhile. The compiler must not read it again after a check.
inline std::int32_t read_once(const std::int32_t& number) { return __atomic_load_n(&number, __ATOMIC_RELAXED); }

// Returns the label of a row. It is in range when the call begins, but the memory is the caller's, and another thread or
// process may write there. So it is checked again as it is read, because the kernels use it as an index. For a label that
// is no class it returns 0, and `bad` keeps the first of these.
inline std::int32_t read_label(const std::int32_t* labels, Index row, Index classes, std::atomic<Index>& bad) {
  const std::int32_t label = read_once(labels[row]);
  if (label >= 0 && label < classes) [[likely]]
    return label;
  keep_first(bad, BadLabel::packed(row, label));
  return 0;
}

}  // namespace stoop
