// Walks over the rows of X in blocks, whose columns the threads share.
#pragma once

#include <algorithm>
#include <limits>
#include <string_view>

#include <stoop/error.hpp>

#include "../base/memory.hpp"
#include "../base/ranges.hpp"
#include "../team/team.hpp"
#include "checks.hpp"
#include "column_statistics.hpp"
#include "read_ahead.hpp"

namespace stoop::inline v0_1 {

// Stands for a type of element of X in calls of a body.
template <class From>
struct Elements {};

template <class T>
class ColumnWalk {
 public:
  ColumnWalk(const StatisticsCall& call, const SampleRows<T>& rows)
      : call_(call), rows_(rows), block_(std::max<Index>(kBlockElements / std::max<Index>(rows.x.cols, 1), 1)) {}

  const SampleRows<T>& rows() const { return rows_; }

  // Calls body(Elements<From>, rows, columns) for parts of the columns of each block of rows. A column belongs to one thread
  // at a time, and gets its blocks in order. Denormal numbers count here: a column may hold nothing else. Throws Interrupted.
  template <class Body>
  void each_block(const Body& body) const {
    if (rows_.x.type == InputType::uint8) return each_block_of<std::uint8_t>(body);
    if (rows_.x.type == InputType::float32) return each_block_of<float>(body);
    return each_block_of<double>(body);
  }

  // The elements of row i of those that the run takes.
  template <class From>
  const From* row(Index i) const {
    return static_cast<const From*>(rows_.x.row(rows_.sample(i)));
  }

  // The first number of a column that is not NaN, or 0.
  template <class From>
  double first_number(std::size_t column) const {
    for (Index i = 0; i < rows_.x.rows; ++i) {
      const double x = row<From>(i)[column];
      if (x == x) return x;
    }
    return 0.0;
  }

  // Throws the error for the first number that is refused; some number was.
  [[noreturn]] void refuse_bad_number(MissingValues missing) const {
    for (Index i = 0; i < rows_.x.rows; ++i) {
      if (!is_finite_row<T>(rows_.x, rows_.sample(i), missing)) {
        refuse_bad_row<T>(call_.where, rows_.x, rows_.sample(i), missing);
      }
    }
    throw_value_error(call_.where, "X had NaN or an infinity and has changed since",
                      "expected finite numbers that stay as they are",
                      "give a copy if another thread or process writes to it");
  }

 private:
  static constexpr Index kBlockElements = 1 << 20;  // some time more than it takes to wake a team
  static constexpr Index kColumns = 16;             // of a share: a cache line or more

  template <class From, class Body>
  void each_block_of(const Body& body) const {
    const InputView& x = rows_.x;
    const Index parts = block_count(x.cols, kColumns);
    const int threads = threads_for_elements(x.rows * x.cols, static_cast<int>(std::min<Index>(call_.threads, parts)));
    for (Index begin = 0; begin < x.rows; begin += block_) {
      const Range block{begin, std::min(begin + block_, x.rows)};
      if (x.mapped && rows_.order == nullptr)
        ask_in_sequence(x, block.begin, std::min(block.end + block_, x.rows), x.rows);
      {
        const FlushToZero mode;
        run_shares(threads, [&](int number, int shares) {
          const FlushToZero::Paused paused(mode);
          const Range mine = share(parts, number, shares);
          const Range columns{mine.begin * kColumns, std::min(mine.end * kColumns, x.cols)};
          if (columns.begin < columns.end) body(Elements<From>(), block, columns);
        });
      }
      if (call_.poller != nullptr && !call_.poller->goes_on()) throw_interrupted(call_.where);
    }
  }

  const StatisticsCall& call_;
  const SampleRows<T>& rows_;
  const Index block_;  // rows
};

}  // namespace stoop
