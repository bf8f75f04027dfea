// Two-sided differences of the training loss, one parameter element at a time.

#include <stoop/gradcheck.hpp>

#include <algorithm>
#include <cmath>

#include <stoop/error.hpp>

namespace stoop {
namespace {

constexpr double kPassed = 1e-7;

// The squared norms a relative error is made of.
struct Norms {
  double difference = 0.0, numeric = 0.0, analytic = 0.0;

  void add(double approx, double grad) {
    difference += (approx - grad) * (approx - grad);
    numeric += approx * approx;
    analytic += grad * grad;
  }
  // 0 when both gradients are zero: they agree.
  double relative_error() const {
    const double scale = std::sqrt(numeric) + std::sqrt(analytic);
    return scale == 0.0 ? 0.0 : std::sqrt(difference) / scale;
  }
};

}  // namespace

GradcheckResult gradcheck(const Model<double>& model, const Loss& loss, MatrixView<const double> x,
                          const Targets<double>& y, double l2, double eps) {
  if (!(eps > 0.0) || !std::isfinite(eps)) {
    throw_value_error("gradcheck", "eps=" + std::to_string(eps), "expected a finite number > 0", "1e-6 suits float64");
  }
  Model<double> probe(model);
  Trainer<double> trainer(probe, {.loss = loss, .optimizer = SGD{}, .l2 = l2});
  const std::span<double> parameters = probe.parameter_block();
  std::vector<double> gradient(parameters.size()), unused(parameters.size());
  trainer.loss_and_grad(x, y, gradient);

  GradcheckResult result;
  Norms total;
  for (const ParameterInfo& info : probe.parameter_infos()) {
    ParameterCheck check{.name = info.name};
    Norms norms;
    double worst = -1.0;
    for (Index i = 0; i < info.rows * info.cols; ++i) {
      double& w = parameters[static_cast<std::size_t>(info.offset + i)];
      const double at = w;
      w = at + eps;
      const double above = trainer.loss_and_grad(x, y, unused);
      w = at - eps;
      const double below = trainer.loss_and_grad(x, y, unused);
      w = at;
      const double approx = (above - below) / (2.0 * eps);
      const double grad = gradient[static_cast<std::size_t>(info.offset + i)];
      norms.add(approx, grad);
      total.add(approx, grad);
      if (std::abs(approx - grad) > worst) {
        worst = std::abs(approx - grad);
        check.worst_index = i;
        check.worst_analytic = grad;
        check.worst_numeric = approx;
      }
    }
    check.relative_error = norms.relative_error();
    result.per_parameter.push_back(check);
  }
  result.relative_error = total.relative_error();
  result.passed = result.relative_error < kPassed;
  return result;
}

}  // namespace stoop
