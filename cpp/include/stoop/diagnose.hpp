// Tells what kind of point training has reached, from the gradient and the extreme eigenvalues of the Hessian.
#pragma once

#include <functional>
#include <string_view>

#include <stoop/trainer.hpp>

namespace stoop::inline v0_1 {

enum class PointKind {
  slope,      // the gradient is not small: no critical point
  minimum,    // no direction of negative curvature
  saddle,     // curvature of both signs
  maximum,    // no direction of positive curvature
  plateau,    // the largest eigenvalue is within plateau_tolerance
  undecided,  // the eigenvalues found are not near enough to those of the Hessian
};

STOOP_API std::string_view name_of(PointKind kind);

struct CriticalPointOptions {
  double gradient_tolerance = 1e-3;   // a gradient up to this length counts as zero
  double curvature_tolerance = 1e-4;  // smaller eigenvalues, relative to the largest in size, count as zero
  double plateau_tolerance = 1e-6;    // if no eigenvalue is larger than this, the point is a plateau
  int iterations = 80;                // iterations of Lanczos' method; each is a Hessian-vector product
  GradientMode mode{};
  // Is asked before each product but the first, where false ends the search with what is known, and while the gradient or
  // a long product is computed, where false throws Interrupted.
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

// Returns the kind that follows from the numbers of `point`. A found eigenvalue is the curvature in some direction, so its
// sign is certain whatever its residual: two of opposite signs make a saddle. The absence of a sign is certain only if the
// residual at that end of the spectrum does not reach it; otherwise the point is `undecided`.
STOOP_API PointKind kind_of(const CriticalPoint& point, const CriticalPointOptions& options = {});

// Computes the gradient and the extreme eigenvalues of the Hessian of the loss of Trainer::loss_and_grad, with respect to
// the parameters that are trained. Changes nothing. Throws ValueError if a parameter, the loss or the gradient is not
// finite.
template <class T>
STOOP_API CriticalPoint critical_point(Trainer<T>& trainer, const InputView& x, const Targets<T>& y,
                                       const CriticalPointOptions& options = {});

extern template CriticalPoint critical_point(Trainer<float>&, const InputView&, const Targets<float>&,
                                             const CriticalPointOptions&);
extern template CriticalPoint critical_point(Trainer<double>&, const InputView&, const Targets<double>&,
                                             const CriticalPointOptions&);

}  // namespace stoop
