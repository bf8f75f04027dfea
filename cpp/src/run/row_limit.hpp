// How many rows a thread takes through a network at a time, where layers are so wide that the usual number would fill the
// memory. Rows do not depend on each other, so their number changes no bits of what is predicted.
#pragma once

#include <algorithm>

#include "../base/memory.hpp"
#include "../base/ranges.hpp"
#include "../plan/plan.hpp"

namespace stoop::inline v0_1 {

// Returns how many bytes the values between the layers may take for each thread.
inline Index most_value_bytes(const Graph& graph, Index element_size) {
  constexpr Index kOfAnyModel = Index{1} << 25;
  return std::max(kOfAnyModel, 2 * graph.parameter_elements * element_size);
}

// Threads that may each take so much. More of them share what these would take.
inline constexpr int kMostFullThreads = 4;

// Returns the bytes that a plan takes for its rows: its arena, and its rows of X where they must be converted first.
inline Index value_bytes(const Plan& plan) {
  const Buffer& input = plan.buffers[static_cast<std::size_t>(plan.input_buffer)];
  return plan.arena_bytes + plan.batch * round_up(input.width * input.element_size, kAlignment);
}

// Returns how many rows of a plan take at most so many bytes: at least one, and a multiple of kRowBlock if that many fit.
inline Index rows_within(const Plan& plan, Index most_bytes) {
  const Index rows = std::min(plan.batch, most_bytes / std::max<Index>(block_count(value_bytes(plan), plan.batch), 1));
  return std::max<Index>(rows < kRowBlock ? rows : rows / kRowBlock * kRowBlock, 1);
}

}  // namespace stoop
