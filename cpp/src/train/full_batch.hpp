// LBFGS and Newton's method on any objective. One iteration is a direction and a line search. Vectors are kept from one
// iteration to the next, so that only the first iterations allocate.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <stoop/optimizers.hpp>
#include <stoop/types.hpp>

#include "spectrum.hpp"

namespace stoop::inline v0_1 {

// A function of `point`, which the optimizer moves. The functions below read `point`.
template <class T>
struct Objective {
  std::span<T> point;
  std::vector<bool> free;  // the elements that may change; gradient and products are zero in the others
  std::function<double(std::span<T> gradient)> value_and_gradient;
  std::function<void(std::span<const T> direction, std::span<T> product)> hessian_vector;  // for NewtonCG
  std::function<bool()> keep_going;  // may be empty; false ends the iteration where it began
};

struct Iteration {
  double value = 0.0;  // before the iteration
  double grad_norm = 0.0;
  double step = 0.0;         // length of the step; 0: the point stayed
  bool interrupted = false;  // the point stayed, because keep_going returned false
};

template <class T>
class FullBatchOptimizer {
 public:
  explicit FullBatchOptimizer(const Optimizer& optimizer) : optimizer_(optimizer) {}

  // Tells that the objective or the point has changed, so that the next iteration evaluates value and gradient again.
  void forget_point() { known_ = false; }
  // Evaluates the point if its value is not known. The last call of value_and_gradient was then at this point.
  void look(const Objective<T>& objective);
  // Makes one iteration. The last call of value_and_gradient is at the point where it ends. If the objective is not finite
  // at the first point, the value is not finite and nothing is done.
  Iteration iterate(const Objective<T>& objective, double first_step);

  // The memory of earlier iterations: step and change of each pair, the oldest first.
  std::vector<std::span<const T>> memory() const;
  void set_memory(const std::vector<std::vector<T>>& memory);

 private:
  struct Pair {
    std::vector<T> step, change;  // s = w' - w, y = g' - g
    double product = 0.0;         // s . y
    double weight = 0.0;          // weight of `step` in the direction that is being made
  };

  // The pairs are a ring. Returns the pair with `age` pairs older than it.
  Pair& pair(std::size_t age) { return pairs_[(oldest_ + age) % pairs_.size()]; }

  void choose_lbfgs_direction();
  void choose_newton_direction(const Objective<T>& objective, const NewtonCG& newton);
  bool escape(const Objective<T>& objective, const NewtonCG& newton, double first_step, Iteration& result);
  bool iterate_newton(const Objective<T>& objective, const NewtonCG& newton, double first_step, Iteration& result);
  bool iterate_lbfgs(const Objective<T>& objective, const LBFGS& lbfgs, double first_step, Iteration& result);
  bool search(const Objective<T>& objective, double first_step, int most_evaluations, Iteration& result);
  double evaluate(const Objective<T>& objective, double step);
  void accept(double value);
  void go_back(const Objective<T>& objective);
  void remember(const Objective<T>& objective);

  Optimizer optimizer_;
  bool known_ = false;      // value_ and gradient_ are those of the point
  bool exhausted_ = false;  // no step from here gets lower
  bool convex_ = false;     // no negative curvature was found where the gradient is short
  bool interrupted_ = false;
  double value_ = 0.0;
  std::vector<T> gradient_, direction_, origin_, trial_;
  std::vector<Pair> pairs_;  // LBFGS: as many as were ever remembered, `known_pairs_` of them from `oldest_` on
  std::size_t oldest_ = 0, known_pairs_ = 0;
  std::vector<T> residual_, conjugate_, product_;  // NewtonCG: of the conjugate gradients
  Lanczos<T> lanczos_;
};

}  // namespace stoop
