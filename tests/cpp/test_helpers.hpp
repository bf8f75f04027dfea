// What several tests share: repeatable numbers, textbook formulas in a wider type, distances in ulps.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

#include <stoop/layers.hpp>
#include <stoop/trainer.hpp>

#include "cpu/select.hpp"

namespace stoop {

// Wide enough that a reference computed in it counts as exact.
template <class T>
using Wide = std::conditional_t<sizeof(T) == 4, double, long double>;

template <class T>
inline constexpr double kEpsilon = static_cast<double>(std::numeric_limits<T>::epsilon());
template <class T>
inline constexpr T kNaN = std::numeric_limits<T>::quiet_NaN();
template <class T>
inline constexpr T kInfinity = std::numeric_limits<T>::infinity();

inline constexpr ActivationKind kActivations[] = {kind_of<Identity>(), kind_of<ReLU>(), kind_of<LeakyReLU>(),
                                                  kind_of<Tanh>(), kind_of<Sigmoid>()};

// The kernels under test: those of STOOP_ISA, or the best of this machine.
template <class T>
const OpTable<T>& table_under_test() {
  return op_table<T>(select_isa());
}

// `count` numbers, uniform in [-scale, scale), the same on every platform.
template <class T>
std::vector<T> numbers(Index count, std::uint32_t seed, double scale = 1.0) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<T>((static_cast<double>(seed >> 8) / (1 << 23) - 1.0) * scale);
  }
  return values;
}

// Equal to the last bit, signs of zero and NaN payloads included.
template <class T>
bool same_bits(std::span<const T> a, std::span<const T> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

// |got - want| in units in the last place of `want`.
template <class T>
double ulp_error(T got, Wide<T> want) {
  if (std::isnan(got) || std::isnan(want)) return std::isnan(got) && std::isnan(want) ? 0.0 : HUGE_VAL;
  if (static_cast<Wide<T>>(got) == want) return 0.0;
  constexpr int kDigits = std::numeric_limits<T>::digits, kLowest = std::numeric_limits<T>::min_exponent;
  const int exponent = want == 0 ? kLowest - 1 : std::max(std::ilogb(want), kLowest - 1);
  return static_cast<double>(std::abs(static_cast<Wide<T>>(got) - want) /
                             std::ldexp(Wide<T>(1), exponent - kDigits + 1));
}

template <class W>
W activate(ActivationKind kind, W x, W parameter) {
  if (kind == kind_of<ReLU>()) return x <= 0 ? W(0) : x;
  if (kind == kind_of<LeakyReLU>()) return x < 0 ? parameter * x : x;
  if (kind == kind_of<Tanh>()) return std::tanh(x);
  if (kind == kind_of<Sigmoid>()) return 1 / (1 + std::exp(-x));
  return x;
}

// f'(x), given y = f(x).
template <class W>
W derivative(ActivationKind kind, W y, W parameter) {
  if (kind == kind_of<ReLU>()) return y > 0 ? W(1) : W(0);
  if (kind == kind_of<LeakyReLU>()) return y > 0 ? W(1) : parameter;
  if (kind == kind_of<Tanh>()) return 1 - y * y;
  if (kind == kind_of<Sigmoid>()) return y * (1 - y);
  return 1;
}

// Samples with targets of both kinds. The classes can be learnt: class c is drawn around a corner of its own.
template <class T>
struct Samples {
  Index rows, inputs, outputs;
  std::vector<T> features, values;
  std::vector<std::int32_t> classes;

  Samples(Index n, Index in, Index out, std::uint32_t seed = 1)
      : rows(n), inputs(in), outputs(out), features(numbers<T>(n * in, seed)), values(numbers<T>(n * out, seed + 1)) {
    for (Index i = 0; i < n; ++i) {
      const Index label = i % out;
      classes.push_back(static_cast<std::int32_t>(label));
      features[static_cast<std::size_t>(i * in + label % in)] += T(2);
    }
  }

  MatrixView<const T> x() const { return matrix(features.data(), rows, inputs); }
  Targets<T> y(const Loss& loss) const {
    if (takes_classes(kind_of(loss))) return Targets<T>(classes);
    return Targets<T>(matrix(values.data(), rows, outputs));
  }
};

template <class T>
std::vector<T> parameters_of(const Model<T>& model) {
  const std::span<const T> block = model.parameter_block();
  return {block.begin(), block.end()};
}

template <class T>
std::vector<T> predictions_of(const Model<T>& model, MatrixView<const T> x) {
  std::vector<T> out(static_cast<std::size_t>(x.rows * model.output_dim()));
  model.predict(x, matrix(out.data(), x.rows, model.output_dim()));
  return out;
}

}  // namespace stoop
