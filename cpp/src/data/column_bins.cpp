// Each column is copied and partly sorted by one thread, some columns at a time.

#include "column_bins.hpp"

#include <algorithm>
#include <cmath>

#include "column_walk.hpp"

namespace stoop::inline v0_1 {
namespace {

// Moves the elements of these ranks to their places: as sorting does, but for what lies between them.
void select(std::vector<double>& values, std::size_t begin, std::size_t end, std::span<const std::size_t> ranks) {
  if (ranks.empty() || end - begin < 2) return;
  const std::size_t middle = ranks.size() / 2, rank = ranks[middle];
  const auto at = [&](std::size_t place) { return values.begin() + static_cast<std::ptrdiff_t>(place); };
  std::nth_element(at(begin), at(rank), at(end));
  select(values, begin, rank, ranks.first(middle));
  select(values, rank + 1, end, ranks.subspan(middle + 1));
}

// Returns the quantiles 0, 1/bins, ..., 1 as numpy.quantile interpolates them, each number once.
std::vector<double> edges_of(std::vector<double>& values, Index bins) {
  const auto count = static_cast<std::size_t>(bins) + 1;
  const double last = static_cast<double>(values.size() - 1);
  const auto place = [&](std::size_t k) { return static_cast<double>(k) / static_cast<double>(bins) * last; };
  std::vector<std::size_t> ranks;
  for (std::size_t k = 0; k < count; ++k) {
    ranks.push_back(static_cast<std::size_t>(std::floor(place(k))));
    ranks.push_back(static_cast<std::size_t>(std::ceil(place(k))));
  }
  std::sort(ranks.begin(), ranks.end());  // with fewer values than bins, ranks come more than once
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  select(values, 0, values.size(), ranks);
  std::vector<double> edges;
  for (std::size_t k = 0; k < count; ++k) {
    const double below = std::floor(place(k)), part = place(k) - below;
    const double a = values[static_cast<std::size_t>(below)], b = values[static_cast<std::size_t>(std::ceil(place(k)))];
    const double edge = part < 0.5 ? a + (b - a) * part : b - (b - a) * (1.0 - part);
    if (edges.empty() || edge > edges.back()) edges.push_back(edge);
  }
  if (edges.size() == 1) edges.clear();
  return edges;
}

// Finds the edges of the columns [cols.begin, cols.end).
template <class T>
void find_edges(const ColumnWalk<T>& walk, Range cols, std::span<const EncodedColumn> columns, int threads,
                std::vector<std::vector<double>>& edges) {
  std::vector<std::vector<double>> values(static_cast<std::size_t>(cols.end - cols.begin));
  walk.each_block([&]<class From>(Elements<From>, Range block, Range mine) {
    const Index begin = std::max(mine.begin, cols.begin), end = std::min(mine.end, cols.end);
    for (Index i = block.begin; begin < end && i < block.end; ++i) {
      const From* const row = walk.template row<From>(i);
      for (Index c = begin; c < end; ++c) {
        const double x = row[c];
        if (columns[static_cast<std::size_t>(c)].bins > 0 && x == x)
          values[static_cast<std::size_t>(c - cols.begin)].push_back(x);
      }
    }
  });
  run_shares(static_cast<int>(std::min<Index>(threads, cols.end - cols.begin)), [&](int number, int shares) {
    const Range own = share(cols.end - cols.begin, number, shares);
    for (Index c = own.begin; c < own.end; ++c) {
      const auto column = static_cast<std::size_t>(cols.begin + c);
      std::vector<double>& of_column = values[static_cast<std::size_t>(c)];
      if (!of_column.empty()) edges[column] = edges_of(of_column, columns[column].bins);
    }
  });
}

// Returns which columns hold codes, or numbers that have bins where those are not wanted.
std::vector<bool> left_out(std::span<const EncodedColumn> columns, bool wants_bins) {
  std::vector<bool> out(columns.size());
  for (std::size_t c = 0; c < columns.size(); ++c) {
    out[c] = columns[c].codes > 0 || (columns[c].bins > 0) != wants_bins;
  }
  return out;
}

}  // namespace

template <class T>
ColumnStatistics encoding_statistics(const StatisticsCall& call, const SampleRows<T>& rows, const Normalization& layer,
                                     std::span<const EncodedColumn> columns) {
  constexpr Index kBytes = Index{1} << 28;  // of the columns that are copied at a time
  const std::vector<bool> unlike_bins = left_out(columns, true), unlike_numbers = left_out(columns, false);
  ColumnStatistics found = column_statistics(call, rows, layer, unlike_numbers);
  const Normalization robust{
      .kind = NormalizationKind::robust, .clip = {}, .missing = layer.missing, .trainable = true};
  const ColumnStatistics of_bins = column_statistics(call, rows, robust, unlike_bins);
  for (std::size_t c = 0; c < columns.size(); ++c) {
    if (unlike_bins[c]) continue;
    found.shift[c] = of_bins.shift[c];
    found.scale[c] = of_bins.scale[c];
    found.mean[c] = of_bins.mean[c];
  }
  found.edges.resize(columns.size());
  const ColumnWalk<T> walk(call, rows);
  const Index step = std::max<Index>(kBytes / (8 * rows.x.rows), 1);
  for (Index begin = 0; begin < rows.x.cols; begin += step) {
    find_edges(walk, {begin, std::min(begin + step, rows.x.cols)}, columns, call.threads, found.edges);
  }
  return found;
}

template ColumnStatistics encoding_statistics(const StatisticsCall&, const SampleRows<float>&, const Normalization&,
                                              std::span<const EncodedColumn>);
template ColumnStatistics encoding_statistics(const StatisticsCall&, const SampleRows<double>&, const Normalization&,
                                              std::span<const EncodedColumn>);

}  // namespace stoop
