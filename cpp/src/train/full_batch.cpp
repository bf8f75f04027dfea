#include "full_batch.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>
#include <variant>

#include "line_search.hpp"
#include "vectors.hpp"

namespace stoop::inline v0_1 {
namespace {

// The uncertainty of the value of the objective, relative to its size.
template <class T>
constexpr double kNoise = sizeof(T) == 4 ? 1e-7 : 1e-14;

}  // namespace

// Computes value and gradient (in trial_) at origin_ + step * direction_.
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

// Searches along direction_. Returns whether the point has moved; value_ and gradient_ are then those of the new point.
template <class T>
bool FullBatchOptimizer<T>::search(const Objective<T>& objective, double first_step, int most_evaluations,
                                   Iteration& result) {
  const LineSample start{0.0, value_, dot<T>(gradient_, direction_)};
  if (!(start.slope < 0.0)) return false;
  const auto at = [&](double step) {
    const double value = evaluate(objective, step);
    return LineSample{step, value, interrupted_ ? value : dot<T>(trial_, direction_)};
  };
  const LineSearch found = line_search(std::ref(at), start, first_step, most_evaluations, kNoise<T>);
  if (interrupted_ || found.accepted.step == 0.0) {
    go_back(objective);
    return false;
  }
  accept(found.accepted.value);
  result.step = found.accepted.step * norm<T>(direction_);
  return true;
}

// Computes direction_ = -H g with the H of the pairs, by the two loops of Nocedal & Wright 2006, algorithm 7.4.
template <class T>
void FullBatchOptimizer<T>::choose_lbfgs_direction() {
  direction_ = gradient_;
  for (std::size_t i = known_pairs_; i-- > 0;) {
    Pair& p = pair(i);
    p.weight = dot<T>(p.step, direction_) / p.product;
    add_scaled<T>(direction_, -p.weight, p.change);
  }
  if (known_pairs_ > 0) {
    const Pair& last = pair(known_pairs_ - 1);
    scale<T>(direction_, last.product / dot<T>(last.change, last.change));
  }
  for (std::size_t i = 0; i < known_pairs_; ++i) {
    const Pair& p = pair(i);
    const double beta = dot<T>(p.change, direction_) / p.product;
    add_scaled<T>(direction_, p.weight - beta, p.step);
  }
  scale<T>(direction_, -1.0);
}

// Makes a pair after a step. trial_ holds the gradient from before the step, and direction_ is not needed any more, so the
// pair is made in these two and then replaces the oldest. A pair that would not keep H positive definite is left out.
template <class T>
void FullBatchOptimizer<T>::remember(const Objective<T>& objective) {
  std::copy(objective.point.begin(), objective.point.end(), direction_.begin());
  add_scaled<T>(direction_, -1.0, origin_);
  for (std::size_t i = 0; i < trial_.size(); ++i) trial_[i] = gradient_[i] - trial_[i];
  const double product = dot<T>(direction_, trial_);
  constexpr double kEps = static_cast<double>(std::numeric_limits<T>::epsilon());
  if (!(product > kEps * dot<T>(trial_, trial_))) return;
  const auto most = static_cast<std::size_t>(std::get<LBFGS>(optimizer_).history_size);
  if (known_pairs_ == pairs_.size() && known_pairs_ < most) pairs_.emplace_back();
  const bool is_full = known_pairs_ == most;
  Pair& newest = is_full ? pairs_[oldest_] : pair(known_pairs_);
  newest.step.resize(direction_.size());  // where memory is missing, the pair is not counted yet
  newest.change.resize(trial_.size());
  newest.step.swap(direction_);
  newest.change.swap(trial_);
  newest.product = product;
  if (is_full) {
    oldest_ = (oldest_ + 1) % pairs_.size();
  } else {
    ++known_pairs_;
  }
}

// Solves H z = -g with conjugate gradients, to a residual of min(1/2, sqrt|g|) |g| (Nocedal & Wright 2006, algorithm 7.1).
// A direction of negative curvature ends them. It is a direction of descent, so it is taken itself, and not the solution so
// far.
template <class T>
void FullBatchOptimizer<T>::choose_newton_direction(const Objective<T>& objective, const NewtonCG& newton) {
  residual_ = conjugate_ = gradient_;
  product_.resize(gradient_.size());
  scale<T>(conjugate_, -1.0);
  direction_.assign(gradient_.size(), T(0));
  double square = dot<T>(residual_, residual_);
  const double size = std::sqrt(square), goal = std::min(0.5, std::sqrt(size)) * size;
  for (int i = 0; i < newton.cg_iterations && std::sqrt(square) > goal; ++i) {
    if (objective.keep_going && !objective.keep_going()) interrupted_ = true;
    if (interrupted_) return;
    objective.hessian_vector(conjugate_, product_);
    const double curvature = dot<T>(conjugate_, product_);
    if (!(curvature > kNoise<T> * dot<T>(conjugate_, conjugate_))) {
      if (curvature < 0.0 || i == 0) direction_ = conjugate_;
      return;
    }
    const double alpha = square / curvature;
    add_scaled<T>(direction_, alpha, conjugate_);
    add_scaled<T>(residual_, alpha, product_);
    const double before = std::exchange(square, dot<T>(residual_, residual_));
    scale<T>(conjugate_, square / before);
    add_scaled<T>(conjugate_, -1.0, residual_);
  }
}

// Leaves a point where the gradient is short along the most negative curvature, if there is any, as far as the value falls
// by a part of what that curvature promises (More & Sorensen 1979).
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
  const Spectrum ends = lanczos_.extreme_eigenvalues(objective.hessian_vector, objective.free, newton.cg_iterations,
                                                     kSeed, direction_, std::ref(keep_going));
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
  if (result.grad_norm <= kNoise<T> * std::max(1.0, std::abs(value_))) return false;  // the rest is rounding
  choose_newton_direction(objective, newton);
  return !interrupted_ && search(objective, first_step, newton.max_evaluations, result);
}

