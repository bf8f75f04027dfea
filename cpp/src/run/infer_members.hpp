// Prediction of several networks together, with a team of threads.
#pragma once

#include "executor.hpp"

namespace stoop::inline v0_1 {

// The executors are those of teams.
template <class T>
InferenceResult infer_members_on_team(const Networks<T>& members);

}  // namespace stoop
