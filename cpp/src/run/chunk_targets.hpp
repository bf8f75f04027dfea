// The targets and weights of a chunk of rows as kernels read them: where they lie or, in another order, gathered in memory of
// the walk. Labels are always copied there, since others may change them meanwhile.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "../base/memory.hpp"
#include "../data/input_rows.hpp"
#include "../data/sample_rows.hpp"
#include "../ops/ops.hpp"

namespace stoop::inline v0_1 {

template <class T>
class ChunkTargets {
 public:
  // Returns the memory that chunks of up to `rows` rows need.
  static Index bytes(const SampleRows<T>& data, Index rows) { return Places(data, rows).end; }

  ChunkTargets(const SampleRows<T>& data, Index most_rows, std::byte* memory)
      : data_(data), memory_(memory), places_(data, most_rows) {}

  // Gets those of these rows ready. The first label that is no class is kept.
  void read(const Range& rows, Index classes, std::atomic<Index>& bad_label) const {
    if (data_.classes == nullptr && data_.order == nullptr) return;
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

  // Sets those from row `first` of the chunk on, which begins at `begin`.
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
      const auto place = [this](Index size) {
        const Index begin = end;
        end += round_up(size, kAlignment);
        return begin;
      };
      const Index gathered = data.order == nullptr ? 0 : rows;
      labels = place(data.classes == nullptr ? 0 : rows * Index{sizeof(std::int32_t)});
      values = place(gathered * data.values.cols * Index{sizeof(T)});
      weights = place(data.weights == nullptr ? 0 : gathered * Index{sizeof(double)});
      element_weights = place(gathered * data.element_weights.cols * Index{sizeof(T)});
    }
    Index labels, values, weights, element_weights, end = 0;
  };

  static void copy_row(const MatrixView<const T>& from, Index row, T* to, Index place) {
    if (from.data != nullptr) std::copy_n(from.data + row * from.row_stride(), from.cols, to + place * from.cols);
  }

  template <class Element>
  Element* at(Index place) const {
    return reinterpret_cast<Element*>(memory_ + place);
  }

  const SampleRows<T>& data_;
  std::byte* const memory_;
  const Places places_;
};

}  // namespace stoop
