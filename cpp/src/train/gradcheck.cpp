// Compares the gradient with two-sided differences of the training loss, one parameter element at a time.

#include <stoop/gradcheck.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <stoop/error.hpp>

#include "../base/memory.hpp"
#include "../team/poller.hpp"
#include "settings.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr double kPassed = 1e-7;

// The norms from which a relative error is computed. Gradients may be of any size.
struct Norms {
  double difference = 0.0, numeric = 0.0, analytic = 0.0;

  void add(double approx, double grad) {
    difference = std::hypot(difference, approx - grad);
    numeric = std::hypot(numeric, approx);
    analytic = std::hypot(analytic, grad);
  }
  // 0 when both gradients are zero: they agree.
  double relative_error() const {
    const double scale = numeric + analytic;
    return scale == 0.0 ? 0.0 : difference / scale;
  }
};

// Returns (loss(w + eps) - loss(w - eps)) / (2 eps) for one element.
double central_difference(Trainer<double>& trainer, const InputView& x, const Targets<double>& y, double& w,
                          const GradcheckOptions& options) {
  const double at = w, eps = options.eps;
  w = at + eps;
  const double above = trainer.loss_and_grad(x, y, {}, {}, options.keep_going);
  w = at - eps;
  const double below = trainer.loss_and_grad(x, y, {}, {}, options.keep_going);
  w = at;
  return (above - below) / (2.0 * eps);
}

// Returns element k of `count` elements that are spread over n. There is one in each of `count` equal parts, at a place that
// changes from part to part, so that no column of a weight is missed.
Index spread(Index k, Index count, Index n) {
  if (count == n) return k;
  const Index begin = k * n / count, size = (k + 1) * n / count - begin;
  return begin + static_cast<Index>((static_cast<std::uint64_t>(k) * 0x9E3779B97F4A7C15u) >> 33) % size;
}

// Writes to `result` until it is done or keep_going returns false. Then it throws Interrupted.
void check_elements(const Model<double>& model, const Loss& loss, const InputView& x, const Targets<double>& y,
                    const GradcheckOptions& options, GradcheckResult& result) {
  Model<double> probe(model);
  if (!probe.is_adapted()) probe.adapt(x, options.keep_going);
  Trainer<double> trainer(probe, {.loss = loss, .optimizer = SGD{}, .l1 = options.l1, .l2 = options.l2});
  const std::span<double> parameters = probe.parameter_block();
  std::vector<double> gradient(parameters.size());
  trainer.loss_and_grad(x, y, gradient, {}, options.keep_going);

  Norms total;
  Poller poller(options.keep_going);
  const std::vector<bool> trained =
      trained_elements(build_graph(probe.config(), kAlignment / static_cast<Index>(sizeof(double))));
  for (const ParameterInfo& info : probe.parameter_infos()) {
    if (!trained[static_cast<std::size_t>(info.offset)]) continue;
    ParameterCheck check{.name = info.name};
    Norms norms;
    double worst = -1.0;
    const Index elements = info.rows * info.cols;
    const Index count = options.sample > 0 ? std::min(options.sample, elements) : elements;
    for (Index k = 0; k < count; ++k) {
      if (options.keep_going && !poller.goes_on()) throw_interrupted("gradcheck");
      const Index i = spread(k, count, elements);
      const std::size_t element = static_cast<std::size_t>(info.offset + i);
      const double grad = gradient[element];
      const double approx = central_difference(trainer, x, y, parameters[element], options);
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
}

}  // namespace

GradcheckResult gradcheck(const Model<double>& model, const Loss& loss, const InputView& x, const Targets<double>& y,
                          const GradcheckOptions& options) {
  if (!(options.eps > 0.0) || !std::isfinite(options.eps)) {
    throw_value_error("gradcheck", "eps=" + number_text(options.eps), "expected a finite number > 0",
                      "1e-6 suits float64");
  }
  GradcheckResult result;
  try {
    check_elements(model, loss, x, y, options, result);
  } catch (const Interrupted&) {  // the result so far stays
  }
  return result;
}

}  // namespace stoop
