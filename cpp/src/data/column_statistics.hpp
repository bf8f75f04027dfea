// Statistics of the columns of X for a Normalization, in float64 and in passes over the rows, which may be in a file that is
// larger than memory.
#pragma once

#include <string_view>
#include <vector>

#include <stoop/layers.hpp>

#include "../team/poller.hpp"
#include "sample_rows.hpp"

namespace stoop::inline v0_1 {

// z = (x - shift) * scale. Where NaN is allowed, the mean of what is there stands for it.
struct ColumnStatistics {
  std::vector<double> shift, scale, mean;
  std::vector<std::vector<double>> edges;  // of the bins of each column; empty: there is no Columns layer
};

// How the statistics are computed; it does not change them.
struct StatisticsCall {
  std::string_view where;  // for messages
  int threads = 1;
  Poller* poller = nullptr;
};

// Returns the statistics of the rows that a run takes. Their numbers were checked, but for those of a mapped x, which are checked
// here. Throws ValueError for a column without numbers or with a spread that T does not hold, and Interrupted. Columns that
// are left out, if any, get a shift of 0 and a scale of 1.
template <class T>
ColumnStatistics column_statistics(const StatisticsCall& call, const SampleRows<T>& rows, const Normalization& layer,
                                   const std::vector<bool>& left_out = {});

}  // namespace stoop
