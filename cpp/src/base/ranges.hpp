// Positions, blocks and ranges of them.
#pragma once

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

inline constexpr int kNone = -1;  // no position

constexpr Index block_count(Index extent, Index block) { return (extent + block - 1) / block; }

struct Range {
  Index begin, end;
};

// Returns the part of `blocks` that belongs to a share.
constexpr Range share(Index blocks, int number, int shares) {
  return {blocks * number / shares, blocks * (number + 1) / shares};
}

}  // namespace stoop
