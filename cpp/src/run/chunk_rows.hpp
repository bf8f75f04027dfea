// The samples and targets of a chunk of rows as kernels read them: where they lie, or in memory of the walk, where they are
// converted, or gathered in an order.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "../base/memory.hpp"
#include "../data/input_rows.hpp"
#include "../data/read_ahead.hpp"
#include "../data/sample_rows.hpp"
#include "steps_context.hpp"

namespace stoop {

template <class T>
class ChunkRows {
 public:
  // Returns the memory that chunks of up to `rows` rows need.
  static Index bytes(const SampleRows<T>& data, Index rows) { return Places(data, rows).end; }

  ChunkRows(const OpTable<T>& ops, const SampleRows<T>& data, std::byte* memory, Index most_rows)
      : ops_(ops), data_(data), memory_(memory), places_(data, most_rows) {}

  // Returns the samples of these rows.
  BoundBuffer<T> samples(const Range& rows) const {
    const InputView& x = data_.x;
    if (is_read_in_place(data_)) return {const_cast<T*>(static_cast<const T*>(x.row(rows.begin))), x.stride};
    T* const out = at<T>(places_.x);
    const std::int32_t* const order = data_.order == nullptr ? nullptr : data_.order + rows.begin;
    ops_.gather[static_cast<int>(x.type)]({rows.end - rows.begin, x.cols, order == nullptr ? x.row(rows.begin) : x.data,
                                           x.stride, order, out, stride_of(data_), data_.scale, data_.shift});
    return {out, stride_of(data_)};
  }

  // Gets the targets of these rows ready. The first label that is no class is kept.
  void read_targets(const Range& rows, Index classes, std::atomic<Index>& bad_label) const {
    for (Index i = rows.begin; i < rows.end; ++i) {
      const Index from = data_.sample(i), to = i - rows.begin;
      if (data_.classes != nullptr) {
        at<std::int32_t>(places_.labels)[to] = read_label(data_.classes, from, classes, bad_label);
      }
      if (data_.order == nullptr) continue;
      if (data_.weights != nullptr) at<double>(places_.weights)[to] = data_.weights[from];
      copy_row(data_.values, from, at<T>(places_.values), to);
      copy_row(data_.element_weights, from, at<T>(places_.element_weights), to);
    }
  }

  // Sets the targets of those from row `first` of the chunk on, which begins at `begin`.
  void set(LossArgs<T>& args, Index begin, Index first) const {
    const bool is_gathered = data_.order != nullptr;
    const Index start = is_gathered ? first : begin + first;
    if (data_.classes != nullptr) args.classes = at<std::int32_t>(places_.labels) + first;
    if (data_.values.data != nullptr) {
      args.ld_targets = is_gathered ? data_.values.cols : data_.values.stride;
      args.targets = (is_gathered ? at<T>(places_.values) : data_.values.data) + start * args.ld_targets;
    }
    if (data_.weights != nullptr) args.weights = (is_gathered ? at<double>(places_.weights) : data_.weights) + start;
    args.ld_element_weights = data_.element_weights.cols;
    if (data_.element_weights.data != nullptr) {
      args.element_weights =
          (is_gathered ? at<T>(places_.element_weights) : data_.element_weights.data) + start * args.ld_element_weights;
    }
  }

 private:
  // In bytes from the start of the memory.
  struct Places {
    Places(const SampleRows<T>& data, Index rows) {
      const bool is_gathered = data.order != nullptr;
      const auto place = [this](Index size) {
        const Index begin = end;
        end += round_up(size, kAlignment);
        return begin;
      };
      x = place(rows * stride_of(data) * Index{sizeof(T)});
      labels = place(data.classes == nullptr ? 0 : rows * Index{sizeof(std::int32_t)});
      values = place(is_gathered ? rows * data.values.cols * Index{sizeof(T)} : 0);
      weights = place(is_gathered && data.weights != nullptr ? rows * Index{sizeof(double)} : 0);
      element_weights = place(is_gathered ? rows * data.element_weights.cols * Index{sizeof(T)} : 0);
    }
    Index x, labels, values, weights, element_weights, end = 0;
  };

  static bool is_read_in_place(const SampleRows<T>& data) {
    return data.order == nullptr && data.x.type == kInputType<T> && data.scale == T(1) && data.shift == T(0);
  }
  static Index stride_of(const SampleRows<T>& data) {
    return is_read_in_place(data) ? 0 : round_up(data.x.cols, kAlignment / static_cast<Index>(sizeof(T)));
  }
  static void copy_row(const MatrixView<const T>& from, Index row, T* to, Index place) {
    if (from.data != nullptr) std::copy_n(from.data + row * from.row_stride(), from.cols, to + place * from.cols);
  }

  template <class Element>
  Element* at(Index place) const {
    return reinterpret_cast<Element*>(memory_ + place);
  }

  const OpTable<T>& ops_;
  const SampleRows<T>& data_;
  std::byte* const memory_;
  const Places places_;
};

// Asks for the pages of the next of `mine`, those that a thread takes one after the other, and notes the first row that is
// not finite.
template <class T>
void prepare_mapped_rows(const SampleRows<T>& data, const Range& rows, const Range& mine, std::atomic<Index>& bad_row) {
  const InputView& x = data.x;
  if (data.order == nullptr) {
    const Index last = std::min(mine.end, x.rows), ahead = rows_ahead(x, false);
    const Index asked = rows.begin == mine.begin ? rows.begin : std::min(rows.begin + ahead, last);
    ask_in_sequence(x, asked, std::min(rows.end + ahead, last), last);
  }
  for (Index i = rows.begin; i < rows.end; ++i) {
    if (!is_finite_row<T>(x, data.sample(i))) keep_first(bad_row, data.sample(i));
  }
}

}  // namespace stoop
