// Each column is added up by one thread, in the order of the rows, so that the bits do not depend on the number of threads.

#include "column_statistics.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include <stoop/error.hpp>

#include "../base/ranges.hpp"
#include "../team/team.hpp"
#include "checks.hpp"
#include "column_quantiles.hpp"
#include "column_walk.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr double kConstant =
    1e-12;  // of the size of the numbers: less than this apart, they are one number and rounding

// What one pass finds of each column. Numbers are added as their distance from `origin`, one of them: the sum of large numbers
// that are close together would be rounded to more than their distance.
struct Extents {
  std::vector<double> origin, least, most, sum, count;

  explicit Extents(std::size_t cols)
      : origin(cols), least(cols, INFINITY), most(cols, -INFINITY), sum(cols), count(cols) {}
  double mean(std::size_t c) const { return origin[c] + sum[c] / count[c]; }
  double range(std::size_t c) const { return most[c] - least[c]; }
  bool is_constant(std::size_t c) const {
    return range(c) <= kConstant * std::max(std::abs(least[c]), std::abs(most[c]));
  }
};

template <class T>
class Statistics {
 public:
  Statistics(const StatisticsCall& call, const SampleRows<T>& rows, const Normalization& layer,
             const std::vector<bool>& left_out)
      : call_(call),
        rows_(rows),
        layer_(layer),
        left_out_(left_out),
        cols_(static_cast<std::size_t>(rows.x.cols)),
        walk_(call, rows) {}

  ColumnStatistics compute() {
    find_extents();
    ColumnStatistics found;
    found.mean.resize(cols_);
    for (std::size_t c = 0; c < cols_; ++c) found.mean[c] = extents_.mean(c);
    std::vector<double> spread(cols_);
    switch (layer_.kind) {
      case NormalizationKind::standard:
        found.shift = found.mean;
        spread = deviations(found.mean);
        break;
      case NormalizationKind::minmax:
        found.shift = extents_.least;
        for (std::size_t c = 0; c < cols_; ++c) spread[c] = extents_.range(c);
        break;
      case NormalizationKind::robust:
        found.shift.resize(cols_);
        quartiles(found.shift, spread);
        break;
    }
    found.scale.resize(cols_);
    for (std::size_t c = 0; c < cols_; ++c) {
      if (is_left_out(c)) found.shift[c] = found.mean[c] = 0.0;
      found.scale[c] = is_left_out(c) ? 1.0 : scale_of(c, found.shift[c], spread[c]);
    }
    return found;
  }

 private:
  void find_extents() {
    std::vector<double> part(cols_);  // sums of a block, so that long sums are sums of sums
    walk_.each_block([&]<class From>(Elements<From>, Range block, Range cols) {
      const auto begin = static_cast<std::size_t>(cols.begin), end = static_cast<std::size_t>(cols.end);
      if (block.begin == 0) {
        for (std::size_t c = begin; c < end; ++c) extents_.origin[c] = walk_.template first_number<From>(c);
      }
      std::fill(part.begin() + cols.begin, part.begin() + cols.end, 0.0);
      for (Index i = block.begin; i < block.end; ++i) {
        const From* const row = walk_.template row<From>(i);
        for (std::size_t c = begin; c < end; ++c) {
          const double x = row[c];
          const bool is_there = x == x;
          part[c] += is_there ? x - extents_.origin[c] : 0.0;
          extents_.count[c] += is_there ? 1.0 : 0.0;
          extents_.least[c] = x < extents_.least[c] ? x : extents_.least[c];
          extents_.most[c] = x > extents_.most[c] ? x : extents_.most[c];
        }
      }
      for (std::size_t c = begin; c < end; ++c) extents_.sum[c] += part[c];
    });
    check_extents();
  }

  // It is as if these columns held nothing but zeros.
  bool is_left_out(std::size_t c) const { return c < left_out_.size() && left_out_[c]; }
  void forget_left_out() {
    for (std::size_t c = 0; c < left_out_.size(); ++c) {
      if (!left_out_[c]) continue;
      extents_.origin[c] = extents_.least[c] = extents_.most[c] = extents_.sum[c] = 0.0;
      extents_.count[c] = static_cast<double>(rows_.x.rows);
    }
  }

  void check_extents() {
    forget_left_out();
    for (std::size_t c = 0; c < cols_; ++c) {
      if (extents_.count[c] == 0.0) {
        throw_value_error(call_.where, "column " + std::to_string(c) + " of X has no number, NaN in all rows",
                          "expected some numbers in each column", "leave the column out");
      }
      const bool is_whole =
          layer_.missing == MissingValues::mean || extents_.count[c] == static_cast<double>(rows_.x.rows);
      const bool is_finite =
          std::isfinite(static_cast<T>(extents_.least[c])) && std::isfinite(static_cast<T>(extents_.most[c]));
      if (!is_whole || !is_finite) walk_.refuse_bad_number(layer_.missing);
      if (!std::isfinite(extents_.mean(c))) refuse_spread(c, extents_.range(c));
    }
  }

