// Quartiles of columns, exact and in few passes over the rows: a selection by digits, in which each pass counts the numbers
// that begin alike.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "column_walk.hpp"

namespace stoop::inline v0_1 {

struct Quartiles {
  double low, middle, high;
};

// Numbers as integers in the same order.
template <class From>
struct OrderedBits {
  using Bits = std::conditional_t<sizeof(From) == 1, std::uint8_t,
                                  std::conditional_t<sizeof(From) == 4, std::uint32_t, std::uint64_t>>;
  static constexpr int kBits = 8 * static_cast<int>(sizeof(From));

  static std::uint64_t of(From x) {
    const Bits bits = std::bit_cast<Bits>(x);
    if constexpr (sizeof(From) == 1) return bits;
    constexpr Bits kSign = Bits(1) << (kBits - 1);
    return static_cast<Bits>((bits & kSign) != 0 ? ~bits : bits | kSign);
  }
  static double number(std::uint64_t ordered) {
    const auto bits = static_cast<Bits>(ordered);
    if constexpr (sizeof(From) == 1) return bits;
    constexpr Bits kSign = Bits(1) << (kBits - 1);
    return static_cast<double>(std::bit_cast<From>(static_cast<Bits>((bits & kSign) != 0 ? bits & ~kSign : ~bits)));
  }
};

// The search for the numbers of some ranks in one column. What is known of a number is its first digits.
class RankSearch {
 public:
  static constexpr int kDigitBits = 11;
  static constexpr std::size_t kDigits = std::size_t{1} << kDigitBits;
  static constexpr std::size_t kRanks = 6;

  // Looks for the numbers around the three quartiles of so many.
  void start(double count) {
    for (std::size_t q = 0; q < 3; ++q) {
      const double place = 0.25 * static_cast<double>(q + 1) * (count - 1.0), below = std::floor(place);
      part_[q] = place - below;
      rank_[2 * q] = static_cast<Index>(below);
      rank_[2 * q + 1] = static_cast<Index>(std::ceil(place));
    }
  }

  // The beginnings that numbers of these ranks have, each once.
  std::size_t groups() const { return groups_; }
  std::uint64_t beginning(std::size_t group) const { return beginning_[group]; }

  // Takes the next digit from counts (groups, kDigits) of the numbers with these beginnings.
  void advance(const std::uint32_t* counts, int digit_bits) {
    std::array<std::uint64_t, kRanks> beginnings{};
    for (std::size_t r = 0; r < kRanks; ++r) {
      const std::uint32_t* const of_group = counts + group_[r] * kDigits;
      std::uint64_t digit = 0;
      while (digit + 1 < kDigits && rank_[r] >= static_cast<Index>(of_group[digit])) {
        rank_[r] -= static_cast<Index>(of_group[digit++]);
      }
      beginnings[r] = beginning_[group_[r]] << digit_bits | digit;
    }
    groups_ = 0;
    for (std::size_t r = 0; r < kRanks; ++r) {  // ranks are in order, so equal beginnings are neighbours
      if (r == 0 || beginnings[r] != beginnings[r - 1]) beginning_[groups_++] = beginnings[r];
      group_[r] = groups_ - 1;
    }
  }

  // All digits are known. Between two numbers it interpolates as numpy.percentile does.
  template <class From>
  Quartiles quartiles() const {
    const auto at = [this](std::size_t q) {
      const double a = OrderedBits<From>::number(beginning_[group_[2 * q]]);
      const double b = OrderedBits<From>::number(beginning_[group_[2 * q + 1]]);
      return part_[q] < 0.5 ? a + (b - a) * part_[q] : b - (b - a) * (1.0 - part_[q]);
    };
    return {at(0), at(1), at(2)};
  }

 private:
  std::array<double, 3> part_{};                   // of the way from one number to the next
  std::array<Index, kRanks> rank_{};               // among the numbers of its group
  std::array<std::size_t, kRanks> group_{};        // of each rank
  std::array<std::uint64_t, kRanks> beginning_{};  // of each group
  std::size_t groups_ = 1;
};

// Ends the searches in the columns [cols.begin, cols.end). `counts` is memory for the counts of that many columns.
template <class T, class From>
void search_quartiles(const ColumnWalk<T>& walk, Range cols, std::vector<RankSearch>& searches,
                      std::vector<std::uint32_t>& counts) {
  constexpr Index kStrip = 8;  // columns whose counts stay in cache
  constexpr std::size_t kOfColumn = RankSearch::kRanks * RankSearch::kDigits;
  for (int left = OrderedBits<From>::kBits, bits = 0; left > 0; left -= bits) {
    bits = std::min(left, RankSearch::kDigitBits);
    const int shift = left - bits;
    const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
    std::fill(counts.begin(), counts.end(), 0u);
    walk.each_block([&]<class Given>(Elements<Given>, Range block, Range mine) {
      const Index end = std::min(mine.end, cols.end);
      for (Index strip = std::max(mine.begin, cols.begin); strip < end; strip += kStrip) {
        for (Index i = block.begin; i < block.end; ++i) {
          const From* const row = walk.template row<From>(i);
          for (Index c = strip; c < std::min(strip + kStrip, end); ++c) {
            if (const double number = row[c]; number != number) continue;
            const std::uint64_t seen = OrderedBits<From>::of(row[c]) >> shift,
                                beginning = bits == 64 ? 0 : seen >> bits;
            const auto place = static_cast<std::size_t>(c - cols.begin);
            for (std::size_t g = 0; g < searches[place].groups(); ++g) {
              if (searches[place].beginning(g) == beginning) {
                ++counts[place * kOfColumn + g * RankSearch::kDigits + (seen & mask)];
              }
            }
          }
        }
      }
    });
    for (std::size_t place = 0; place < searches.size(); ++place) {
      searches[place].advance(counts.data() + place * kOfColumn, bits);
    }
  }
}

// Returns the quartiles of all columns. `numbers` is how many numbers each has.
template <class T>
std::vector<Quartiles> column_quartiles(const ColumnWalk<T>& walk, const std::vector<double>& numbers) {
  constexpr Index kColumns = 1024;  // whose counts take 48 MB
  const InputView& x = walk.rows().x;
  std::vector<Quartiles> found;
  std::vector<RankSearch> searches;
  std::vector<std::uint32_t> counts;
  for (Index begin = 0; begin < x.cols; begin += kColumns) {
    const Range cols{begin, std::min(begin + kColumns, x.cols)};
    searches.assign(static_cast<std::size_t>(cols.end - cols.begin), {});
    counts.resize(searches.size() * RankSearch::kRanks * RankSearch::kDigits);
    for (std::size_t c = 0; c < searches.size(); ++c) searches[c].start(numbers[static_cast<std::size_t>(begin) + c]);
    const auto search = [&]<class From>(Elements<From>) {
      search_quartiles<T, From>(walk, cols, searches, counts);
      for (const RankSearch& done : searches) found.push_back(done.quartiles<From>());
    };
    if (x.type == InputType::uint8) search(Elements<std::uint8_t>());
    if (x.type == InputType::float32) search(Elements<float>());
    if (x.type == InputType::float64) search(Elements<double>());
  }
  return found;
}

}  // namespace stoop
