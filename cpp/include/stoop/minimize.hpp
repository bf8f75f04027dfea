// Minimising any function with the optimizers that train networks.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include <stoop/optimizers.hpp>
#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// Returns the value at `point` and writes the gradient there, which has the same size.
using Cost = std::function<double(std::span<const double> point, std::span<double> gradient)>;

// Makes `steps` updates of `point` in place (iterations, if the optimizer is LBFGS) and returns the cost before each.
// Throws ValueError for NewtonCG, which needs Hessian-vector products. Throws NonFiniteLossError if the cost or its
// gradient becomes infinite or NaN; `point` is then where that cost was found. LBFGS does not go to such a point. If the
// cost throws, LBFGS leaves the best point so far. `keep_going` is asked between updates, at most every 50 ms; if it
// returns false, the updates so far remain.
STOOP_API std::vector<double> minimize(const Cost& cost, std::span<double> point, const Optimizer& optimizer,
                                       Index steps, const std::function<bool()>& keep_going = {});

}  // namespace stoop
