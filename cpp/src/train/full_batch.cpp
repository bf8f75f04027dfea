#include "full_batch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <variant>

#include "line_search.hpp"
#include "spectrum.hpp"
#include "vectors.hpp"

namespace stoop {
namespace {

// What the value of the objective is uncertain by, relative to its size.
template <class T>
constexpr double kNoise = sizeof(T) == 4 ? 1e-7 : 1e-14;

}  // namespace

// Value and gradient (in trial_) at origin_ + step * direction_.
template <class T>
double FullBatchOptimizer<T>::evaluate(const Objective<T>& objective, double step) {
  if (objective.keep_going && !interrupted_) interrupted_ = !objective.keep_going();
  if (interrupted_) return std::numeric_limits<double>::quiet_NaN();
  std::copy(origin_.begin(), origin_.end(), objective.point.begin());
  add_scaled<T>(objective.point, step, direction_);
  try {
    return objective.value_and_gradient(trial_);
  } catch (...) {
    go_back(objective);
    throw;
  }
}

template <class T>
void FullBatchOptimizer<T>::accept(double value) {
  value_ = value;
  gradient_.swap(trial_);
}

template <class T>
void FullBatchOptimizer<T>::go_back(const Objective<T>& objective) {
  std::copy(origin_.begin(), origin_.end(), objective.point.begin());
}

// Along direction_. True: the point has moved, and value_ and gradient_ with it.
template <class T>
bool FullBatchOptimizer<T>::search(const Objective<T>& objective, double first_step, int most_evaluations,
                                   Iteration& result) {
  const LineSample start{0.0, value_, dot<T>(gradient_, direction_)};
  if (!(start.slope < 0.0)) return false;
  const auto at = [&](double step) {
    const double value = evaluate(objective, step);
    return LineSample{step, value, interrupted_ ? value : dot<T>(trial_, direction_)};
  };
  const LineSearch found = line_search(at, start, first_step, most_evaluations, kNoise<T>);
  if (interrupted_ || found.accepted.step == 0.0) {
    go_back(objective);
    return false;
  }
  accept(found.accepted.value);
  result.step = found.accepted.step * norm<T>(direction_);
  return true;
}

// direction_ = -H g with the H of the pairs: the two loops of Nocedal & Wright 2006, algorithm 7.4.
template <class T>
void FullBatchOptimizer<T>::choose_lbfgs_direction() {
  std::vector<double> alpha(pairs_.size());
  direction_ = gradient_;
  for (std::size_t i = pairs_.size(); i-- > 0;) {
    alpha[i] = dot<T>(pairs_[i].step, direction_) / pairs_[i].product;
    add_scaled<T>(direction_, -alpha[i], pairs_[i].change);
  }
  if (!pairs_.empty()) {
    const Pair& last = pairs_.back();
    scale<T>(direction_, last.product / dot<T>(last.change, last.change));
  }
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    const double beta = dot<T>(pairs_[i].change, direction_) / pairs_[i].product;
    add_scaled<T>(direction_, alpha[i] - beta, pairs_[i].step);
  }
  scale<T>(direction_, -1.0);
}

// After a step: trial_ holds the gradient from before it. A pair that would not keep H positive definite is left out.
template <class T>
void FullBatchOptimizer<T>::remember(const Objective<T>& objective, int history_size) {
  Pair pair;
  if (pairs_.size() >= static_cast<std::size_t>(history_size)) {
    pair = std::move(pairs_.front());
    pairs_.erase(pairs_.begin());
  }
  pair.step.assign(objective.point.begin(), objective.point.end());
  add_scaled<T>(pair.step, -1.0, origin_);
  pair.change = gradient_;
  add_scaled<T>(pair.change, -1.0, trial_);
  pair.product = dot<T>(pair.step, pair.change);
  constexpr double kEps = static_cast<double>(std::numeric_limits<T>::epsilon());
  if (pair.product > kEps * dot<T>(pair.change, pair.change)) pairs_.push_back(std::move(pair));
}

// Conjugate gradients on H z = -g, to a residual of min(1/2, sqrt|g|) |g| (Nocedal & Wright 2006, algorithm 7.1). A
// direction of negative curvature ends them; being one of descent it is taken itself, not what came before it.
template <class T>
void FullBatchOptimizer<T>::choose_newton_direction(const Objective<T>& objective, const NewtonCG& newton) {
  std::vector<T> residual = gradient_, conjugate = gradient_, product(gradient_.size());
  scale<T>(conjugate, -1.0);
  direction_.assign(gradient_.size(), T(0));
  double square = dot<T>(residual, residual);
  const double size = std::sqrt(square), goal = std::min(0.5, std::sqrt(size)) * size;
  for (int i = 0; i < newton.cg_iterations && std::sqrt(square) > goal; ++i) {
    if (objective.keep_going && !objective.keep_going()) interrupted_ = true;
    if (interrupted_) return;
    objective.hessian_vector(conjugate, product);
    const double curvature = dot<T>(conjugate, product);
    if (!(curvature > kNoise<T> * dot<T>(conjugate, conjugate))) {
      if (curvature < 0.0 || i == 0) direction_ = conjugate;
      return;
    }
    const double alpha = square / curvature;
    add_scaled<T>(direction_, alpha, conjugate);
    add_scaled<T>(residual, alpha, product);
    const double before = std::exchange(square, dot<T>(residual, residual));
    scale<T>(conjugate, square / before);
    add_scaled<T>(conjugate, -1.0, residual);
  }
}

