// The derivative of a plan in a direction: with it, the plan of a gradient gives Hessian-vector products.
#pragma once

#include <vector>

#include "plan.hpp"

namespace stoop {

// Adds to `plan`, whose steps compute a gradient without fused activations, a tangent of every buffer that depends on
// the parameters, and the steps that compute it; `parameter_steps` become those of the gradient's tangent.
// Pearlmutter 1994, "Fast exact multiplication by the Hessian", section 3: forward over reverse.
void add_tangents(Plan& plan, std::vector<Step>& parameter_steps, const Graph& graph);

}  // namespace stoop
