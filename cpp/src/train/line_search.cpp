#include "line_search.hpp"

#include <algorithm>
#include <cmath>

namespace stoop::inline v0_1 {
namespace {

constexpr double kDecrease = 1e-4;
constexpr double kCurvature = 0.9;

bool is_finite(const LineSample& s) { return std::isfinite(s.value) && std::isfinite(s.slope); }

bool decreases(const LineSample& s, const LineSample& start) {
  return s.value <= start.value + kDecrease * s.step * start.slope;
}

bool is_accepted(const LineSample& s, const LineSample& start, double noise) {
  if (decreases(s, start) && std::abs(s.slope) <= -kCurvature * start.slope) return true;
  return s.value <= start.value + noise && s.slope >= kCurvature * start.slope &&
         s.slope <= (2.0 * kDecrease - 1.0) * start.slope;
}

// Returns the minimum of the cubic through both ends (Nocedal & Wright 2006, eq. 3.59), kept away from the ends.
double interpolate(const LineSample& low, const LineSample& high) {
  const double width = high.step - low.step;
  if (!is_finite(high)) return low.step + 0.1 * width;
  const double d1 = low.slope + high.slope - 3.0 * (low.value - high.value) / (low.step - high.step);
  const double square = d1 * d1 - low.slope * high.slope;
  double step = low.step + 0.5 * width;
  if (square >= 0.0) {
    const double d2 = std::copysign(std::sqrt(square), width);
    const double cubic = high.step - width * (high.slope + d2 - d1) / (high.slope - low.slope + 2.0 * d2);
    if (std::isfinite(cubic)) step = cubic;
  }
  const double a = low.step + 0.1 * width, b = low.step + 0.9 * width;
  return std::clamp(step, std::min(a, b), std::max(a, b));
}

}  // namespace

LineSearch line_search(const std::function<LineSample(double)>& at, const LineSample& start, double first_step,
                       int most_evaluations, double noise) {
  constexpr double kExpand = 4.0;
  LineSearch result;
  // `low` decreases enough and its slope points to `high`; there is a good step between them once `high` is known.
  LineSample low = start, high;
  bool bracketed = false;
  double step = first_step;
  while (result.evaluations < most_evaluations) {
    const LineSample now = at(step);
    ++result.evaluations;
    if (is_finite(now) && is_accepted(now, start, noise * std::abs(start.value))) {
      result.accepted = now;
      return result;
    }
    if (!is_finite(now) || !decreases(now, start) || now.value >= low.value) {
      high = now;
      bracketed = true;
    } else {
      const bool passed = bracketed ? now.slope * (high.step - low.step) >= 0.0 : now.slope >= 0.0;
      if (passed) high = low;
      bracketed = bracketed || passed;
      low = now;
    }
    step = bracketed ? interpolate(low, high) : kExpand * now.step;
    if (bracketed && step == low.step) break;  // no number lies between the two
  }
  if (low.step > 0.0) {  // the value has decreased, though not as much as wanted
    result.accepted = at(low.step);
    ++result.evaluations;
  }
  return result;
}

}  // namespace stoop
