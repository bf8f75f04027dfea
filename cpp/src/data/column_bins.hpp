// Statistics of the columns of X for a Columns layer: those of a Normalization, and the edges of bins.
#pragma once

#include <span>

#include "../base/encoded_column.hpp"
#include "column_statistics.hpp"

namespace stoop::inline v0_1 {

// Returns the statistics of the columns that hold numbers, and the edges of their bins: quantiles of the numbers that are there,
// each once, as compute_bins of the package rtdl_num_embeddings finds them; a column with one number has none. Columns with
// bins are scaled by median and quartiles, whatever `layer` says, because that keeps the digits of those numbers that are many.
template <class T>
ColumnStatistics encoding_statistics(const StatisticsCall& call, const SampleRows<T>& rows, const Normalization& layer,
                                     std::span<const EncodedColumn> columns);

}  // namespace stoop
