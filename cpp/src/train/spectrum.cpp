#include "spectrum.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../base/philox.hpp"
#include "vectors.hpp"

namespace stoop::inline v0_1 {
namespace {

// Makes one rotation of Jacobi's method, which sets a(p, q) to zero. The columns of v are rotated too.
void rotate(SquareMatrix& a, SquareMatrix& v, std::size_t p, std::size_t q) {
  const double theta = (a(q, q) - a(p, p)) / (2.0 * a(p, q));
  const double t = std::copysign(1.0, theta) / (std::abs(theta) + std::sqrt(theta * theta + 1.0));
  const double c = 1.0 / std::sqrt(t * t + 1.0), s = t * c;
  for (std::size_t k = 0; k < a.size; ++k) {
    const double left = a(k, p), right = a(k, q);
    a(k, p) = c * left - s * right;
    a(k, q) = s * left + c * right;
  }
  for (std::size_t k = 0; k < a.size; ++k) {
    const double upper = a(p, k), lower = a(q, k);
    a(p, k) = c * upper - s * lower;
    a(q, k) = s * upper + c * lower;
  }
  for (std::size_t k = 0; k < v.size; ++k) {
    const double left = v(k, p), right = v(k, q);
    v(k, p) = c * left - s * right;
    v(k, q) = s * left + c * right;
  }
}

// Returns whether the elements outside the diagonal are only rounding.
bool is_diagonal(SquareMatrix& a) {
  constexpr double kEps = std::numeric_limits<double>::epsilon();
  double outside = 0.0, all = 0.0;
  for (std::size_t i = 0; i < a.size; ++i) {
    for (std::size_t j = 0; j < a.size; ++j) {
      all += a(i, j) * a(i, j);
      if (i != j) outside += a(i, j) * a(i, j);
    }
  }
  return outside <= kEps * kEps * all;
}

}  // namespace

// Jacobi 1846: the diagonal of the matrix becomes its eigenvalues.
template <class T>
void Lanczos<T>::diagonalise() {
  constexpr int kMostSweeps = 50;
  matrix_.reset(size_);
  vectors_.reset(size_);
  for (std::size_t k = 0; k < size_; ++k) {
    vectors_(k, k) = 1.0;
    matrix_(k, k) = diagonal_[k];
    if (k + 1 < size_) matrix_(k, k + 1) = matrix_(k + 1, k) = beside_[k];
  }
  for (int sweep = 0; sweep < kMostSweeps && !is_diagonal(matrix_); ++sweep) {
    for (std::size_t p = 0; p + 1 < size_; ++p) {
      for (std::size_t q = p + 1; q < size_; ++q) {
        if (matrix_(p, q) != 0.0) rotate(matrix_, vectors_, p, q);
      }
    }
  }
}

// Returns a direction of length 1, or zeros if nothing is free.
template <class T>
void Lanczos<T>::draw_start(const std::vector<bool>& free, std::uint64_t seed) {
  next_.assign(free.size(), T(0));
  for (std::size_t i = 0; i < free.size(); ++i) {
    if (free[i]) next_[i] = static_cast<T>(2.0 * to_unit_interval(draw(seed, Stream::lanczos, 0, i)[0]) - 1.0);
  }
  const double length = norm<T>(next_);
  if (length > 0.0) scale<T>(next_, 1.0 / length);
}

template <class T>
void Lanczos<T>::build_basis(const Multiply& multiply, int iterations, const std::function<bool()>& keep_going) {
  double largest = 0.0;  // the largest element of the matrix so far
  diagonal_.clear();
  beside_.clear();
  for (size_ = 0; size_ < static_cast<std::size_t>(iterations);) {
    if (size_ > 0 && keep_going && !keep_going()) break;
    if (size_ == basis_.size()) basis_.emplace_back();
    std::vector<T>& newest = basis_[size_++];
    newest = next_;
    multiply(newest, next_);
    diagonal_.push_back(dot<T>(newest, next_));
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t k = 0; k < size_; ++k) add_scaled<T>(next_, -dot<T>(basis_[k], next_), basis_[k]);
    }
    const double rest = norm<T>(next_);
    beside_.push_back(rest);
    largest = std::max({largest, std::abs(diagonal_.back()), rest});
    if (!(rest > 10.0 * static_cast<double>(std::numeric_limits<T>::epsilon()) * largest)) break;  // nothing is left
    scale<T>(next_, 1.0 / rest);
  }
}

template <class T>
Spectrum Lanczos<T>::extreme_eigenvalues(const Multiply& multiply, const std::vector<bool>& free, int iterations,
                                         std::uint64_t seed, std::span<T> lowest,
                                         const std::function<bool()>& keep_going) {
  const auto dimensions = static_cast<int>(std::count(free.begin(), free.end(), true));
  std::fill(lowest.begin(), lowest.end(), T(0));
  if (dimensions == 0) return {};
  draw_start(free, seed);
  build_basis(multiply, std::min(iterations, dimensions), keep_going);
  diagonalise();
  std::size_t first = 0, last = 0;
  for (std::size_t k = 1; k < size_; ++k) {
    if (matrix_(k, k) < matrix_(first, first)) first = k;
    if (matrix_(k, k) > matrix_(last, last)) last = k;
  }
  for (std::size_t k = 0; k < size_ && !lowest.empty(); ++k) add_scaled<T>(lowest, vectors_(k, first), basis_[k]);
  const double smallest = matrix_(first, first), largest = matrix_(last, last);
  // The residual includes the rounding of the products.
  const double rounding =
      static_cast<double>(std::numeric_limits<T>::epsilon()) * std::max(std::abs(smallest), std::abs(largest));
  const auto residual = [&](std::size_t k) {
    return std::max(rounding, std::abs(beside_.back() * vectors_(size_ - 1, k)));
  };
  return {smallest, largest, residual(first), residual(last), static_cast<Index>(size_)};
}

template class Lanczos<float>;
template class Lanczos<double>;

}  // namespace stoop
