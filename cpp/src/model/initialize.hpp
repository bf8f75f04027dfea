// Draws the first values of parameters. Every number is a function of the seed and its position.
#pragma once

#include <cstdint>
#include <span>

#include <stoop/layers.hpp>
#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// Fills a (rows, cols) parameter. `which` is the number of the parameter in the model.
template <class T>
void initialize(const Initializer& initializer, std::uint64_t seed, std::uint32_t which, Index rows, Index cols,
                T* out);

// A scale (members, cols). Neighbouring columns of a chunk start with the same number; without chunks each has its own.
struct ScaleShape {
  Index members, cols;
  std::span<const Index> chunks;
};
template <class T>
void initialize_scale(ScaleInit init, std::uint64_t seed, std::uint32_t which, const ScaleShape& shape, T* out);

}  // namespace stoop
