// Optimizers as plain data. In the formulas g is the gradient, which includes the regularisation terms, and t counts
// updates from 1. eps is outside the square root unless said otherwise. All accumulated arrays start at 0.
#pragma once

#include <string_view>
#include <variant>

#include <stoop/schedules.hpp>

namespace stoop::inline v0_1 {

// v = momentum*v + (1-dampening)*g;  w -= lr*v, with nesterov w -= lr*(g + momentum*v).
// momentum: Polyak 1964; nesterov: Nesterov 1983, in the form of Bengio et al. 2013, eq. 7.
// rate_in_velocity: v = momentum*v + lr*g;  w -= v, with nesterov w -= lr*g + momentum*v (Sutskever et al. 2013, eq. 1 and 2):
// where the rate changes, steps that were taken keep their length.
struct SGD {
  LearningRate learning_rate = 0.01;
  double momentum = 0.0;
  bool nesterov = false;
  double dampening = 0.0;
  bool rate_in_velocity = false;
};

// s += g^2;  w -= lr * g / (sqrt(s) + eps)   (Duchi, Hazan & Singer 2011, the diagonal form).
struct AdaGrad {
  LearningRate learning_rate = 0.01;
  double eps = 1e-10;
};

// v = rho*v + (1-rho)*g^2;  w -= lr * g / (sqrt(v) + eps)   (Tieleman & Hinton 2012).
// centered: v - a^2 in place of v, a = rho*a + (1-rho)*g (Graves 2013, eq. 38-40).
// momentum: b = momentum*b + g / (sqrt(v) + eps);  w -= lr*b.
struct RMSProp {
  LearningRate learning_rate = 0.001;
  double rho = 0.9;
  double eps = 1e-8;
  double momentum = 0.0;
  bool centered = false;
};

// Kingma & Ba 2015, algorithm 1: m and v are running means of g and g^2,
// w -= lr * m/(1-beta1^t) / (sqrt(v/(1-beta2^t)) + eps).
// amsgrad: the largest v so far in place of v (Reddi, Kale & Kumar 2018), its bias corrected after the maximum.
// eps_hat: eps/sqrt(1-beta2^t) in place of eps, so that it stands beside sqrt(v) (the end of section 2 there).
struct Adam {
  LearningRate learning_rate = 0.001;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  bool amsgrad = false;
  bool eps_hat = false;
};

// Adam with w -= lr*weight_decay*w beside it, for weights of Dense only (Loshchilov & Hutter 2019, algorithm 2).
struct AdamW {
  LearningRate learning_rate = 0.001;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  bool amsgrad = false;
  double weight_decay = 0.01;
};

// Adam with Nesterov's momentum (Dozat 2016, algorithm 2): with mu_t = beta1 * (1 - 0.96^(t*momentum_decay) / 2) and
// p_t the product of mu_1 .. mu_t,
// w -= lr * ((1-mu_t)/(1-p_t) * g + mu_{t+1}/(1-p_{t+1}) * m) / (sqrt(v/(1-beta2^t)) + eps).
struct Nadam {
  LearningRate learning_rate = 0.001;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double momentum_decay = 0.004;
};

// w -= lr * (sign(beta1*m + (1-beta1)*g) + weight_decay*w);  m = beta2*m + (1-beta2)*g; weights of Dense only decay
// (Chen et al. 2023, algorithm 2).
struct Lion {
  LearningRate learning_rate = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double weight_decay = 0.0;
};

// v = rho*v + (1-rho)*g^2;  d = sqrt(u + eps) / sqrt(v + eps) * g;  w -= lr*d;  u = rho*u + (1-rho)*d^2 (Zeiler 2012,
// algorithm 1, where lr is 1). eps is inside the roots here.
struct Adadelta {
  LearningRate learning_rate = 1.0;
  double rho = 0.9;
  double eps = 1e-6;
};

// Adam with the largest |g|, which decays, in place of the root: u = max(beta2*u, |g| + eps),
// w -= lr/(1-beta1^t) * m/u (Kingma & Ba 2015, algorithm 2, which has no eps).
struct Adamax {
  LearningRate learning_rate = 0.002;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
};

// Adam whose rate rises as v becomes reliable (Liu et al. 2020, algorithm 2). With p = 2/(1-beta2) - 1 and
// p_t = p - 2*t*beta2^t/(1-beta2^t): where p_t > 5, w -= lr * r_t * m/(1-beta1^t) * sqrt(1-beta2^t) / (sqrt(v) + eps),
// r_t^2 = (p_t-4)*(p_t-2)*p / ((p-4)*(p-2)*p_t); before that w -= lr * m/(1-beta1^t).
struct RAdam {
  LearningRate learning_rate = 0.001;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
};

// Each element has a step d of its own, lr at first. Where the sign of g is that of the update before, d grows by the
// factor eta_plus; where it is the other, d shrinks by eta_minus and g counts as 0; d stays between min_step_size and
// max_step_size. w -= sign(g)*d (Riedmiller & Braun 1993, without going back; for full batches).
struct Rprop {
  LearningRate learning_rate = 0.01;
  double eta_minus = 0.5;
  double eta_plus = 1.2;
  double min_step_size = 1e-6;
  double max_step_size = 50.0;
};

// Adam's step with decay, u = m/(1-beta1^t) / (sqrt(v/(1-beta2^t)) + eps) + weight_decay*w, as long as each parameter:
// w -= lr * |w|/|u| * u, with the norms of the whole parameter, and w -= lr*u where one of them is 0; weights of Dense
// only decay (You et al. 2020, algorithm 2).
struct Lamb {
  LearningRate learning_rate = 0.001;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-6;
  double weight_decay = 0.01;
};

// ---- optimizers of the full batch: an update is an iteration, whose line search tries learning_rate first ----

// Limited-memory BFGS (Nocedal & Wright 2006, algorithm 7.5) with a line search for the strong Wolfe conditions
// (algorithms 3.5 and 3.6).
struct LBFGS {
  LearningRate learning_rate = 1.0;
  int history_size = 10;     // pairs of step and change of gradient, each two arrays of parameter size
  int max_evaluations = 25;  // of value and gradient, in a line search
};

// Newton's method: conjugate gradients on Hessian-vector products until a direction of negative curvature, which is
// then taken (Nocedal & Wright 2006, algorithm 7.1); where the gradient is shorter than saddle_tolerance, a step along
// the most negative curvature (More & Sorensen 1979), found by Lanczos' method.
struct NewtonCG {
  LearningRate learning_rate = 1.0;
  int cg_iterations = 50;  // products of an update at most
  int max_evaluations = 25;
  double saddle_tolerance = 1e-6;
};

using Optimizer = std::variant<SGD, AdaGrad, RMSProp, Adam, AdamW, Nadam, Lion, Adadelta, Adamax, RAdam, Rprop, Lamb,
                               LBFGS, NewtonCG>;

inline constexpr int kOptimizerCount = static_cast<int>(std::variant_size_v<Optimizer>);

STOOP_API std::string_view name_of(const Optimizer& optimizer);  // "sgd", ...
STOOP_API bool is_full_batch(const Optimizer& optimizer);        // iterations on all samples, in place of updates
STOOP_API bool needs_norms(const Optimizer& optimizer);  // of whole parameters: it makes its update in two passes
STOOP_API const LearningRate& schedule_of(const Optimizer& optimizer);
STOOP_API void set_learning_rate(Optimizer& optimizer, LearningRate learning_rate);
STOOP_API double learning_rate_of(const Optimizer& optimizer);  // of the first update
// Arrays of parameter size it keeps, at most kMostStates: SGD 0 or 1, Adam 2, with amsgrad 3, ...
STOOP_API int state_count(const Optimizer& optimizer);
inline constexpr int kMostStates = 3;
STOOP_API Optimizer optimizer_from_name(std::string_view name, std::string_view where = "optimizer");

// Throws ValueError for a rate, momentum or beta outside its range.
STOOP_API void validate(const Optimizer& optimizer);

}  // namespace stoop
