// The context of a step that runs: the places of its buffers, and the part of its output that a call works on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "../base/memory.hpp"
#include "../plan/plan.hpp"

namespace stoop::inline v0_1 {

// The place of a buffer of the plan in a run. Rows are those of the values: a row of the batch has one for each member.
template <class T>
struct BoundBuffer {
  T* data = nullptr;
  Index stride = 0;
};

template <class T>
void bind_buffers(const Plan& plan, std::byte* arena, BoundBuffer<T>* bound) {
  for (const Buffer& b : plan.buffers) {
    *bound++ = {b.external ? nullptr : reinterpret_cast<T*>(arena + b.offset), b.stride};
  }
}

// The places of buffers and parameters, and memory of its own, that a thread needs to run steps.
template <class T>
struct StepContext {
  const OpTable<T>* ops = nullptr;
  const Step* steps = nullptr;  // of the plan: a product finds there what it does in its epilogue
  const BoundBuffer<T>* buffers = nullptr;
  const T* parameters = nullptr;
  bool in_strips = false;                   // the parameters are those of strips.hpp; slices of columns are strips
  const T* direction = nullptr;             // laid out like the parameters; of plans of kind `curvature`
  T* running = nullptr;                     // statistics of the batch normalisations, laid out as Model::buffer_block()
  const PlannedColumns* columns = nullptr;  // of the plan
  T* scratch = nullptr;
  T* augment_scratch = nullptr;  // of runs that augment
  std::uint64_t seed = 0;        // of dropout, with the number of this update
  std::uint64_t update = 0;
  Index rows = 0;          // of this batch
  Index first_row = 0;     // of this batch among the rows of the update
  bool same_step = false;  // an earlier block of the same parameter step has left its copy in `scratch`

  T* at(int buffer, Index row, Index column = 0) const {
    return buffers[buffer].data + row * buffers[buffer].stride + column;
  }
  Index stride(int buffer) const { return buffers[buffer].stride; }
  std::uint8_t* mask(int buffer, Index row) const {
    return reinterpret_cast<std::uint8_t*>(buffers[buffer].data) + row * buffers[buffer].stride;
  }
};

// The part of a step's output that one call works on.
struct Slice {
  Index row, row_end;
  Index column, column_end;

  Index rows() const { return row_end - row; }
  Index columns() const { return column_end - column; }
  // Returns the same with the rows that the members have.
  Slice with_members(Index members) const { return {row * members, row_end * members, column, column_end}; }
};

// A part of the gradient of a parameter: rows [begin, end) of a weight, or elements of a vector, from all rows of a batch, or
// from those from `first_row` on.
template <class T>
struct GradientBlock {
  Index rows;
  Index begin, end;
  T* grad;
  Index first_row = 0;

  GradientBlock with_members(Index members) const { return {rows * members, begin, end, grad, first_row * members}; }
};

// Selects the overload of `run` for a kind of step.
template <StepKind kind>
using Kind = std::integral_constant<StepKind, kind>;

}  // namespace stoop
