// Finds how far to go in a direction: a step that satisfies the strong Wolfe conditions.
#pragma once

#include <functional>

namespace stoop::inline v0_1 {

// The function along the direction: value and slope at `step`.
struct LineSample {
  double step = 0.0;
  double value = 0.0;
  double slope = 0.0;
};

struct LineSearch {
  LineSample accepted;  // the sample that was evaluated last; step 0: nothing better was found
  int evaluations = 0;
};

// Nocedal & Wright 2006, algorithms 3.5 and 3.6, with c1 = 1e-4 and c2 = 0.9: value <= start.value + c1*step*slope and
// |slope| <= c2*|start.slope|. If values differ only by rounding, which is `noise` of their size, the approximate
// conditions of Hager & Zhang 2005, section 4, are used instead. `start.slope` < 0. `at` evaluates the function. A step with
// a value that is not finite counts as too far.
LineSearch line_search(const std::function<LineSample(double)>& at, const LineSample& start, double first_step,
                       int most_evaluations, double noise);

}  // namespace stoop
