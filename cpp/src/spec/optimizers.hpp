// Everything that is known of each optimizer except its formula, which is in cpu/optimizer.inl.hpp: Spec has its fields and
// state, and Rates the numbers that its kernel takes for one update. This file uses no std functions, so that the files of
// each instruction set may include it.
#pragma once

#include <stoop/optimizers.hpp>

#include "spec.hpp"

namespace stoop::inline v0_1 {

// The use of squares of gradients. If the element type does not hold a square, its root is infinite, and the parameter never
// changes again.
enum class Squares { none, averaged, added_up };

// Each Spec also has states(optimizer): how many arrays of parameter size it keeps.
struct OptimizerSpec {
  static constexpr bool kFullBatch = false;  // an update is an iteration on all samples; there is no kernel
  static constexpr Squares kSquares = Squares::none;
  // The update needs the norms of a whole parameter: Formula<Op, T>::update writes the state and the norms of a block,
  // and leaves the weight to Formula<Op, T>::apply.
  static constexpr bool kNeedsNorms = false;
};

// A factor of a running mean.
template <class Op>
constexpr Field<Op, double> factor(const char* key, double Op::* member, const char* hint) {
  return {key, member, from_up_to(0, 1), hint, Holds::below_one};
}

// eps keeps a division by a root of squared gradients finite. If its own square vanished, it alone would remain beside
// gradients whose squares vanish, and their updates would be as long as 1/eps.
template <class Op>
inline constexpr Field<Op, double> kEps{"eps", &Op::eps, above(0), "1e-8 is usual", Holds::size_of_square};

template <class Op>
inline constexpr Field<Op, double> kWeightDecay{"weight_decay", &Op::weight_decay, at_least(0),
                                                "0 turns it off, 0.01 is usual", Holds::not_zero};

template <class Op>
inline constexpr Field<Op, int> kEvaluations{"max_evaluations", &Op::max_evaluations, at_least(1), "25 is usual"};

template <class Op>
inline constexpr auto kLearningRate = plain("learning_rate", &Op::learning_rate);

template <>
struct Spec<SGD> : OptimizerSpec {
  static constexpr const char* kName = "sgd";
  static constexpr const char* kClass = "SGD";
  static constexpr std::tuple kFields{
      kLearningRate<SGD>, factor("momentum", &SGD::momentum, "0.9 is usual"), plain("nesterov", &SGD::nesterov),
      Field{"dampening", &SGD::dampening, between(0, 1),
            "use 0, or the momentum for an exponentially weighted average of the gradients", Holds::below_one},
      plain("rate_in_velocity", &SGD::rate_in_velocity)};
  static constexpr int states(const SGD& sgd) { return sgd.momentum != 0 ? 1 : 0; }
  static void check(const SGD& sgd);  // nesterov needs a momentum and no dampening
};

template <>
struct Spec<AdaGrad> : OptimizerSpec {
  static constexpr const char* kName = "adagrad";
  static constexpr const char* kClass = "AdaGrad";
  static constexpr std::tuple kFields{kLearningRate<AdaGrad>, kEps<AdaGrad>};
  static constexpr Squares kSquares = Squares::added_up;
  static constexpr int states(const AdaGrad&) { return 1; }
};

template <>
struct Spec<RMSProp> : OptimizerSpec {
  static constexpr const char* kName = "rmsprop";
  static constexpr const char* kClass = "RMSProp";
  static constexpr std::tuple kFields{kLearningRate<RMSProp>, factor("rho", &RMSProp::rho, "0.9 is usual"),
                                      kEps<RMSProp>, factor("momentum", &RMSProp::momentum, "0 turns it off"),
                                      plain("centered", &RMSProp::centered)};
  static constexpr Squares kSquares = Squares::averaged;
  static constexpr int states(const RMSProp& rmsprop) {
    return 1 + (rmsprop.centered ? 1 : 0) + (rmsprop.momentum != 0 ? 1 : 0);
  }
};

// The fields of Adam and of optimizers like it.
template <class Op>
struct AdamSpec : OptimizerSpec {
  static constexpr Squares kSquares = Squares::averaged;
  template <class... Field>
  static constexpr auto fields(const Field&... more) {
    return std::tuple{kLearningRate<Op>, factor("beta1", &Op::beta1, "0.9 is usual"),
                      factor("beta2", &Op::beta2, "0.999 is usual"), kEps<Op>, more...};
  }
};

template <>
struct Spec<Adam> : AdamSpec<Adam> {
  static constexpr const char* kName = "adam";
  static constexpr const char* kClass = "Adam";
  static constexpr std::tuple kFields = fields(plain("amsgrad", &Adam::amsgrad), plain("eps_hat", &Adam::eps_hat));
  static constexpr int states(const Adam& adam) { return adam.amsgrad ? 3 : 2; }
};

template <>
struct Spec<AdamW> : AdamSpec<AdamW> {
  static constexpr const char* kName = "adamw";
  static constexpr const char* kClass = "AdamW";
  static constexpr std::tuple kFields = fields(plain("amsgrad", &AdamW::amsgrad), kWeightDecay<AdamW>);
  static constexpr int states(const AdamW& adamw) { return adamw.amsgrad ? 3 : 2; }
};

template <>
struct Spec<Nadam> : AdamSpec<Nadam> {
  static constexpr const char* kName = "nadam";
  static constexpr const char* kClass = "Nadam";
  static constexpr std::tuple kFields =
      fields(Field{"momentum_decay", &Nadam::momentum_decay, at_least(0), "0.004 is usual"});
  static constexpr int states(const Nadam&) { return 2; }
};

template <>
struct Spec<Lion> : OptimizerSpec {
  static constexpr const char* kName = "lion";
  static constexpr const char* kClass = "Lion";
  static constexpr std::tuple kFields{kLearningRate<Lion>, factor("beta1", &Lion::beta1, "0.9 is usual"),
                                      factor("beta2", &Lion::beta2, "0.99 is usual"), kWeightDecay<Lion>};
  static constexpr int states(const Lion&) { return 1; }
};

// Its eps stands inside the roots.
template <>
struct Spec<Adadelta> : OptimizerSpec {
  static constexpr const char* kName = "adadelta";
  static constexpr const char* kClass = "Adadelta";
  static constexpr std::tuple kFields{kLearningRate<Adadelta>, factor("rho", &Adadelta::rho, "0.9 is usual"),
                                      Field{"eps", &Adadelta::eps, above(0), "1e-6 is usual", Holds::size}};
  static constexpr Squares kSquares = Squares::averaged;
  static constexpr int states(const Adadelta&) { return 2; }
};

// It squares nothing; its eps stands beside |g|.
template <>
struct Spec<Adamax> : OptimizerSpec {
  static constexpr const char* kName = "adamax";
  static constexpr const char* kClass = "Adamax";
  static constexpr std::tuple kFields{kLearningRate<Adamax>, factor("beta1", &Adamax::beta1, "0.9 is usual"),
                                      factor("beta2", &Adamax::beta2, "0.999 is usual"),
                                      Field{"eps", &Adamax::eps, above(0), "1e-8 is usual", Holds::size}};
  static constexpr int states(const Adamax&) { return 2; }
};

template <>
struct Spec<RAdam> : AdamSpec<RAdam> {
  static constexpr const char* kName = "radam";
  static constexpr const char* kClass = "RAdam";
  static constexpr std::tuple kFields = fields();
  static constexpr int states(const RAdam&) { return 2; }
};

template <>
struct Spec<Rprop> : OptimizerSpec {
  static constexpr const char* kName = "rprop";
  static constexpr const char* kClass = "Rprop";
  static constexpr std::tuple kFields{
      kLearningRate<Rprop>,
      Field{"eta_minus", &Rprop::eta_minus, Bounds{0, 1, true, true}, "0.5 is usual", Holds::below_one},
      Field{"eta_plus", &Rprop::eta_plus, above(1), "1.2 is usual"},
      Field{"min_step_size", &Rprop::min_step_size, above(0), "1e-6 is usual", Holds::size},
      Field{"max_step_size", &Rprop::max_step_size, above(0), "50 is usual", Holds::size}};
  static constexpr int states(const Rprop&) { return 2; }  // the gradient before, and the steps
  static void check(const Rprop& rprop);                   // the smallest step is not above the largest
};

template <>
struct Spec<Lamb> : AdamSpec<Lamb> {
  static constexpr const char* kName = "lamb";
  static constexpr const char* kClass = "Lamb";
  static constexpr std::tuple kFields = fields(kWeightDecay<Lamb>);
  static constexpr bool kNeedsNorms = true;
  static constexpr int states(const Lamb&) { return 2; }
};

template <>
struct Spec<LBFGS> : OptimizerSpec {
  static constexpr const char* kName = "lbfgs";
  static constexpr const char* kClass = "LBFGS";
  static constexpr bool kFullBatch = true;
  static constexpr std::tuple kFields{kLearningRate<LBFGS>,
                                      Field{"history_size", &LBFGS::history_size, at_least(1), "5 to 20 is usual"},
                                      kEvaluations<LBFGS>};
  static constexpr int states(const LBFGS&) { return 0; }  // its state is not of a fixed size
};

template <>
struct Spec<NewtonCG> : OptimizerSpec {
  static constexpr const char* kName = "newton_cg";
  static constexpr const char* kClass = "NewtonCG";
  static constexpr bool kFullBatch = true;
  static constexpr std::tuple kFields{
      kLearningRate<NewtonCG>, Field{"cg_iterations", &NewtonCG::cg_iterations, at_least(1), "50 is usual"},
      kEvaluations<NewtonCG>, Field{"saddle_tolerance", &NewtonCG::saddle_tolerance, at_least(0), "1e-6 is usual"}};
  static constexpr int states(const NewtonCG&) { return 0; }
};

// ---- the numbers that a kernel takes for update t, counted from 1, at learning rate lr: Rates<Op>::at(optimizer, lr, t) ----

// `rest` is 1 - beta. It is computed here in double, since 1 - 0.999f is off by 1e-5.
template <class Op>
struct Rates;

template <class Op>
  requires Spec<Op>::kFullBatch
struct Rates<Op> {
  static Rates at(const Op&, double, Index) { return {}; }
};

template <>
struct Rates<SGD> {
  double lr, momentum, keep;  // keep = 1 - dampening
  bool nesterov;
  bool rate_in_velocity;  // lr is 1 and keep is times the learning rate

