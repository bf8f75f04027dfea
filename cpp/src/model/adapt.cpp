#include "adapt.hpp"

#include <stoop/error.hpp>
#include <stoop/model.hpp>

namespace stoop {

// The shift in three parts has all digits of a float64, so that numbers from float64 that are close together and far from 0
// are told apart.
template <class T>
void set_statistics(const ColumnStatistics& found, const Graph& graph, T* buffers) {
  const GraphNormalization& places = *graph.normalization;
  const auto at = [&](int buffer) { return buffers + graph.buffers[static_cast<std::size_t>(buffer)].info.offset; };
  T* const shift = at(places.shift);
  T* const scale = at(places.scale);
  T* const rest = at(places.rest);
  const std::size_t cols = found.shift.size();
  for (std::size_t c = 0; c < cols; ++c) {
    shift[c] = static_cast<T>(found.shift[c]);
    const double left = found.shift[c] - static_cast<double>(shift[c]);
    rest[c] = static_cast<T>(left);
    rest[cols + c] = static_cast<T>(left - static_cast<double>(rest[c]));
    scale[c] = static_cast<T>(found.scale[c]);
  }
  if (places.missing == kNone) return;
  T* const missing = at(places.missing);
  for (std::size_t c = 0; c < cols; ++c) {
    missing[c] = static_cast<T>((found.mean[c] - found.shift[c]) * found.scale[c]);
  }
}

template void set_statistics(const ColumnStatistics&, const Graph&, float*);
template void set_statistics(const ColumnStatistics&, const Graph&, double*);

}  // namespace stoop
