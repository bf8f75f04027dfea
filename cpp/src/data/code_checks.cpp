#include "code_checks.hpp"

#include <cmath>
#include <string>
#include <vector>

#include <stoop/error.hpp>

#include "sample_rows.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr Index kExact = Index{1} << 24;  // whole numbers up to this are exact in float32

template <class From>
void check_whole(std::string_view where, const InputView& x, const std::vector<Index>& categories) {
  for (Index i = 0; i < x.rows; ++i) {
    const From* const row = static_cast<const From*>(x.row(i));
    for (const Index c : categories) {
      const double code = static_cast<double>(row[c]);
      if (code == std::floor(code) || std::isnan(code)) continue;
      throw_value_error(
          where,
          "X has the code " + number_text(code) + " at row " + std::to_string(i) + ", column " + std::to_string(c),
          "expected whole numbers in a column of categories",
          "number the categories from 0, or leave the column out of `categories`");
    }
  }
}

}  // namespace

void check_codes(std::string_view where, const InputView& x, std::span<const EncodedColumn> columns) {
  std::vector<Index> categories;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    if (columns[c].codes == 0) continue;
    categories.push_back(static_cast<Index>(c));
    if (x.type != InputType::float32 || columns[c].codes <= kExact) continue;
    throw_value_error(
        where, "X is float32 and column " + std::to_string(c) + " has " + std::to_string(columns[c].codes) + " codes",
        "expected at most 2^24, which float32 tells apart", "give X as float64 or integers");
  }
  if (categories.empty() || x.mapped) return;
  const InputView rows = with_stride(x);
  if (x.type == InputType::float32) check_whole<float>(where, rows, categories);
  if (x.type == InputType::float64) check_whole<double>(where, rows, categories);
}

}  // namespace stoop