  static Rates at(const SGD& sgd, double lr, Index) {
    const double keep = 1.0 - sgd.dampening;
    if (sgd.rate_in_velocity) return {1.0, sgd.momentum, lr * keep, sgd.nesterov, true};
    return {lr, sgd.momentum, keep, sgd.nesterov, false};
  }
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
  static Rates at(const Adam& adam, double lr, Index t) {
    Rates rates{AdamRates::at(adam, lr, t)};
    if (adam.eps_hat) rates.eps *= rates.correction;
    return rates;
  }
};

template <>
struct Rates<AdamW> : AdamRates {
  static Rates at(const AdamW& adamw, double lr, Index t) { return {AdamRates::at(adamw, lr, t)}; }
};

template <>
struct Rates<Nadam> : MomentRates {
  double lr_grad, lr_mean;  // the learning rate times the factors of g and of its running mean

  // The product of the mu is computed again each time, so that an update depends on t alone. It stops when 1 minus the
  // product is 1.
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

template <>
struct Rates<Adadelta> {
  double lr, rho, rest, eps;

  static Rates at(const Adadelta& adadelta, double lr, Index) {
    return {lr, adadelta.rho, 1.0 - adadelta.rho, adadelta.eps};
  }
};

template <>
struct Rates<Adamax> {
  double lr, beta1, rest1, beta2, eps;  // lr: divided by 1-beta1^t

