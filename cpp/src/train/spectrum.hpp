// Finds the ends of the spectrum of a symmetric matrix that is given by its products with vectors.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// Row by row.
struct SquareMatrix {
  std::size_t size = 0;
  std::vector<double> elements;

  void reset(std::size_t n) {
    size = n;
    elements.assign(n * n, 0.0);
  }
  double& operator()(std::size_t i, std::size_t j) { return elements[i * size + j]; }
};

struct Spectrum {
  double smallest = 0.0;
  double largest = 0.0;
  double smallest_residual = 0.0;  // norm(A v - smallest * v): some eigenvalue is within it
  double largest_residual = 0.0;
  Index products = 0;
};

// Keeps its vectors from call to call.
template <class T>
class Lanczos {
 public:
  using Multiply = std::function<void(std::span<const T>, std::span<T>)>;

  // Lanczos 1950, with every vector orthogonalised against all vectors before it (Golub & Van Loan 2013, section 10.3.1).
  // It makes `iterations` products, or fewer if the space is exhausted. The starting vector is drawn from `seed` and is zero
  // where `free` is false; the products must be zero there too. If `lowest` is not empty, it gets the vector of the smallest
  // eigenvalue. `keep_going` is asked before each product but the first; false ends the iterations with the result so far.
  Spectrum extreme_eigenvalues(const Multiply& multiply, const std::vector<bool>& free, int iterations,
                               std::uint64_t seed, std::span<T> lowest = {},
                               const std::function<bool()>& keep_going = {});

 private:
  void draw_start(const std::vector<bool>& free, std::uint64_t seed);
  void build_basis(const Multiply& multiply, int iterations, const std::function<bool()>& keep_going);
  void diagonalise();

  std::vector<T> next_;                // the next vector of the basis
  std::vector<std::vector<T>> basis_;  // orthonormal; the first `size_` count
  std::size_t size_ = 0;
  std::vector<double> diagonal_, beside_;  // the matrix in it, tridiagonal: beside_[k] couples k and k + 1
  SquareMatrix matrix_, vectors_;          // the same in full, then diagonal; its eigenvectors as columns
};

}  // namespace stoop
