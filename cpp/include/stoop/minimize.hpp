// Minimising any function with the optimizers that train networks.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include <stoop/optimizers.hpp>
#include <stoop/types.hpp>

namespace stoop {

// The value at `point`; writes the gradient there, of the same size.
using Cost = std::function<double(std::span<const double> point, std::span<double> gradient)>;

// Makes `steps` updates of `point`, in place, or iterations where the optimizer is LBFGS; returns the cost before each.
// Throws ValueError for NewtonCG, which needs Hessian-vector products, and NonFiniteLossError when the cost or its
// gradient becomes infinite or NaN; the point is that of this cost then, without an update by it. LBFGS does not go to
// such a point, and leaves the best one when the cost throws. `keep_going` is asked between updates at most every
// 50 ms; false ends with the updates so far.
STOOP_API std::vector<double> minimize(const Cost& cost, std::span<double> point, const Optimizer& optimizer,
                                       Index steps, const std::function<bool()>& keep_going = {});

}  // namespace stoop
