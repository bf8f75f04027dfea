// The exponentially weighted average of a sequence.
#pragma once

#include <span>

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// v_t = beta*v_{t-1} + (1-beta)*x_t with v_0 = 0, for each column of x, whose rows are t = 1, 2, ...; out (rows, cols) has
// v_t in row t - 1. bias_correction divides v_t by 1 - beta^t (Kingma & Ba 2015, section 3), in a way that leaves
// constants as they are. beta is in [0, 1).
STOOP_API void ewa(MatrixView<const double> x, double beta, bool bias_correction, std::span<double> out);

}  // namespace stoop
