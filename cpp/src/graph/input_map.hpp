// The map from X to the first layer of a model, and the question whether it was set.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include <stoop/error.hpp>

#include "../base/input_map.hpp"
#include "graph.hpp"

namespace stoop::inline v0_1 {

// Returns the map of a model with these buffers, which must live as long as the map.
template <class T>
InputMap<T> input_map(const ModelConfig& config, const Graph& graph, const T* buffers) {
  InputMap<T> map{.scale = static_cast<T>(config.input_scale), .shift = static_cast<T>(config.input_shift)};
  if (!graph.normalization) return map;
  const GraphNormalization& statistics = *graph.normalization;
  const auto at = [&](int buffer) {
    return buffer == kNone ? nullptr : buffers + graph.buffers[static_cast<std::size_t>(buffer)].info.offset;
  };
  map.column_scale = at(statistics.scale);
  map.column_shift = at(statistics.shift);
  map.column_rest = at(statistics.rest);
  map.missing = at(statistics.missing);
  map.clip = static_cast<T>(statistics.layer.clip.value_or(0.0));
  if (!graph.columns) return map;
  map.columns = graph.columns->columns.data();
  map.bin_left = at(graph.columns->bin_left);
  map.bin_scale = at(graph.columns->bin_scale);
  map.has_numbers = graph.columns->has_linear_ladders();
  return map;
}

// Returns whether a map of so many columns has its statistics: without them all scales are 0.
template <class T>
bool is_adapted(const InputMap<T>& map, Index cols) {
  const T* const scale = map.column_scale;
  return scale == nullptr || std::any_of(scale, scale + cols, [](T value) { return value != T(0); });
}

template <class T>
void check_adapted(std::string_view where, const InputMap<T>& map, Index cols) {
  if (is_adapted(map, cols)) return;
  throw_value_error(
      where,
      std::string("the ") + (map.columns == nullptr ? "Normalization" : "Columns") + " of the model has no statistics",
      "expected those of its inputs", "adapt the model to the training rows first, or fit it");
}

}  // namespace stoop
