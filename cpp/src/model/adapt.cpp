#include "adapt.hpp"

#include <limits>

#include <stoop/error.hpp>
#include <stoop/model.hpp>

#include "../data/column_bins.hpp"

namespace stoop::inline v0_1 {
namespace {

// The bins of each column, in the unit of its scaled numbers. Edges that T does not tell apart are one. What is left of its
// bins begins after all numbers.
template <class T>
void set_bins(const ColumnStatistics& found, const Graph& graph, T* buffers) {
  const GraphColumns& columns = *graph.columns;
  if (columns.bin_left == kNone) return;
  const auto at = [&](int buffer) { return buffers + graph.buffers[static_cast<std::size_t>(buffer)].info.offset; };
  for (std::size_t c = 0; c < columns.columns.size(); ++c) {
    const EncodedColumn& column = columns.columns[c];
    std::vector<double> edges;
    for (const double edge : found.edges[c]) {
      const double scaled = static_cast<T>((edge - found.shift[c]) * found.scale[c]);
      if (edges.empty() || scaled > edges.back()) edges.push_back(scaled);
    }
    T* const left = at(columns.bin_left) + column.start;
    T* const scale = at(columns.bin_scale) + column.start;
    for (std::size_t k = 0; k < static_cast<std::size_t>(column.bins); ++k) {
      const bool is_bin = k + 1 < edges.size();
      left[k] = is_bin ? static_cast<T>(edges[k]) : k == 0 ? T(0) : std::numeric_limits<T>::max();
      scale[k] = is_bin ? static_cast<T>(1.0 / (edges[k + 1] - edges[k])) : T(0);
    }
  }
}

}  // namespace

template <class T>
ColumnStatistics input_statistics(const StatisticsCall& call, const SampleRows<T>& rows, const Graph& graph) {
  const Normalization& layer = graph.normalization->layer;
  if (!graph.columns) return column_statistics(call, rows, layer);
  return encoding_statistics<T>(call, rows, layer, graph.columns->columns);
}

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
  if (graph.columns) set_bins(found, graph, buffers);
}

template ColumnStatistics input_statistics(const StatisticsCall&, const SampleRows<float>&, const Graph&);
template ColumnStatistics input_statistics(const StatisticsCall&, const SampleRows<double>&, const Graph&);

template void set_statistics(const ColumnStatistics&, const Graph&, float*);
template void set_statistics(const ColumnStatistics&, const Graph&, double*);

}  // namespace stoop
