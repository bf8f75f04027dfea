// Makes the numbers that the kernel of any optimizer needs for one update, from its settings and the count of updates.
#pragma once

#include <cmath>
#include <limits>
#include <span>
#include <variant>

#include "../ops/ops.hpp"
#include "../spec/optimizers.hpp"

namespace stoop::inline v0_1 {

template <class Optimizers>
struct RatesOf;
template <class... Op>
struct RatesOf<std::variant<Op...>> {
  using Variant = std::variant<Rates<Op>...>;
};
// The Rates of one optimizer.
using AnyRates = RatesOf<Optimizer>::Variant;

// Fills in the numbers for update t, counted from 1, at learning rate lr. args.rates points to `rates`. The gradient is not
// scaled until set_scale.
template <class T>
void set_rates(UpdateArgs<T>& args, AnyRates& rates, const Optimizer& optimizer, double lr, Index t) {
  const auto set = [&]<class Op>(const Op& of) {
    args.rates = &rates.template emplace<Rates<Op>>(Rates<Op>::at(of, lr, t));
    if constexpr (requires { of.weight_decay; }) args.decay = static_cast<T>(lr * of.weight_decay);
  };
  args.decay = T(0);
  std::visit(set, optimizer);
  args.grad_scale = args.grad_scale_rest = T(1);
}

// Makes the numbers of an update those of a layer with other factors than 1. args.rates points to `own` from then on.
template <class T>
void set_factors(UpdateArgs<T>& args, AnyRates& own, const Optimizer& optimizer, const Factors& factors) {
  const auto set = [&]<class Op>(const Op&) {
    auto& rates = own.template emplace<Rates<Op>>(*static_cast<const Rates<Op>*>(args.rates));
    if constexpr (requires { rates.lr; }) rates.lr *= factors.rate;
    if constexpr (requires { rates.lr_grad; }) rates.lr_grad *= factors.rate;
    if constexpr (requires { rates.lr_mean; }) rates.lr_mean *= factors.rate;
    if constexpr (requires { rates.weight_decay; }) rates.weight_decay *= factors.decay;
  };
  std::visit(set, optimizer);
  args.rates = &own;
  args.decay = static_cast<T>(static_cast<double>(args.decay) * factors.rate * factors.decay);
}

// Returns the factor of a step (You et al. 2020): the norm of a parameter divided by the norm of its step, or 1 if one of them
// is 0. It gets the norms of the blocks of both, two by two, adds them in order, and avoids squares that double does not hold.
inline double trust_ratio_of(std::span<const double> block_norms) {
  double weight = 0.0, step = 0.0;
  for (std::size_t i = 0; i < block_norms.size(); i += 2) {
    weight = std::hypot(weight, block_norms[i]);
    step = std::hypot(step, block_norms[i + 1]);
  }
  return weight > 0.0 && step > 0.0 ? weight / step : 1.0;
}

// From now on the gradient is scaled from this norm to that one, in two factors if T does not hold their ratio.
template <class T>
void set_scale(UpdateArgs<T>& args, double to, double from) {
  constexpr double kFactor = sizeof(T) == 4 ? 0x1p-100 : 0x1p-900;
  const double ratio = to / from;
  const bool held = ratio >= static_cast<double>(std::numeric_limits<T>::min());
  args.grad_scale = held ? static_cast<T>(ratio) : static_cast<T>(kFactor);
  args.grad_scale_rest = held ? T(1) : static_cast<T>(to / (from * kFactor));
}

}  // namespace stoop
