// Values are drawn in double and rounded once, so that float32 and float64 models with one seed start from the same numbers.

#include "initialize.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <variant>

#include "../base/memory.hpp"
#include "../base/philox.hpp"

namespace stoop::inline v0_1 {
namespace {

enum class Distribution { constant, uniform, normal };

struct Draw {
  Distribution distribution;
  double scale;  // the constant, the limit of the uniform, the standard deviation of the normal
};

Draw uniform_of_variance(double variance) { return {Distribution::uniform, std::sqrt(3.0 * variance)}; }
Draw normal_of_variance(double variance) { return {Distribution::normal, std::sqrt(variance)}; }

// ---- what each initialiser draws, of fan_in and fan_out ----
using namespace initializers;

Draw draw_of(const Zeros&, double, double) { return {Distribution::constant, 0.0}; }
Draw draw_of(const Ones&, double, double) { return {Distribution::constant, 1.0}; }
Draw draw_of(const Constant& of, double, double) { return {Distribution::constant, of.value}; }
Draw draw_of(const Normal& of, double, double) { return {Distribution::normal, of.value}; }
Draw draw_of(const Uniform& of, double, double) { return {Distribution::uniform, of.value}; }
Draw draw_of(const GlorotUniform&, double in, double out) { return uniform_of_variance(2.0 / (in + out)); }
Draw draw_of(const GlorotNormal&, double in, double out) { return normal_of_variance(2.0 / (in + out)); }
Draw draw_of(const HeUniform&, double in, double) { return uniform_of_variance(2.0 / in); }
Draw draw_of(const HeNormal&, double in, double) { return normal_of_variance(2.0 / in); }
Draw draw_of(const LecunUniform&, double in, double) { return uniform_of_variance(1.0 / in); }
Draw draw_of(const LecunNormal&, double in, double) { return normal_of_variance(1.0 / in); }
Draw draw_of(const Orthogonal&, double, double) { return {Distribution::normal, 1.0}; }  // made orthogonal after

// Makes two draws at a time: uniforms, or normals by Box & Muller 1958.
std::pair<double, double> draw_pair(const Draw& draw_kind, std::uint64_t seed, std::uint32_t which,
                                    std::uint64_t pair) {
  constexpr double kTwoPi = 6.283185307179586476925;
  const auto bits = draw(seed, Stream::initialize, which, pair);
  const double u = to_unit_interval(bits[0]), v = to_unit_interval(bits[1]);
  if (draw_kind.distribution == Distribution::uniform) {
    return {draw_kind.scale * (2.0 * u - 1.0), draw_kind.scale * (2.0 * v - 1.0)};
  }
  const double radius = draw_kind.scale * std::sqrt(-2.0 * std::log(u));
  return {radius * std::cos(kTwoPi * v), radius * std::sin(kTwoPi * v)};
}

// The sum has kLanes parts, whatever the instruction set, so that its bits are always the same.
double dot(const double* a, const double* b, Index n) {
  constexpr Index kLanes = 8;
  double parts[kLanes] = {};
  Index i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (Index lane = 0; lane < kLanes; ++lane) parts[lane] += a[i + lane] * b[i + lane];
  }
  for (; i < n; ++i) parts[0] += a[i] * b[i];
  return ((parts[0] + parts[4]) + (parts[2] + parts[6])) + ((parts[1] + parts[5]) + (parts[3] + parts[7]));
}

// Computes vector -= (vector . other) other, for each of the unit vectors [begin, end) before it.
void project_out(double* vectors, Index v, Index begin, Index end, Index length) {
  double* vector = vectors + v * length;
  for (Index earlier = begin; earlier < end; ++earlier) {
    const double* other = vectors + earlier * length;
    const double along = dot(vector, other, length);
    for (Index i = 0; i < length; ++i) vector[i] -= along * other[i];
  }
}

// Makes `count` vectors (count, length) orthonormal, count <= length: modified Gram-Schmidt, each projection made twice
// ("twice is enough", Giraud, Langou & Rozloznik 2005). A vector keeps its sign relative to the ones before it, so that
// normal draws become uniform over the orthogonal group (Mezzadri 2007, section 4). The vectors of a panel share the reads.
void orthonormalize(double* vectors, Index count, Index length) {
  constexpr Index kPanel = 16;
  for (Index panel = 0; panel < count; panel += kPanel) {
    const Index end = std::min(panel + kPanel, count);
    for (int pass = 0; pass < 2; ++pass) {
      for (Index earlier = 0; earlier < panel; ++earlier) {
        for (Index v = panel; v < end; ++v) project_out(vectors, v, earlier, earlier + 1, length);
      }
    }
    for (Index v = panel; v < end; ++v) {
      for (int pass = 0; pass < 2; ++pass) project_out(vectors, v, panel, v, length);
      double* vector = vectors + v * length;
      const double norm = std::sqrt(dot(vector, vector, length));
      for (Index i = 0; i < length; ++i) vector[i] /= norm;
    }
  }
}

template <class T>
void fill(const Draw& kind, std::uint64_t seed, std::uint32_t which, Index n, T* out) {
  for (Index i = 0; i < n; i += 2) {
    const auto [first, second] = draw_pair(kind, seed, which, static_cast<std::uint64_t>(i / 2));
    out[i] = static_cast<T>(first);
    if (i + 1 < n) out[i + 1] = static_cast<T>(second);
  }
}

}  // namespace

