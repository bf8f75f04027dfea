// The order of the samples in an epoch.
#pragma once

#include <cstdint>
#include <span>

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// Makes the uniformly random permutation of 0 .. n-1 (Fisher & Yates, Durstenfeld 1964) of this epoch and seed.
void shuffle(std::uint64_t seed, Index epoch, std::span<std::int32_t> order);

}  // namespace stoop