// Where the gradient says nothing: along the most negative curvature, if there is any, as far as the value falls by a
// part of what that curvature promises (More & Sorensen 1979).
template <class T>
bool FullBatchOptimizer<T>::escape(const Objective<T>& objective, const NewtonCG& newton, double first_step,
                                   Iteration& result) {
  constexpr std::uint64_t kSeed = 0;
  constexpr int kMostHalvings = 60;
  direction_.resize(gradient_.size());
  const auto keep_going = [&] {
    if (objective.keep_going && !interrupted_) interrupted_ = !objective.keep_going();
    return !interrupted_;
  };
  const Spectrum ends = extreme_eigenvalues<T>(objective.hessian_vector, objective.free, newton.cg_iterations, kSeed,
                                               direction_, keep_going);
  if (interrupted_) return false;
  const double flat = std::sqrt(kNoise<T>) * std::max(std::abs(ends.smallest), std::abs(ends.largest));
  if (!(ends.smallest < -flat)) return false;
  if (dot<T>(gradient_, direction_) > 0.0) scale<T>(direction_, -1.0);
  const double start = value_;
  const auto is_enough = [&](double step, double value) { return value < start + 0.1 * ends.smallest * step * step; };
  double step = first_step;
  for (int i = 0; i < kMostHalvings && !interrupted_; ++i, step *= 0.5) {
    const double value = evaluate(objective, step);
    if (!is_enough(step, value)) continue;
    accept(value);
    result.step = step;
    return true;
  }
  go_back(objective);
  return false;
}

template <class T>
bool FullBatchOptimizer<T>::iterate_newton(const Objective<T>& objective, const NewtonCG& newton, double first_step,
                                           Iteration& result) {
  if (result.grad_norm <= newton.saddle_tolerance && !convex_) {
    if (escape(objective, newton, first_step, result)) return true;
    if (interrupted_) return false;
    convex_ = true;
  }
  if (result.grad_norm <= kNoise<T> * std::max(1.0, std::abs(value_))) return false;  // nothing but rounding is left
  choose_newton_direction(objective, newton);
  return !interrupted_ && search(objective, first_step, newton.max_evaluations, result);
}

template <class T>
bool FullBatchOptimizer<T>::iterate_lbfgs(const Objective<T>& objective, const LBFGS& lbfgs, double first_step,
                                          Iteration& result) {
  // Without a history nothing is known of the scale: the first step is not longer than first_step.
  const auto try_direction = [&] {
    choose_lbfgs_direction();
    const double step = pairs_.empty() ? first_step * std::min(1.0, 1.0 / result.grad_norm) : first_step;
    return search(objective, step, lbfgs.max_evaluations, result);
  };
  bool moved = try_direction();
  if (!moved && !interrupted_ && !pairs_.empty()) {
    pairs_.clear();
    moved = try_direction();
  }
  if (moved) remember(objective, lbfgs.history_size);
  return moved;
}

template <class T>
void FullBatchOptimizer<T>::look(const Objective<T>& objective) {
  if (known_) return;
  gradient_.resize(objective.point.size());
  value_ = objective.value_and_gradient(gradient_);
  known_ = true;
  exhausted_ = convex_ = false;
}

template <class T>
Iteration FullBatchOptimizer<T>::iterate(const Objective<T>& objective, double first_step) {
  interrupted_ = false;
  origin_.assign(objective.point.begin(), objective.point.end());
  trial_.resize(origin_.size());
  look(objective);
  Iteration result{value_, norm<T>(gradient_), 0.0, false};
  if (exhausted_ || !std::isfinite(value_) || !std::isfinite(result.grad_norm)) return result;
  const auto* newton = std::get_if<NewtonCG>(&optimizer_);
  const bool moved = newton != nullptr ? iterate_newton(objective, *newton, first_step, result)
                                       : iterate_lbfgs(objective, std::get<LBFGS>(optimizer_), first_step, result);
  result.interrupted = interrupted_;
  exhausted_ = !moved && !interrupted_ && first_step > 0.0;
  return result;
}

template class FullBatchOptimizer<float>;
template class FullBatchOptimizer<double>;

}  // namespace stoop
