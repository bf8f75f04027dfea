// Finds and sets the statistics of a Normalization or of a Columns layer.
#pragma once

#include "../data/column_statistics.hpp"
#include "../graph/graph.hpp"

namespace stoop::inline v0_1 {

// Returns the statistics of these rows for a model with such a layer: see column_statistics.
template <class T>
ColumnStatistics input_statistics(const StatisticsCall& call, const SampleRows<T>& rows, const Graph& graph);

// Writes them into the buffers of the model, rounded to T.
template <class T>
void set_statistics(const ColumnStatistics& found, const Graph& graph, T* buffers);

}  // namespace stoop
