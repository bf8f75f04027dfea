// Sets the statistics of a Normalization.
#pragma once

#include "../data/column_statistics.hpp"
#include "../graph/graph.hpp"

namespace stoop {

// Writes them into the buffers of a model with a Normalization, rounded to T.
template <class T>
void set_statistics(const ColumnStatistics& found, const Graph& graph, T* buffers);

}  // namespace stoop
