// Asks the operating system for the pages of a mapped matrix before its rows are taken, so that the disk works while a
// step is computed. The calls only start the reading; no thread but those of the team is needed.
#pragma once

#include <cstdint>

#include <stoop/input.hpp>

namespace stoop {

// The rows [begin, end) of those that are read in sequence up to `last`: about once per MB and at the end.
void ask_in_sequence(const InputView& x, Index begin, Index end, Index last) noexcept;

// Rows whose bytes make up the distance at which pages are asked for; `scattered`: each lies on pages of its own.
Index rows_ahead(const InputView& x, bool scattered) noexcept;

// For one epoch after the other over the rows of a matrix, in order or in a permutation. In a permutation each row takes
// a system call, which would be felt in small steps: while the process reads nothing from a disk, none is made. A matrix
// that should fit into memory is also read once in sequence, which is faster than page by page.
class ReadAhead {
 public:
  // memory: bytes that matrices may take.
  explicit ReadAhead(Index memory) noexcept : memory_(memory) {}
  // Half of the machine's. Where less may be used, one pass over a matrix is made in vain.
  ReadAhead() noexcept;
  // Before each epoch. order (samples), or null: as they lie.
  void start(const InputView& x, const std::int32_t* order, Index samples) noexcept;
  // Called by every thread of a team before it takes its rows of the batch [begin, end) of the order.
  void ask(Index begin, Index end, int thread, int team) const noexcept;
  // Called by one thread after that batch, with barriers before and behind.
  void advance(Index end) noexcept;

 private:
  bool reads_from_disk() noexcept;
  Index bytes() const { return x_.rows * x_.stride * x_.element_size(); }

  Index memory_;
  InputView x_;
  const std::int32_t* order_ = nullptr;
  Index samples_ = 0;
  Index ahead_ = 0;        // rows
  Index asked_ = 0;        // up to this position of the order
  Index filled_ = 0;       // bytes of the matrix, in sequence
  bool resident_ = false;  // what is taken seems to be in memory
  int batches_ = 0;        // since it was last looked
  long reads_ = 0;         // of the process, then
};

}  // namespace stoop
