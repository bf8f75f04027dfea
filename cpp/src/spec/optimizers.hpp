// What an update kernel takes of each optimizer: named numbers for update t, counted from 1, at learning rate lr. No
// std functions, so that the files of each instruction set may include it.
#pragma once

#include <stoop/optimizers.hpp>

namespace stoop {

// Rates<Op>::at(optimizer, lr, t) makes them; `rest` is 1 - beta, which is taken here, in double, since 1 - 0.999f is off
// by 1e-5. Optimizers of the full batch have no update kernel, and none.
template <class Op>
struct Rates;

template <class Op>
concept FullBatch = requires(Op optimizer) { optimizer.max_evaluations; };

template <FullBatch Op>
struct Rates<Op> {
  static Rates at(const Op&, double, Index) { return {}; }
};

template <>
struct Rates<SGD> {
  double lr, momentum, keep;  // keep = 1 - dampening
  bool nesterov;

  static Rates at(const SGD& sgd, double lr, Index) { return {lr, sgd.momentum, 1.0 - sgd.dampening, sgd.nesterov}; }
};

template <>
struct Rates<AdaGrad> {
  double lr, eps;

  static Rates at(const AdaGrad& adagrad, double lr, Index) { return {lr, adagrad.eps}; }
};

template <>
struct Rates<RMSProp> {
  double lr, rho, rest, eps, momentum;
  bool centered;

  static Rates at(const RMSProp& rmsprop, double lr, Index) {
    return {lr, rmsprop.rho, 1.0 - rmsprop.rho, rmsprop.eps, rmsprop.momentum, rmsprop.centered};
  }
};

// Running means of g and of its square; the root of the second is multiplied by correction = 1/sqrt(1-beta2^t).
struct MomentRates {
  double beta1, rest1, beta2, rest2, eps, correction;

  template <class AdamLike>
  static MomentRates at(const AdamLike& adam, Index t) {
    const double correction = 1.0 / __builtin_sqrt(1.0 - __builtin_pow(adam.beta2, static_cast<double>(t)));
    return {adam.beta1, 1.0 - adam.beta1, adam.beta2, 1.0 - adam.beta2, adam.eps, correction};
  }
};

struct AdamRates : MomentRates {
  double lr;  // divided by 1-beta1^t

  template <class AdamLike>
  static AdamRates at(const AdamLike& adam, double lr, Index t) {
    return {MomentRates::at(adam, t), lr / (1.0 - __builtin_pow(adam.beta1, static_cast<double>(t)))};
  }
};

template <>
struct Rates<Adam> : AdamRates {
  static Rates at(const Adam& adam, double lr, Index t) { return {AdamRates::at(adam, lr, t)}; }
};

template <>
struct Rates<AdamW> : AdamRates {
  static Rates at(const AdamW& adamw, double lr, Index t) { return {AdamRates::at(adamw, lr, t)}; }
};

template <>
struct Rates<Nadam> : MomentRates {
  double lr_grad, lr_mean;  // the learning rate times the factors of g and of its running mean

  // The product of the mu is made anew, so that an update depends on t alone; it stops where 1 minus the product is 1.
  static Rates at(const Nadam& nadam, double lr, Index t) {
    const double step = __builtin_pow(0.96, nadam.momentum_decay);
    double power = step, product = 1.0;
    for (Index i = 1; i <= t && product > 1e-18; ++i, power *= step) product *= nadam.beta1 * (1.0 - 0.5 * power);
    const auto mu_at = [&](Index i) {
      return nadam.beta1 * (1.0 - 0.5 * __builtin_pow(0.96, static_cast<double>(i) * nadam.momentum_decay));
    };
    const double mu = mu_at(t), next = mu_at(t + 1);
    return {MomentRates::at(nadam, t), lr * (1.0 - mu) / (1.0 - product), lr * next / (1.0 - product * next)};
  }
};

template <>
struct Rates<Lion> {
  double lr, beta1, rest1, beta2, rest2;

  static Rates at(const Lion& lion, double lr, Index) {
    return {lr, lion.beta1, 1.0 - lion.beta1, lion.beta2, 1.0 - lion.beta2};
  }
};

}  // namespace stoop
