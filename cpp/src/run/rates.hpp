// The numbers an optimizer's kernel needs for one update; see UpdateArgs. The only place that turns an optimizer's
// settings and the count of updates into them.
#pragma once

#include <cmath>
#include <limits>

#include <stoop/optimizers.hpp>

#include "../ops/ops.hpp"

namespace stoop {

// rate: in the order that each rates_of gives; 1 - beta is taken here, in double, since 1 - 0.999f is off by 1e-5.
// decay: of the weights, apart from the gradient.
struct UpdateRates {
  double rate[8] = {};
  double decay = 0.0;
};

// {lr, momentum, 1-dampening, 1 for nesterov}
inline UpdateRates rates_of(const SGD& sgd, double lr, Index) {
  return {{lr, sgd.momentum, 1.0 - sgd.dampening, sgd.nesterov ? 1.0 : 0.0}};
}

// {lr, eps}
inline UpdateRates rates_of(const AdaGrad& adagrad, double lr, Index) { return {{lr, adagrad.eps}}; }

// {lr, rho, 1-rho, eps, momentum, 1 for centered}
inline UpdateRates rates_of(const RMSProp& rmsprop, double lr, Index) {
  return {{lr, rmsprop.rho, 1.0 - rmsprop.rho, rmsprop.eps, rmsprop.momentum, rmsprop.centered ? 1.0 : 0.0}};
}

// {lr/(1-beta1^t), beta1, beta2, eps, 1/sqrt(1-beta2^t), 1-beta1, 1-beta2}
template <class AdamLike>
UpdateRates adam_rates(const AdamLike& adam, double lr, Index t) {
  const double steps = static_cast<double>(t);
  return {{lr / (1.0 - std::pow(adam.beta1, steps)), adam.beta1, adam.beta2, adam.eps,
           1.0 / std::sqrt(1.0 - std::pow(adam.beta2, steps)), 1.0 - adam.beta1, 1.0 - adam.beta2}};
}

inline UpdateRates rates_of(const Adam& adam, double lr, Index t) { return adam_rates(adam, lr, t); }

inline UpdateRates rates_of(const AdamW& adamw, double lr, Index t) {
  UpdateRates rates = adam_rates(adamw, lr, t);
  rates.decay = lr * adamw.weight_decay;
  return rates;
}

// Adam's, with the factors of g in place 0 and of m in place 7. The product of the mu is made anew, so that an update
// depends on t alone; it stops where 1 minus the product is 1.
inline UpdateRates rates_of(const Nadam& nadam, double lr, Index t) {
  const double step = std::pow(0.96, nadam.momentum_decay);
  double power = step, product = 1.0;
  for (Index i = 1; i <= t && product > 1e-18; ++i, power *= step) product *= nadam.beta1 * (1.0 - 0.5 * power);
  const auto mu_at = [&](Index i) {
    return nadam.beta1 * (1.0 - 0.5 * std::pow(0.96, static_cast<double>(i) * nadam.momentum_decay));
  };
  const double mu = mu_at(t), next = mu_at(t + 1);
  UpdateRates rates = adam_rates(nadam, lr, t);
  rates.rate[0] = lr * (1.0 - mu) / (1.0 - product);
  rates.rate[7] = lr * next / (1.0 - product * next);
  return rates;
}

// {lr, beta1, beta2, 1-beta1, 1-beta2}
inline UpdateRates rates_of(const Lion& lion, double lr, Index) {
  return {{lr, lion.beta1, lion.beta2, 1.0 - lion.beta1, 1.0 - lion.beta2}, lr * lion.weight_decay};
}

// Of the full batch: no update kernel.
inline UpdateRates rates_of(const LBFGS&, double, Index) { return {}; }
inline UpdateRates rates_of(const NewtonCG&, double, Index) { return {}; }

// For update t, counted from 1, at learning rate lr. The gradient is taken as it is until grad_scale is set.
template <class T>
void set_rates(UpdateArgs<T>& args, const Optimizer& optimizer, double lr, Index t) {
  const UpdateRates rates =
      std::visit([&](const auto& alternative) { return rates_of(alternative, lr, t); }, optimizer);
  for (int i = 0; i < 8; ++i) args.rate[i] = static_cast<T>(rates.rate[i]);
  args.decay = static_cast<T>(rates.decay);
  args.grad_scale = args.grad_scale_rest = T(1);
}

// From now on the gradient is scaled from this norm to that. Where T does not hold their ratio, in two factors.
template <class T>
void set_scale(UpdateArgs<T>& args, double to, double from) {
  constexpr double kFactor = sizeof(T) == 4 ? 0x1p-100 : 0x1p-900;
  const double ratio = to / from;
  const bool held = ratio >= static_cast<double>(std::numeric_limits<T>::min());
  args.grad_scale = held ? static_cast<T>(ratio) : static_cast<T>(kFactor);
  args.grad_scale_rest = held ? T(1) : static_cast<T>(to / (from * kFactor));
}

}  // namespace stoop
