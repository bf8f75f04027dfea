// One pass over a data set in updates of mini-batches. It throws no exceptions of its own, so it may run within a team.
//
// It can stop at the end of any update. With the state and the cursor of the trainer at that moment, another Epoch, perhaps
// in another process, gives the bits of an epoch in one piece.
#pragma once

#include <chrono>
#include <vector>

#include "trainer_core.hpp"

namespace stoop {

// The way in which an epoch cuts a data set.
struct EpochSettings {
  Index samples = 0;     // as many as are taken
  Index batch = 0;       // rows
  Index merged = 0;      // a last batch of up to this many rows joins the one before it
  Index accumulate = 1;  // batches that make an update
  bool shuffle = true;
};

// How a part of an epoch ended, with the numbers for a message about it.
struct EpochEnd : RunEnd {
  double rate = 0.0;  // of the last update
  Index updates = 0;  // made by then, over all epochs
};

template <class T>
class Epoch {
 public:
  // Begins at the cursor of `core`. Throws what the schedule of the learning rates throws.
  Epoch(TrainerCore<T>& core, const Dataset<T>& data, const EpochSettings& how, Poller* poller);

  // Goes on to the end of the update that has the sample `until`-1. After not_finite, and after bad data that were found too
  // late, state and cursor are those of the last good update, or of the start of this Epoch.
  EpochEnd advance(Index until);

  bool is_complete() const { return core_.cursor.row == how_.samples; }
  // Once it is complete.
  EpochResult result() const;

 private:
  TrainerCore<T>& core_;
  const EpochSettings how_;
  const Cursor start_;
  std::vector<double> rates_;  // of its updates
  TrainingRun<T> run_;
  Executor<T>* executor_ = nullptr;
  std::chrono::steady_clock::time_point began_;
};

}  // namespace stoop