  static Rates at(const Adamax& adamax, double lr, Index t) {
    return {lr / (1.0 - __builtin_pow(adamax.beta1, static_cast<double>(t))), adamax.beta1, 1.0 - adamax.beta1,
            adamax.beta2, adamax.eps};
  }
};

template <>
struct Rates<RAdam> : MomentRates {
  double lr;  // with r_t and the corrections of both biases
  bool is_adaptive;

  static Rates at(const RAdam& radam, double lr, Index t) {
    const double steps = static_cast<double>(t), power = __builtin_pow(radam.beta2, steps);
    const double p = 2.0 / (1.0 - radam.beta2) - 1.0, now = p - 2.0 * steps * power / (1.0 - power);
    const double corrected = lr / (1.0 - __builtin_pow(radam.beta1, steps));
    if (!(now > 5.0)) return {MomentRates::at(radam, t), corrected, false};
    const double r = __builtin_sqrt((now - 4.0) * (now - 2.0) * p / ((p - 4.0) * (p - 2.0) * now));
    return {MomentRates::at(radam, t), corrected * r * __builtin_sqrt(1.0 - power), true};
  }
};

template <>
struct Rates<Rprop> {
  double lr, eta_minus, eta_plus, min_step, max_step;
  bool is_first;

  static Rates at(const Rprop& rprop, double lr, Index t) {
    return {lr, rprop.eta_minus, rprop.eta_plus, rprop.min_step_size, rprop.max_step_size, t == 1};
  }
};

template <>
struct Rates<Lamb> : MomentRates {
  double lr, mean_correction, weight_decay;  // mean_correction = 1/(1-beta1^t)

  static Rates at(const Lamb& lamb, double lr, Index t) {
    return {MomentRates::at(lamb, t), lr, 1.0 / (1.0 - __builtin_pow(lamb.beta1, static_cast<double>(t))),
            lamb.weight_decay};
  }
};

}  // namespace stoop
