// What a step of a plan computes and moves, counted from its operands.
#pragma once

#include "plan.hpp"

namespace stoop::inline v0_1 {

// What the plan does not know.
struct CostTerms {
  Index rows = 0;             // of the batch
  Index element_size = 4;     // of a parameter
  Index input_row = 0;        // bytes of a row of x as it is stored
  Index target_row = 0;       // bytes of the target of a row
  Index update_elements = 2;  // read or written by an update, for each parameter element; the gradient apart
};

struct StepCost {
  double flops = 0.0;  // of a matrix product; 0 for other steps
  double bytes = 0.0;  // of operands and parameters, each once: from wherever they lie, cache or memory
};

StepCost cost_of(const Plan& plan, const Step& step, const CostTerms& terms);

}  // namespace stoop
