// How many threads a call uses.
#pragma once

#include <algorithm>

#include <stoop/runtime.hpp>

namespace stoop {

// `asked` threads; 0: as many as `flops` of matrix products feed, at most get_num_threads().
inline int threads_for(double flops, int asked = 0) {
  constexpr double kFlopsPerThread = 4e5;  // what a thread does in the time of a few barriers
  if (asked > 0) return asked;
  return static_cast<int>(std::clamp(flops / kFlopsPerThread, 1.0, static_cast<double>(get_num_threads())));
}

}  // namespace stoop