template <class T>
bool FullBatchOptimizer<T>::iterate_lbfgs(const Objective<T>& objective, const LBFGS& lbfgs, double first_step,
                                          Iteration& result) {
  // Without a history the scale is not known, so the first step is not longer than first_step.
  const auto try_direction = [&] {
    choose_lbfgs_direction();
    const double step = known_pairs_ == 0 ? first_step * std::min(1.0, 1.0 / result.grad_norm) : first_step;
    return search(objective, step, lbfgs.max_evaluations, result);
  };
  bool moved = try_direction();
  if (!moved && !interrupted_ && known_pairs_ > 0) {
    known_pairs_ = 0;
    moved = try_direction();
  }
  if (moved) remember(objective);
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
  interrupted_ = objective.keep_going && !objective.keep_going();  // asked even if nothing is left to evaluate
  origin_.assign(objective.point.begin(), objective.point.end());
  trial_.resize(origin_.size());
  look(objective);
  Iteration result{value_, norm<T>(gradient_), 0.0, interrupted_};
  if (interrupted_ || exhausted_ || !std::isfinite(value_) || !std::isfinite(result.grad_norm)) return result;
  const auto* newton = std::get_if<NewtonCG>(&optimizer_);
  const bool moved = newton != nullptr ? iterate_newton(objective, *newton, first_step, result)
                                       : iterate_lbfgs(objective, std::get<LBFGS>(optimizer_), first_step, result);
  result.interrupted = interrupted_;
  exhausted_ = !moved && !interrupted_ && first_step > 0.0;
  return result;
}

template <class T>
std::vector<std::span<const T>> FullBatchOptimizer<T>::memory() const {
  std::vector<std::span<const T>> arrays;
  for (std::size_t age = 0; age < known_pairs_; ++age) {
    const Pair& p = pairs_[(oldest_ + age) % pairs_.size()];
    arrays.push_back(p.step);
    arrays.push_back(p.change);
  }
  return arrays;
}

template <class T>
void FullBatchOptimizer<T>::set_memory(const std::vector<std::vector<T>>& memory) {
  std::vector<Pair> pairs(memory.size() / 2);  // nothing is changed where there is no memory
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    pairs[i].step = memory[2 * i];
    pairs[i].change = memory[2 * i + 1];
    pairs[i].product = dot<T>(pairs[i].step, pairs[i].change);
  }
  forget_point();
  oldest_ = 0;
  known_pairs_ = pairs.size();
  pairs_ = std::move(pairs);
}

template class FullBatchOptimizer<float>;
template class FullBatchOptimizer<double>;

}  // namespace stoop