template <class T>
void initialize(const Initializer& initializer, std::uint64_t seed, std::uint32_t which, Index rows, Index cols,
                T* out) {
  const Draw kind = std::visit(
      [&](const auto& of) { return draw_of(of, static_cast<double>(rows), static_cast<double>(cols)); }, initializer);
  const Index n = rows * cols;
  if (kind.distribution == Distribution::constant) {
    for (Index i = 0; i < n; ++i) out[i] = static_cast<T>(kind.scale);
    return;
  }
  const auto* orthogonal = std::get_if<Orthogonal>(&initializer);
  if (orthogonal == nullptr) return fill(kind, seed, which, n, out);
  AlignedBuffer<double> vectors(n);
  fill(kind, seed, which, n, vectors.data());
  const bool wide = rows <= cols;  // the vectors are rows, else columns
  orthonormalize(vectors.data(), std::min(rows, cols), std::max(rows, cols));
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < cols; ++j) {
      out[i * cols + j] = static_cast<T>(orthogonal->value * vectors.data()[wide ? i * cols + j : j * rows + i]);
    }
  }
}

template <class T>
void initialize_scale(ScaleInit init, std::uint64_t seed, std::uint32_t which, const ScaleShape& shape, T* out) {
  const Index numbers = shape.chunks.empty() ? shape.cols : static_cast<Index>(shape.chunks.size());
  const Distribution kind = init == ScaleInit::normal ? Distribution::normal : Distribution::uniform;
  AlignedBuffer<double> drawn(shape.members * numbers);
  fill({kind, 1.0}, seed, which, shape.members * numbers, drawn.data());
  const double* next = drawn.data();
  for (Index row = 0; row < shape.members; ++row) {
    for (Index j = 0; j < numbers; ++j, ++next) {
      const double sign = *next < 0.0 ? -1.0 : 1.0;
      const double value = init == ScaleInit::ones ? 1.0 : init == ScaleInit::normal ? *next : sign;
      const Index width = shape.chunks.empty() ? 1 : shape.chunks[static_cast<std::size_t>(j)];
      out = std::fill_n(out, width, static_cast<T>(value));
    }
  }
}

template void initialize_scale(ScaleInit, std::uint64_t, std::uint32_t, const ScaleShape&, float*);
template void initialize_scale(ScaleInit, std::uint64_t, std::uint32_t, const ScaleShape&, double*);
template void initialize(const Initializer&, std::uint64_t, std::uint32_t, Index, Index, float*);
template void initialize(const Initializer&, std::uint64_t, std::uint32_t, Index, Index, double*);

}  // namespace stoop
