// Draws the first values of parameters and permutations; every number is a function of the seed and its position.
#pragma once

#include <cstdint>
#include <span>

#include <stoop/layers.hpp>
#include <stoop/types.hpp>

namespace stoop {

// Fills a (rows, cols) parameter. `which` tells the parameters of a model apart.
template <class T>
void initialize(const Initializer& initializer, std::uint64_t seed, std::uint32_t which, Index rows, Index cols,
                T* out);

// A uniformly random permutation of 0 .. n-1 (Fisher & Yates, Durstenfeld 1964) for this epoch.
void shuffle(std::uint64_t seed, Index epoch, std::span<std::int32_t> order);

}  // namespace stoop
