// What an Augment does to each sample: numbers that are a function of (seed, epoch, position) alone, and tables that all
// samples share.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <stoop/augment_settings.hpp>
#include <stoop/losses.hpp>

#include "../base/philox.hpp"

namespace stoop::inline v0_1 {

// The use of a draw within Stream::augment, a part of its counter.
enum class AugmentUse : std::uint32_t { geometry = 0, noise = 1, displaced_down = 2, displaced_across = 3, mix = 4 };

constexpr std::uint32_t augment_stream(AugmentUse use) {
  return static_cast<std::uint32_t>(Stream::augment) | static_cast<std::uint32_t>(use) << 8;
}

// (row, column) of the image for pixel (r, c) of the result, counted from the centre of the image: row = row[0]*r + row[1]*c +
// row[2], column alike.
struct InverseMap {
  double row[3], column[3];
};

InverseMap inverse_of(const Augment& settings, const GeometryDraw& draw);

inline bool displaces(const Augment& settings) { return settings.elastic > 0.0; }
bool moves_pixels(const Augment& settings);

// A number that differs where the settings do; 0 where there are none.
std::uint32_t checksum_of(const Augment* settings);

// Throws ValueError for rows of another length than the image has pixels.
void check_augmented_rows(std::string_view where, const Augment& settings, Index cols);
// Throws ValueError if targets of this loss cannot be mixed, or have weights.
void check_mixed_targets(std::string_view where, LossKind loss, bool has_weights);

// The settings with the tables of the kernels.
template <class T>
struct Augmentation {
  Augmentation(const Augment& settings, std::uint64_t trainer_seed);

  const Augment settings;
  const std::uint64_t seed;
  std::vector<T> grid;     // (2, height * width): row and column of each pixel from the centre; empty: nothing moves
  std::vector<T> weights;  // (2 * reach + 1) of the Gaussian; empty: nothing is displaced
  Index reach = 0;         // no further than the image goes

  bool moves() const { return !grid.empty(); }
  bool mixes() const { return settings.mixup > 0.0; }
  Index pixels() const { return settings.height * settings.width; }
  // An estimate of the work on a row of so many columns, as the size of a matrix product that takes as long.
  double flops(Index cols) const;
};

// The samples of an epoch as an augmentation sees them. A pointer without an object: nothing is changed.
template <class T>
struct AugmentedRows {
  const Augmentation<T>* how = nullptr;
  Index epoch = 0;
  Index samples = 0;         // of the training data, from which partners are drawn
  Index target_columns = 0;  // of mixed targets: of values, or a column for each class
  // With a selection of rows: their numbers (samples), and the positions within it in the order of the epoch (null: as they
  // lie).
  const std::int32_t* selection = nullptr;
  const std::int32_t* positions = nullptr;

  // The number of the sample that is mixed into the one at this position.
  Index partner_of(Index position) const {
    return sample_at(draw_mix(how->settings, place(position), samples).partner);
  }

  explicit operator bool() const { return how != nullptr; }
  bool mixes() const { return how != nullptr && how->mixes(); }
  AugmentPlace place(Index position) const { return {how->seed, epoch, position}; }
  // The number in X of the sample at this position.
  Index sample_at(Index position) const { return selection == nullptr ? position : selection[position]; }
  // The position of the i-th sample of the epoch, which has this number.
  Index position_of(Index i, Index sample) const {
    return selection == nullptr ? sample : positions == nullptr ? i : positions[i];
  }
};

}  // namespace stoop