  // The biased standard deviation. Distances are divided by a power of two near the largest of them, so that no square leaves
  // the range. The second sum takes away what rounding left of the mean.
  std::vector<double> deviations(const std::vector<double>& mean) {
    std::vector<double> unit(cols_), inverse(cols_), sum(cols_), squares(cols_), part(cols_), part_squares(cols_);
    for (std::size_t c = 0; c < cols_; ++c) {
      const double range = extents_.range(c);
      if (!extents_.is_constant(c)) check_spread(c, range);
      unit[c] = range > 0.0 && !extents_.is_constant(c) ? std::ldexp(1.0, std::ilogb(range)) : 1.0;
      inverse[c] = 1.0 / unit[c];
    }
    walk_.each_block([&]<class From>(Elements<From>, Range block, Range cols) {
      const auto begin = static_cast<std::size_t>(cols.begin), end = static_cast<std::size_t>(cols.end);
      for (std::vector<double>* const parts : {&part, &part_squares}) {
        std::fill(parts->begin() + cols.begin, parts->begin() + cols.end, 0.0);
      }
      for (Index i = block.begin; i < block.end; ++i) {
        const From* const row = walk_.template row<From>(i);
        for (std::size_t c = begin; c < end; ++c) {
          const double x = row[c];
          const double d = x == x ? (x - mean[c]) * inverse[c] : 0.0;
          part[c] += d;
          part_squares[c] += d * d;
        }
      }
      for (std::size_t c = begin; c < end; ++c) {
        sum[c] += part[c];
        squares[c] += part_squares[c];
      }
    });
    std::vector<double> deviation(cols_);
    for (std::size_t c = 0; c < cols_; ++c) {
      const double n = extents_.count[c], rest = sum[c] / n;
      deviation[c] = std::sqrt(std::max(squares[c] / n - rest * rest, 0.0)) * unit[c];
      if (deviation[c] <= kConstant * std::abs(mean[c])) deviation[c] = 0.0;
    }
    return deviation;
  }

  void quartiles(std::vector<double>& median, std::vector<double>& spread) {
    const std::vector<Quartiles> found = column_quartiles(walk_, extents_.count);
    for (std::size_t c = 0; c < cols_; ++c) {
      const auto& [low, middle, high] = found[c];
      median[c] = middle;
      const bool are_equal = high - low <= kConstant * std::max(std::abs(low), std::abs(high));
      spread[c] = are_equal ? extents_.range(c) / 2.0 : high - low;
    }
  }

  double scale_of(std::size_t c, double shift, double spread) const {
    if (spread == 0.0 || extents_.is_constant(c)) return 1.0;
    check_spread(c, spread);
    const double farthest = std::max(extents_.most[c] - shift, shift - extents_.least[c]);
    constexpr double kMost = static_cast<double>(std::numeric_limits<T>::max());
    if (!layer_.clip && !(farthest < kMost && farthest / spread < kMost)) {
      throw_value_error(call_.where,
                        "column " + std::to_string(c) + " of X goes from " + number_text(extents_.least[c]) + " to " +
                            number_text(extents_.most[c]) + " and would be divided by " + number_text(spread),
                        std::string("expected results that ") + type() + " holds",
                        "remove what is far out, or give a clip");
    }
    return 1.0 / spread;
  }

  // What is not much larger than the smallest numbers of T has few digits, and its inverse may be infinite.
  void check_spread(std::size_t c, double spread) const {
    if (spread >= kLeastSpread && spread <= kMostSpread) return;
    refuse_spread(c, spread);
  }

  [[noreturn]] void refuse_spread(std::size_t c, double spread) const {
    throw_value_error(
        call_.where, "the numbers in column " + std::to_string(c) + " of X are " + number_text(spread) + " apart",
        std::string("expected ") + number_text(kLeastSpread) + " to " + number_text(kMostSpread) + " with " + type(),
        sizeof(T) == 4 ? "give them another unit, or make the model with float64" : "give them another unit");
  }

  static const char* type() { return sizeof(T) == 4 ? "float32" : "float64"; }

  static constexpr double kLeastSpread =
      static_cast<double>(std::numeric_limits<T>::min()) / static_cast<double>(std::numeric_limits<T>::epsilon());
  static constexpr double kMostSpread = 1.0 / static_cast<double>(std::numeric_limits<T>::min());

  const StatisticsCall& call_;
  const SampleRows<T>& rows_;
  const Normalization& layer_;
  const std::vector<bool>& left_out_;
  const std::size_t cols_;
  ColumnWalk<T> walk_;
  Extents extents_{cols_};
};

}  // namespace

template <class T>
ColumnStatistics column_statistics(const StatisticsCall& call, const SampleRows<T>& rows, const Normalization& layer,
                                   const std::vector<bool>& left_out) {
  return Statistics<T>(call, rows, layer, left_out).compute();
}

template ColumnStatistics column_statistics(const StatisticsCall&, const SampleRows<float>&, const Normalization&,
                                            const std::vector<bool>&);
template ColumnStatistics column_statistics(const StatisticsCall&, const SampleRows<double>&, const Normalization&,
                                            const std::vector<bool>&);

}  // namespace stoop
