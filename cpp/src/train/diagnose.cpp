#include <stoop/diagnose.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <vector>

#include <stoop/error.hpp>

#include "../base/memory.hpp"
#include "settings.hpp"
#include "spectrum.hpp"
#include "vectors.hpp"

namespace stoop::inline v0_1 {
namespace {

void check(const CriticalPointOptions& options) {
  const auto refuse = [](const char* name, const std::string& value, const char* expected) {
    throw_value_error("critical_point", std::string(name) + "=" + value, expected, "leave it out for the default");
  };
  if (options.iterations < 1) refuse("iterations", std::to_string(options.iterations), "expected at least 1");
  const std::array<std::pair<const char*, double>, 3> tolerances{{
      {"gradient_tolerance", options.gradient_tolerance},
      {"curvature_tolerance", options.curvature_tolerance},
      {"plateau_tolerance", options.plateau_tolerance},
  }};
  for (const auto& [name, value] : tolerances) {
    if (!(value >= 0.0) || !std::isfinite(value)) refuse(name, std::to_string(value), "expected a finite number >= 0");
  }
}

// If the parameters are finite but their loss is not, the loss has left the range of T.
template <class T>
[[noreturn]] void refuse_non_finite(const Model<T>& model) {
  for (const ParameterInfo& info : model.parameter_infos()) {
    const T* values = model.parameter_block().data() + info.offset;
    const T* end = values + info.rows * info.cols;
    const T* bad = std::find_if_not(values, end, [](T value) { return std::isfinite(value); });
    if (bad == end) continue;
    throw_value_error("critical_point",
                      "the parameter " + info.name + " is " + number_text(static_cast<double>(*bad)) + " at element " +
                          std::to_string(bad - values),
                      "expected finite parameters", "take parameters from before they went wrong");
  }
  throw_value_error("critical_point", "a loss or gradient that is not finite", "expected finite numbers",
                    "scale x, y or the parameters down");
}

}  // namespace

std::string_view name_of(PointKind kind) {
  constexpr std::array<std::string_view, 6> kNames = {"slope", "minimum", "saddle", "maximum", "plateau", "undecided"};
  return kNames[static_cast<std::size_t>(kind)];
}

PointKind kind_of(const CriticalPoint& point, const CriticalPointOptions& options) {
  if (!(point.gradient_norm <= options.gradient_tolerance)) return PointKind::slope;
  const double low = point.smallest_eigenvalue, high = point.largest_eigenvalue;
  if (!std::isfinite(low) || !std::isfinite(high)) return PointKind::undecided;
  const double least = low - point.smallest_residual, most = high + point.largest_residual;
  if (std::max(std::abs(low), std::abs(high)) <= options.plateau_tolerance) {
    return std::max(-least, most) <= options.plateau_tolerance ? PointKind::plateau : PointKind::undecided;
  }
  const double counts = options.curvature_tolerance * std::max(std::abs(low), std::abs(high));
  if (low < -counts && high > counts) return PointKind::saddle;
  if (least >= -counts) return PointKind::minimum;
  return most <= counts ? PointKind::maximum : PointKind::undecided;
}

template <class T>
CriticalPoint critical_point(Trainer<T>& trainer, const InputView& x, const Targets<T>& y,
                             const CriticalPointOptions& options) {
  constexpr std::uint64_t kSeed = 1;
  check(options);
  if (trainer.config().precision == Precision::bfloat16) {
    throw_value_error("critical_point", "a trainer with precision bfloat16", "expected an exact gradient",
                      "give a trainer of this model with precision float32");
  }
  const Graph graph = build_graph(trainer.model().config(), kAlignment / static_cast<Index>(sizeof(T)));
  std::vector<T> gradient(trainer.model().parameter_block().size());
  CriticalPoint point;
  point.loss = trainer.loss_and_grad(x, y, gradient, options.mode, options.keep_going);
  point.gradient_norm = norm<T>(gradient);
  if (!std::isfinite(point.loss) || !std::isfinite(point.gradient_norm)) refuse_non_finite(trainer.model());
  const auto multiply = [&](std::span<const T> direction, std::span<T> product) {
    trainer.hessian_vector_product(x, y, direction, product, options.mode, options.keep_going);
  };
  const Spectrum ends = Lanczos<T>().extreme_eigenvalues(multiply, trained_elements(graph), options.iterations, kSeed,
                                                         {}, options.keep_going);
  point.smallest_eigenvalue = ends.smallest;
  point.largest_eigenvalue = ends.largest;
  point.smallest_residual = ends.smallest_residual;
  point.largest_residual = ends.largest_residual;
  point.products = ends.products;
  point.kind = kind_of(point, options);
  return point;
}

template CriticalPoint critical_point(Trainer<float>&, const InputView&, const Targets<float>&,
                                      const CriticalPointOptions&);
template CriticalPoint critical_point(Trainer<double>&, const InputView&, const Targets<double>&,
                                      const CriticalPointOptions&);

}  // namespace stoop
