#include "columns.hpp"

#include <algorithm>

#include <stoop/error.hpp>

namespace stoop::inline v0_1 {
namespace {

constexpr Index kMostCodes = Index{1} << 30;  // of all categories together: they are numbered in 32 bits
constexpr Index kMostBins = Index{1} << 20;
constexpr Index kMostWidth = Index{1} << 31;

class Describer {
 public:
  Describer(const Columns& layer, Index input_dim, const std::string& path)
      : layer_(layer), input_dim_(input_dim), path_(path) {}

  GraphColumns describe() {
    check_categories();
    check_bins();
    found_.layer = layer_;
    found_.columns.reserve(static_cast<std::size_t>(input_dim_));
    auto category = layer_.categories.begin();
    for (Index c = 0; c < input_dim_; ++c) {
      const bool is_number = category == layer_.categories.end() || (*category)[0] != c;
      add(is_number ? number() : code((*category++)[1]));
    }
    return std::move(found_);
  }

 private:
  [[noreturn]] void refuse(const std::string& given, const std::string& expected, std::string_view hint) const {
    throw_value_error("Columns", "layer " + path_ + " has " + given, expected, hint);
  }

  void check_categories() const {
    Index before = -1, codes = 0;
    for (const std::vector<Index>& pair : layer_.categories) {
      if (pair.size() != 2) {
        refuse("categories with an entry of " + std::to_string(pair.size()) + " numbers",
               "expected a column and its number of known codes", "give one pair for each column of codes");
      }
      const Index column = pair[0], count = pair[1];
      if (column < 0 || column >= input_dim_) {
        refuse(
            "categories in column " + std::to_string(column) + " and X has " + std::to_string(input_dim_) + " columns",
            "expected 0 to " + std::to_string(input_dim_ - 1), "number the columns of X from 0");
      }
      if (column <= before) {
        refuse("column " + std::to_string(column) + " of categories after column " + std::to_string(before),
               "expected each once, in the order of X", "sort them");
      }
      before = column;
      if (count < 1 || (codes += count + 2) > kMostCodes) {
        refuse(std::to_string(count) + " codes in column " + std::to_string(column),
               "expected at least 1, and at most 2^30 in all columns", "give the number of known codes");
      }
    }
  }

  Index numbers() const { return input_dim_ - static_cast<Index>(layer_.categories.size()); }

  void check_bins() const {
    const auto given = static_cast<Index>(layer_.bins.size());
    if (given != 1 && given != numbers()) {
      refuse(std::to_string(given) + " entries of bins for " + std::to_string(numbers()) + " columns of numbers",
             "expected 1, or one for each column of numbers", "give one number for all of them");
    }
    for (const Index bins : layer_.bins) {
      if (bins >= 0 && bins <= kMostBins) continue;
      refuse("bins=" + std::to_string(bins), "expected 0 to 2^20", "48 is usual, 0 keeps the number itself, scaled");
    }
  }

  EncodedColumn number() {
    EncodedColumn column{};
    const std::size_t place = layer_.bins.size() == 1 ? 0 : static_cast<std::size_t>(numbers_++);
    const bool is_periodic = layer_.encoding == ColumnEncoding::periodic;
    const bool is_linear = layer_.encoding == ColumnEncoding::ple_linear;
    const bool has_bins = is_linear || layer_.encoding == ColumnEncoding::ple;
    column.kind = is_periodic ? ColumnKind::periodic : is_linear ? ColumnKind::linear_ladder : ColumnKind::ladder;
    column.bins = has_bins ? static_cast<int32_t>(layer_.bins[place]) : 0;
    column.is_clipped = (is_linear || column.bins == 0) && layer_.clip ? 1 : 0;
    column.width = is_periodic || is_linear ? layer_.embedding_dim : std::max<Index>(column.bins, 1);
    column.start = is_periodic ? found_.layer_rows : bins_;
    bins_ += column.bins;
    if (!is_periodic && !is_linear) return column;
    column.layer = found_.number_layers++;
    found_.layer_rows += is_periodic ? 2 * layer_.frequencies : column.bins;
    return column;
  }

  EncodedColumn code(Index codes) {
    EncodedColumn column{};
    column.codes = static_cast<int32_t>(codes);
    column.kind = codes <= layer_.one_hot ? ColumnKind::indicator : ColumnKind::embedding;
    column.width = column.kind == ColumnKind::indicator ? codes : layer_.embedding_dim;
    if (column.kind == ColumnKind::indicator) return column;
    column.start = found_.table_rows;
    found_.table_rows += codes + 2;
    return column;
  }

  void add(EncodedColumn column) {
    if (!found_.columns.empty()) column.first = encoded_width(found_);
    if (column.first + column.width > kMostWidth) {
      refuse(std::to_string(column.first + column.width) + " columns after its encoding", "expected at most 2^31",
             "give fewer bins, or a smaller one_hot");
    }
    found_.columns.push_back(column);
  }

  const Columns& layer_;
  const Index input_dim_;
  const std::string& path_;
  GraphColumns found_;
  Index numbers_ = 0, bins_ = 0;  // so far
};

}  // namespace

GraphColumns describe_columns(const Columns& layer, Index input_dim, const std::string& path) {
  return Describer(layer, input_dim, path).describe();
}

Index encoded_width(const GraphColumns& columns) { return columns.columns.back().first + columns.columns.back().width; }

bool GraphColumns::has_numbers() const { return layer.categories.size() < columns.size(); }

}  // namespace stoop
