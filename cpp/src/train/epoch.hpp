// One pass over a data set in updates of mini-batches. It throws no exceptions of its own, so it may run within a team.
//
// It can stop at the end of any update. With the state and the cursor of the trainer at that moment, another Epoch, perhaps
// in another process, gives the bits of an epoch in one piece.
#pragma once

#include <chrono>
#include <vector>

#include "trainer_core.hpp"

namespace stoop::inline v0_1 {

// The way in which an epoch cuts a data set.
struct EpochSettings {
  Index samples = 0;     // as many as are taken
  Index batch = 0;       // rows
  Index merged = 0;      // a last batch of up to this many rows joins the one before it
  Index accumulate = 1;  // batches that make an update
  bool shuffle = true;
  bool rollback = true;  // keep a copy of the start
  bool penalty_per_sample = false;
};

// How a part of an epoch ended, with the numbers for a message about it.
struct EpochEnd : RunEnd {
  double rate = 0.0;  // of the last update
  Index updates = 0;  // made by then, over all epochs
};

template <class T>
class Epoch {
 public:
  // Begins at the cursor of `core`. Without an augmentation the samples are taken as they are. Throws what the schedule of the
  // learning rates throws.
  Epoch(TrainerCore<T>& core, const Dataset<T>& data, const EpochSettings& how, Poller* poller,
        const Augmentation<T>* augmentation = nullptr);

  // Takes in what was done between two calls of `advance`: settings and parameters that were changed, other calls of this
  // trainer. Throws what the schedule of the learning rates throws.
  void renew();

  // Goes on to the end of the update that has the sample `until`-1. After not_finite, and after bad data that were found too
  // late, state and cursor are those of the last good update, or of the start of this Epoch.
  EpochEnd advance(Index until);

  bool is_complete() const { return core_.cursor.row == how_.samples; }
  // The sample where the update ends that comes `updates` after those that are made.
  Index end_of(Index updates) const;
  double newest_rate() const;
  // Once it is complete.
  EpochResult result() const;

 private:
  // Begins at the cursor. Sets what another epoch of this trainer would set as well.
  void begin();
  // Makes the run anew, with the settings and the arrays of this moment.
  void prepare();
  AugmentedRows<T> augmented_rows() const;

  TrainerCore<T>& core_;
  const Dataset<T>& data_;
  const EpochSettings how_;
  Poller* const poller_;
  const Augmentation<T>* const augmentation_;
  Cursor start_;               // where a rollback goes back to
  Index number_ = 0;           // of this epoch among all that the trainer began
  Index settings_ = -1;        // the version of the settings that rates_ were made with
  const Index first_row_;      // where this object began
  std::vector<double> rates_;  // of the updates of the epoch
  TrainingRun<T> run_;
  Executor<T>* executor_ = nullptr;
  std::chrono::steady_clock::time_point began_;
};

}  // namespace stoop
