#include <stoop/minimize.hpp>

#include <cmath>
#include <string>

#include <stoop/error.hpp>
#include <stoop/optimizer_step.hpp>

#include "../team/poller.hpp"
#include "full_batch.hpp"
#include "settings.hpp"

namespace stoop::inline v0_1 {
namespace {

// Returns the value if it and the gradient are finite. `size` is the norm of the gradient, or any number that is finite
// exactly if the gradient is.
double checked(double value, double size, Index step) {
  if (std::isfinite(value) && std::isfinite(size)) return value;
  throw NonFiniteLossError(
      step, 0,
      step == 0 ? "the cost of the first point: start elsewhere" : "the learning rate is probably too large: lower it",
      "minimize");
}

// Returns a number that is not finite if an element is not. A sum could overflow; this cannot.
double largest(std::span<const double> gradient) {
  double result = 0.0;
  for (const double value : gradient) {
    if (!(std::abs(value) <= result)) result = std::abs(value);
    if (!std::isfinite(value)) break;
  }
  return result;
}

std::vector<double> iterate(const Cost& cost, std::span<double> point, const Optimizer& optimizer, Index steps,
                            const std::function<bool()>& keeps_going) {
  Objective<double> objective;
  objective.point = point;
  objective.value_and_gradient = [&](std::span<double> gradient) { return cost(point, gradient); };
  FullBatchOptimizer<double> full_batch(optimizer);
  std::vector<double> values;
  for (Index i = 0; i < steps && keeps_going(); ++i) {
    const double rate = schedule_of(optimizer)(i);
    check_rates({&rate, 1}, i);
    const Iteration iteration = full_batch.iterate(objective, rate);
    values.push_back(checked(iteration.value, iteration.grad_norm, i));
  }
  return values;
}

}  // namespace

std::vector<double> minimize(const Cost& cost, std::span<double> point, const Optimizer& optimizer, Index steps,
                             const std::function<bool()>& keep_going) {
  constexpr const char* kWhere = "minimize";
  validate(optimizer);
  if (steps < 1) throw_value_error(kWhere, "steps=" + std::to_string(steps), "expected at least 1", "give the updates");
  if (std::holds_alternative<NewtonCG>(optimizer)) {
    throw_value_error(kWhere, "newton_cg with a cost that gives no Hessian-vector products",
                      "expected another optimizer", "use LBFGS, which needs gradients alone");
  }
  Poller poller([&](Index) { return keep_going(); });
  const auto keeps_going = [&] { return !keep_going || !poller.is_due() || poller.keep_going(0); };
  if (is_full_batch(optimizer)) return iterate(cost, point, optimizer, steps, keeps_going);
  ParameterUpdater<double> updater(optimizer, kWhere);
  std::vector<double> values, gradient(point.size());
  for (Index i = 0; i < steps && keeps_going(); ++i) {
    const double value = cost(point, gradient);
    values.push_back(checked(value, largest(gradient), i));
    const std::span<double> parameters[] = {point};
    const std::span<const double> gradients[] = {gradient};
    updater.step(parameters, gradients, kWhere);
  }
  return values;
}

}  // namespace stoop
