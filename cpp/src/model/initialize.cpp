// Drawn in double and rounded once, so that float32 and float64 models with one seed start from the same numbers.

#include "initialize.hpp"

#include <cmath>
#include <numeric>
#include <utility>

#include "../random/philox.hpp"

namespace stoop {
namespace {

enum class Distribution { constant, uniform, normal };

struct Draw {
  Distribution distribution;
  double scale;  // the constant, the limit of the uniform, the standard deviation of the normal
};

Draw uniform_of_variance(double variance) { return {Distribution::uniform, std::sqrt(3.0 * variance)}; }
Draw normal_of_variance(double variance) { return {Distribution::normal, std::sqrt(variance)}; }

Draw draw_of(const Initializer& initializer, double fan_in, double fan_out) {
  switch (initializer.kind) {
    case InitializerKind::zeros:
      return {Distribution::constant, 0.0};
    case InitializerKind::ones:
      return {Distribution::constant, 1.0};
    case InitializerKind::constant:
      return {Distribution::constant, initializer.value};
    case InitializerKind::normal:
      return {Distribution::normal, initializer.value};
    case InitializerKind::uniform:
      return {Distribution::uniform, initializer.value};
    case InitializerKind::glorot_uniform:
      return uniform_of_variance(2.0 / (fan_in + fan_out));
    case InitializerKind::glorot_normal:
      return normal_of_variance(2.0 / (fan_in + fan_out));
    case InitializerKind::he_uniform:
      return uniform_of_variance(2.0 / fan_in);
    case InitializerKind::he_normal:
      return normal_of_variance(2.0 / fan_in);
    case InitializerKind::lecun_uniform:
      return uniform_of_variance(1.0 / fan_in);
    case InitializerKind::lecun_normal:
      return normal_of_variance(1.0 / fan_in);
  }
  return {Distribution::constant, 0.0};
}

// Two draws at a time: uniforms, or normals by Box & Muller 1958.
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

}  // namespace

template <class T>
void initialize(const Initializer& initializer, std::uint64_t seed, std::uint32_t which, Index rows, Index cols,
                T* out) {
  const Draw kind = draw_of(initializer, static_cast<double>(rows), static_cast<double>(cols));
  const Index n = rows * cols;
  if (kind.distribution == Distribution::constant) {
    for (Index i = 0; i < n; ++i) out[i] = static_cast<T>(kind.scale);
    return;
  }
  for (Index i = 0; i < n; i += 2) {
    const auto [first, second] = draw_pair(kind, seed, which, static_cast<std::uint64_t>(i / 2));
    out[i] = static_cast<T>(first);
    if (i + 1 < n) out[i + 1] = static_cast<T>(second);
  }
}

template void initialize(const Initializer&, std::uint64_t, std::uint32_t, Index, Index, float*);
template void initialize(const Initializer&, std::uint64_t, std::uint32_t, Index, Index, double*);

void shuffle(std::uint64_t seed, Index epoch, std::span<std::int32_t> order) {
  std::iota(order.begin(), order.end(), 0);
  if (order.size() < 2) return;
  const auto swap_below = [&](std::size_t i, std::uint64_t bits) {
    std::swap(order[i], order[to_bounded(bits, i + 1)]);
  };
  std::size_t i = order.size() - 1;
  if (i % 2 == 0) swap_below(i, draw(seed, Stream::shuffle, static_cast<std::uint32_t>(epoch), i / 2)[0]), --i;
  for (; i >= 1; i -= 2) {
    const auto bits = draw(seed, Stream::shuffle, static_cast<std::uint32_t>(epoch), i / 2);
    swap_below(i, bits[1]);
    if (i > 1) swap_below(i - 1, bits[0]);
    if (i == 1) break;
  }
}

}  // namespace stoop
