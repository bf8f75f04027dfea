// Puts a checkpoint that was read into a trainer. Reading and writing are in stoop/checkpoint.hpp and Trainer.
#pragma once

#include <stoop/checkpoint.hpp>

#include "trainer_core.hpp"

namespace stoop::inline v0_1 {

// Sets all that a checkpoint holds in place of the trainer's. Throws CheckpointError, and changes nothing then, if it was made
// for another network or with other settings.
template <class T>
void put_into(TrainerCore<T>& core, const Checkpoint<T>& checkpoint);

}  // namespace stoop
