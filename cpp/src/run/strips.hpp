// Weights in strips: a layout for predictions of few rows, which read a weight once and do little else.
//
// A strip has kStripColumns columns of a weight, row after row, and the strips follow each other where the weight lay. So a
// thread reads its strips from the beginning to the end, and they fill all sets of its cache evenly; columns of a weight
// whose rows are 1 or 2 KB long would fall on a part of the sets. A strip is narrow, so that a call that begins with the
// strips that were read last finds most of them in the cache.
#pragma once

#include <algorithm>
#include <span>

#include "../base/ranges.hpp"
#include "../plan/plan.hpp"

namespace stoop::inline v0_1 {

template <class T>
constexpr Index kStripColumns = 256 / static_cast<Index>(sizeof(T));

// Where a strip lies in a weight with so many columns.
template <class T>
Range strip_columns(Index strip, Index columns) {
  return {strip * kStripColumns<T>, std::min((strip + 1) * kStripColumns<T>, columns)};
}

// Returns whether the weight of a step is laid out in strips.
inline bool has_strips(const Step& step) {
  return step.kind == StepKind::dense && step.provider == GemmProvider::native;
}

// Calls body(first column, end) for the strips of one share of a step, in this order or the other. A single strip is that of
// share 0, the caller's: nobody then waits for the outputs of a last layer.
template <class T, class Body>
void for_each_strip_of(Index columns, int number, int shares, bool backwards, Body body) {
  const Range mine = share(block_count(columns, kStripColumns<T>), shares - 1 - number, shares);
  for (Index i = mine.begin; i < mine.end; ++i) {
    const Range strip = strip_columns<T>(backwards ? mine.end - 1 - (i - mine.begin) : i, columns);
    body(strip.begin, strip.end);
  }
}

// Copies the parameters of a plan, weights to strips and everything else as it is.
template <class T>
void copy_to_strips(const Plan& plan, std::span<const T> from, T* to) {
  std::copy(from.begin(), from.end(), to);
  for (const Step& step : plan.steps) {
    if (!has_strips(step)) continue;
    const T* const weight = from.data() + step.parameter;
    T* out = to + step.parameter;
    for (Index i = 0; i < block_count(step.out_features, kStripColumns<T>); ++i) {
      const Range strip = strip_columns<T>(i, step.out_features);
      for (Index row = 0; row < step.in_features; ++row) {
        const T* const source = weight + row * step.out_features;
        out = std::copy(source + strip.begin, source + strip.end, out);
      }
    }
  }
}

}  // namespace stoop
