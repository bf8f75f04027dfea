// A batch whose rows are gathered from larger arrays, as from a replay buffer: a copy, so that it is checked and trained on
// like any other batch, in memory that is kept from batch to batch.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include <stoop/trainer.hpp>

#include "sample_rows.hpp"

namespace stoop::inline v0_1 {

template <class T>
class GatheredRows {
 public:
  // The indices were checked.
  InputView gather(const InputView& from, std::span<const Index> indices) {
    const auto bytes = static_cast<std::size_t>(from.cols * from.element_size());
    x_.resize(indices.size() * bytes);
    for (std::size_t i = 0; i < indices.size(); ++i) std::memcpy(x_.data() + i * bytes, from.row(indices[i]), bytes);
    InputView rows = from;
    rows.data = x_.data();
    rows.rows = static_cast<Index>(indices.size());
    rows.stride = from.cols;
    rows.mapped = false;
    return rows;
  }

  // Weights are those of the batch.
  Targets<T> gather(const Targets<T>& from, std::span<const Index> indices) {
    Targets<T> rows = from;
    if (from.has_values) {
      const auto cols = static_cast<std::size_t>(from.values.cols);
      values_.resize(indices.size() * cols);
      for (std::size_t i = 0; i < indices.size(); ++i) {
        std::copy_n(from.values.data + indices[i] * from.values.row_stride(), cols, values_.data() + i * cols);
      }
      rows.values = matrix<const T>(values_.data(), static_cast<Index>(indices.size()), from.values.cols);
    } else {
      classes_.resize(indices.size());
      for (std::size_t i = 0; i < indices.size(); ++i) {
        classes_[i] = from.classes[static_cast<std::size_t>(indices[i])];
      }
      rows.classes = classes_;
    }
    return rows;
  }

 private:
  std::vector<std::byte> x_;
  std::vector<T> values_;
  std::vector<std::int32_t> classes_;
};

}  // namespace stoop
