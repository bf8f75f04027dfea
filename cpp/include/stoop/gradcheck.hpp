// Gradient checking by two-sided differences, in float64.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <stoop/losses.hpp>
#include <stoop/model.hpp>
#include <stoop/trainer.hpp>

namespace stoop::inline v0_1 {

// relative_error = norm(approx - grad) / (norm(approx) + norm(grad)), over the elements of one parameter.
struct ParameterCheck {
  std::string name;
  double relative_error = 0.0;
  Index worst_index = 0;  // row-major position of the element with the largest absolute difference
  double worst_analytic = 0.0;
  double worst_numeric = 0.0;
};

struct GradcheckResult {
  double relative_error = 0.0;  // over all parameters together
  std::vector<ParameterCheck> per_parameter;
  bool passed = false;  // relative_error < 1e-7
};

struct GradcheckOptions {
  double l1 = 0.0;  // as in TrainerConfig
  double l2 = 0.0;
  double eps = 1e-6;       // each element is moved by this much to both sides
  Index sample = 0;        // number of elements to check in each parameter, spread over it; 0: all
  KeepGoing keep_going{};  // is asked at most every 50 ms; if it returns false, the result covers the elements so far
};

// Compares loss_and_grad with (loss(w + eps) - loss(w - eps)) / (2 eps) for every element of the parameters that are
// trained. `model` is left as it was.
STOOP_API GradcheckResult gradcheck(const Model<double>& model, const Loss& loss, const InputView& x,
                                    const Targets<double>& y, const GradcheckOptions& options = {});

}  // namespace stoop
