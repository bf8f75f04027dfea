// Scheduling: how the threads of the CPU do what lower.hpp says is to be done.
#pragma once

#include "lower.hpp"

namespace stoop {

// Decides for each operation how it is cut, where a barrier stands before it, what a product does in its epilogue, the
// blocks of a parameter and who computes a product; gives each buffer its place.
Plan schedule(const PlanRequest& request, Lowered lowered);

}  // namespace stoop
