// What kind of point training has come to.
#pragma once

#include <functional>
#include <string_view>

#include <stoop/trainer.hpp>

namespace stoop {

enum class PointKind {
  slope,      // the gradient is not small: no critical point
  minimum,    // no direction of negative curvature
  saddle,     // curvature of both signs
  maximum,    // no direction of positive curvature
  plateau,    // no curvature to speak of
  undecided,  // the eigenvalues found are not near enough to those of the Hessian to say
};

STOOP_API std::string_view name_of(PointKind kind);

struct CriticalPointOptions {
  double gradient_tolerance = 1e-3;   // longest gradient that counts as none
  double curvature_tolerance = 1e-4;  // smallest eigenvalue that counts, as a part of the largest in size
  double plateau_tolerance = 1e-6;    // largest eigenvalue that counts as none
  int iterations = 80;                // of Lanczos' method, a Hessian-vector product each
  GradientMode mode{};
  // Asked before each product but the first, when false ends with what is known, and while a long one or the gradient is
  // computed, when it throws Interrupted.
  KeepGoing keep_going{};
};

struct CriticalPoint {
  PointKind kind = PointKind::slope;
  double loss = 0.0;
  double gradient_norm = 0.0;
  double smallest_eigenvalue = 0.0;
  double largest_eigenvalue = 0.0;
  // norm(H v - eigenvalue * v) with |v| = 1: an eigenvalue of the Hessian is within it.
  double smallest_residual = 0.0;
  double largest_residual = 0.0;
  Index products = 0;  // Hessian-vector products made
};

// What follows from the numbers of `point`. A found eigenvalue is the curvature in some direction, so its sign is proven
// whatever its residual: two of opposite signs make a saddle. That there is no curvature of a sign takes an end of the
// spectrum whose residual does not reach to that sign, else the point is `undecided`.
STOOP_API PointKind kind_of(const CriticalPoint& point, const CriticalPointOptions& options = {});

// Gradient and extreme eigenvalues of the Hessian of Trainer::loss_and_grad's loss with respect to the parameters that
// are trained. Nothing is changed. Throws ValueError where a parameter, the loss or the gradient is not finite.
template <class T>
STOOP_API CriticalPoint critical_point(Trainer<T>& trainer, const InputView& x, const Targets<T>& y,
                                       const CriticalPointOptions& options = {});

extern template CriticalPoint critical_point(Trainer<float>&, const InputView&, const Targets<float>&,
                                             const CriticalPointOptions&);
extern template CriticalPoint critical_point(Trainer<double>&, const InputView&, const Targets<double>&,
                                             const CriticalPointOptions&);

}  // namespace stoop
