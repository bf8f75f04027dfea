#include "spectrum.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../random/philox.hpp"
#include "vectors.hpp"

namespace stoop {
namespace {

using Matrix = std::vector<std::vector<double>>;

// One rotation of Jacobi's method, which makes a[p][q] zero; the columns of v turn along.
void rotate(Matrix& a, Matrix& v, std::size_t p, std::size_t q) {
  const double theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
  const double t = std::copysign(1.0, theta) / (std::abs(theta) + std::sqrt(theta * theta + 1.0));
  const double c = 1.0 / std::sqrt(t * t + 1.0), s = t * c;
  for (std::size_t k = 0; k < a.size(); ++k) {
    const double left = a[k][p], right = a[k][q];
    a[k][p] = c * left - s * right;
    a[k][q] = s * left + c * right;
  }
  for (std::size_t k = 0; k < a.size(); ++k) {
    const double upper = a[p][k], lower = a[q][k];
    a[p][k] = c * upper - s * lower;
    a[q][k] = s * upper + c * lower;
  }
  for (auto& row : v) {
    const double left = row[p], right = row[q];
    row[p] = c * left - s * right;
    row[q] = s * left + c * right;
  }
}

// Jacobi 1846: the diagonal of `a` becomes its eigenvalues, the columns of the result are the vectors.
Matrix diagonalise(Matrix& a) {
  constexpr int kMostSweeps = 50;
  Matrix vectors(a.size(), std::vector<double>(a.size(), 0.0));
  for (std::size_t i = 0; i < a.size(); ++i) vectors[i][i] = 1.0;
  for (int sweep = 0; sweep < kMostSweeps; ++sweep) {
    double outside = 0.0, all = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      for (std::size_t j = 0; j < a.size(); ++j) {
        all += a[i][j] * a[i][j];
        if (i != j) outside += a[i][j] * a[i][j];
      }
    }
    constexpr double kEps = std::numeric_limits<double>::epsilon();
    if (outside <= kEps * kEps * all) break;
    for (std::size_t p = 0; p + 1 < a.size(); ++p) {
      for (std::size_t q = p + 1; q < a.size(); ++q) {
        if (a[p][q] != 0.0) rotate(a, vectors, p, q);
      }
    }
  }
  return vectors;
}

// A direction of length 1; zeros where nothing is free.
template <class T>
std::vector<T> random_direction(const std::vector<bool>& free, std::uint64_t seed) {
  std::vector<T> v(free.size(), T(0));
  for (std::size_t i = 0; i < free.size(); ++i) {
    if (free[i]) v[i] = static_cast<T>(2.0 * to_unit_interval(draw(seed, Stream::lanczos, 0, i)[0]) - 1.0);
  }
  const double length = norm(std::span<const T>(v));
  if (length > 0.0) scale(std::span<T>(v), 1.0 / length);
  return v;
}

// What the iterations leave: an orthonormal basis, and the matrix in it, which is tridiagonal.
template <class T>
struct Krylov {
  std::vector<std::vector<T>> basis;
  std::vector<double> diagonal, beside;  // beside[k] couples k and k + 1; the last is the residual's norm
};

template <class T>
Krylov<T> build_basis(const std::function<void(std::span<const T>, std::span<T>)>& multiply, std::vector<T> start,
                      int iterations, const std::function<bool()>& keep_going) {
  Krylov<T> krylov;
  std::vector<T> w = std::move(start);
  double size = 0.0;  // of the matrix, as far as seen
  for (int k = 0; k < iterations; ++k) {
    if (k > 0 && keep_going && !keep_going()) break;
    krylov.basis.push_back(w);
    multiply(krylov.basis.back(), w);
    krylov.diagonal.push_back(dot<T>(krylov.basis.back(), w));
    for (int pass = 0; pass < 2; ++pass) {
      for (const std::vector<T>& q : krylov.basis) add_scaled<T>(w, -dot<T>(q, w), q);
    }
    const double rest = norm<T>(w);
    krylov.beside.push_back(rest);
    size = std::max({size, std::abs(krylov.diagonal.back()), rest});
    if (!(rest > 10.0 * static_cast<double>(std::numeric_limits<T>::epsilon()) * size)) break;  // nothing is left
    scale<T>(w, 1.0 / rest);
  }
  return krylov;
}

}  // namespace

template <class T>
Spectrum extreme_eigenvalues(const std::function<void(std::span<const T>, std::span<T>)>& multiply,
                             const std::vector<bool>& free, int iterations, std::uint64_t seed, std::span<T> lowest,
                             const std::function<bool()>& keep_going) {
  const auto dimensions = static_cast<int>(std::count(free.begin(), free.end(), true));
  std::fill(lowest.begin(), lowest.end(), T(0));
  if (dimensions == 0) return {};
  const Krylov<T> krylov =
      build_basis<T>(multiply, random_direction<T>(free, seed), std::min(iterations, dimensions), keep_going);
  const std::size_t size = krylov.basis.size();
  Matrix a(size, std::vector<double>(size, 0.0));
  for (std::size_t k = 0; k < size; ++k) {
    a[k][k] = krylov.diagonal[k];
    if (k + 1 < size) a[k][k + 1] = a[k + 1][k] = krylov.beside[k];
  }
  const Matrix vectors = diagonalise(a);
  std::size_t first = 0, last = 0;
  for (std::size_t k = 1; k < size; ++k) {
    if (a[k][k] < a[first][first]) first = k;
    if (a[k][k] > a[last][last]) last = k;
  }
  for (std::size_t k = 0; k < size && !lowest.empty(); ++k) add_scaled<T>(lowest, vectors[k][first], krylov.basis[k]);
  // What rounding leaves of the products is in the residual, too.
  const double rounding = static_cast<double>(std::numeric_limits<T>::epsilon()) *
                          std::max(std::abs(a[first][first]), std::abs(a[last][last]));
  const auto residual = [&](std::size_t k) {
    return std::max(rounding, std::abs(krylov.beside.back() * vectors[size - 1][k]));
  };
  return {a[first][first], a[last][last], residual(first), residual(last), static_cast<Index>(size)};
}

template Spectrum extreme_eigenvalues(const std::function<void(std::span<const float>, std::span<float>)>&,
                                      const std::vector<bool>&, int, std::uint64_t, std::span<float>,
                                      const std::function<bool()>&);
template Spectrum extreme_eigenvalues(const std::function<void(std::span<const double>, std::span<double>)>&,
                                      const std::vector<bool>&, int, std::uint64_t, std::span<double>,
                                      const std::function<bool()>&);

}  // namespace stoop
