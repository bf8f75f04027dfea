// Finds where numbers stopped being finite, after a run has failed: in the buffers of its plan and in its gradient, which are
// still there. Nothing of this is done before.
#pragma once

#include <algorithm>
#include <cmath>

#include "../base/finite.hpp"
#include "steps_context.hpp"

namespace stoop::inline v0_1 {

// Looks through the values of the forward pass over so many rows, in the order in which they were computed.
template <class T>
Fault fault_of_values(const Plan& plan, const StepContext<T>& context, Index rows) {
  const auto has_bad = [&](int buffer) {
    if (buffer == kNone) return false;
    const Buffer& b = plan.buffers[static_cast<std::size_t>(buffer)];
    for (Index i = 0; i < b.rows_of(rows); ++i) {
      if (!all_finite(context.at(buffer, i), b.width)) return true;
    }
    return false;
  };
  for (const Step& step : plan.steps) {
    if (step.kind == StepKind::loss) return {.at_loss = true};
    if (step.kind == StepKind::gather && has_bad(step.out)) return {.node = 0};
    if (step.node == kNone) continue;
    const bool normalises = step.kind == StepKind::batch_norm;
    if (normalises && has_bad(step.statistics)) return {.node = step.node};
    if (has_bad(step.out)) return {.node = step.node};
  }
  return {};
}

// Looks through a gradient, from the last layer to the first. If all of it is finite, the fault is where it is largest.
template <class T>
Fault fault_of_gradient(const Plan& plan, const T* gradient) {
  Fault fault;
  T largest = T(0);
  for (const Step& step : plan.steps) {
    if (step.kind != StepKind::update_parameter) continue;
    const T* const elements = gradient + step.parameter;
    const Index size = step.work.extent * step.work.row_elements;
    if (!all_finite(elements, size)) return {.node = step.node};
    for (Index i = 0; i < size; ++i) {
      if (std::abs(elements[i]) <= largest) continue;
      largest = std::abs(elements[i]);
      fault.node = step.node;
    }
  }
  return fault;
}

}  // namespace stoop
