// The ends of the spectrum of a symmetric matrix that is known by its products with vectors.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <stoop/types.hpp>

namespace stoop {

struct Spectrum {
  double smallest = 0.0;
  double largest = 0.0;
  double smallest_residual = 0.0;  // norm(A v - smallest * v): some eigenvalue is within it
  double largest_residual = 0.0;
  Index products = 0;
};

// Lanczos 1950, with every vector orthogonalised against all before it (Golub & Van Loan 2013, section 10.3.1):
// `iterations` products, fewer where the space is exhausted. The starting vector is drawn from `seed` and is zero where
// `free` is false, which the matrix must keep. `lowest`, if not empty, gets the vector of the smallest
// eigenvalue. `keep_going` is asked before each product but the first; false ends the iterations with what is known.
template <class T>
Spectrum extreme_eigenvalues(const std::function<void(std::span<const T>, std::span<T>)>& multiply,
                             const std::vector<bool>& free, int iterations, std::uint64_t seed,
                             std::span<T> lowest = {}, const std::function<bool()>& keep_going = {});

}  // namespace stoop
