// Decides how many threads a call uses.
#pragma once

#include <algorithm>

#include <stoop/runtime.hpp>

namespace stoop::inline v0_1 {

// Returns `asked` threads. If it is 0, returns as many as pay off for `flops` of matrix products, at most `most`, or
// get_num_threads() if that is 0.
inline int threads_for(double flops, int asked = 0, int most = 0) {
  constexpr double kFlopsPerThread = 4e5;  // the work of a thread in the time of a few barriers
  if (asked > 0) return asked;
  return static_cast<int>(
      std::clamp(flops / kFlopsPerThread, 1.0, static_cast<double>(most > 0 ? most : get_num_threads())));
}

}  // namespace stoop
