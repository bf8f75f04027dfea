// Asks the operating system for the pages of a mapped matrix before its rows are read, so that the disk works while a step
// is computed. The calls only start the reading, so no other threads than those of the team are needed.
#pragma once

#include <cstdint>

#include <stoop/input.hpp>

namespace stoop::inline v0_1 {

// Asks for the rows [begin, end) of those that are read in sequence up to `last`, about once per MB and at the end.
void ask_in_sequence(const InputView& x, Index begin, Index end, Index last) noexcept;

// Returns how many rows make up the distance at which pages are asked for. `scattered`: each row lies on pages of its own.
Index rows_ahead(const InputView& x, bool scattered) noexcept;

// Asks for the pages of a matrix whose rows are read in epochs, in order or in a permutation. In a permutation each row takes
// a system call, which small steps would feel, so no calls are made while the process reads nothing from a disk. A matrix
// that should fit into memory is also read once in sequence, which is faster than page by page.
class ReadAhead {
 public:
  // `memory` is the number of bytes that matrices may take.
  explicit ReadAhead(Index memory) noexcept : memory_(memory) {}
  // Returns half of the machine's memory. If the process may use less, one pass over a matrix is made in vain.
  ReadAhead() noexcept;
  // Is called before each epoch. `order` is (samples), or null if the samples are read as they lie.
  void start(const InputView& x, const std::int32_t* order, Index samples) noexcept;
  // Every thread of a team calls this before it reads its rows of the batch [begin, end) of the order.
  void ask(Index begin, Index end, int thread, int team) const noexcept;
  // Asks for a row out of turn.
  void ask_row(Index row) const noexcept;
  // One thread calls this after that batch, with a barrier before it and one after it.
  void advance(Index end) noexcept;

 private:
  bool reads_from_disk() noexcept;
  Index bytes() const { return x_.rows * x_.stride * x_.element_size(); }

  Index memory_;
  InputView x_;
  const std::int32_t* order_ = nullptr;
  Index samples_ = 0;
  Index ahead_ = 0;        // distance in rows
  Index asked_ = 0;        // rows before this position of the order have been asked for
  Index filled_ = 0;       // bytes of the matrix that have been asked for in sequence
  bool resident_ = false;  // the rows that are read seem to be in memory
  int batches_ = 0;        // batches since reads_ was last updated
  long reads_ = 0;         // pages read for the process
};

}  // namespace stoop
