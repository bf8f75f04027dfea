// The settings of an augmentation, as plain data, and the numbers that it draws.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include <stoop/api.hpp>
#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// Each row of X is an image of (height, width, channels), channels last. What moves its pixels is one map from a pixel of the
// result to a place in the image, about its centre, where the image is sampled once, linearly between four pixels. Pixels
// are, one after the other: cropped, flipped, zoomed, sheared, rotated and shifted; elastic displacements are added to the
// place. Then come noise and mixup, which need no image. A draw is a function of the seed, the epoch and the position of the
// sample in the training data, and of nothing else.
struct Augment {
  Index height = 28, width = 28, channels = 1;  // they count only where pixels are moved
  bool flip_across = false;                     // left and right change places, with probability 1/2
  bool flip_down = false;                       // top and bottom
  std::array<double, 2> shift{0.0, 0.0};        // pixels down and across, uniform in +-, >= 0
  bool whole_pixels = false;                    // shifts are whole numbers of pixels
  double rotate = 0.0;                          // degrees, uniform in +-, >= 0
  std::array<double, 2> zoom{1.0, 1.0};         // the factor is uniform between these, > 0; more than 1 enlarges
  double shear = 0.0;                           // degrees, uniform in +-, >= 0 and below 90
  std::array<Index, 2> crop{0, 0};              // a random window of this height and width fills the image; 0: no crop
  // Simard, Steinkraus & Platt 2003: displacements, uniform in [-1, 1), are smoothed by a Gaussian of this deviation in pixels,
  // whose weights have the sum 1, cut at four deviations, zero beyond the image, and multiplied by this number.
  double elastic = 0.0, elastic_sigma = 4.0;
  double noise = 0.0;  // the deviation of Gaussian noise, in units of X, >= 0
  // Zhang et al. 2018: x = share*x + (1-share)*x', targets alike, with the share from Beta(mixup, mixup) and x' any sample of
  // the training data, augmented as it is in this epoch; 0: nothing is mixed.
  double mixup = 0.0;
  std::optional<std::uint64_t> seed{};  // none: that of the trainer
  std::optional<double> fill{};         // the value beyond the image; none: the nearest pixel of its edge
};

// Throws ValueError for settings outside their range.
STOOP_API void check_augment(std::string_view where, const Augment& settings);

// Where a draw is made. `position` counts the samples of the training data as they are given, or were selected.
struct AugmentPlace {
  std::uint64_t seed = 0;
  Index epoch = 0;
  Index position = 0;
};

// How the pixels of a sample move.
struct GeometryDraw {
  bool flip_across = false, flip_down = false;
  double down = 0.0, across = 0.0;  // pixels
  double angle = 0.0;               // radians, counter-clockwise as one sees it
  double shear = 0.0;               // radians
  double zoom = 1.0;
  Index top = 0, left = 0;  // of the window
};

struct MixDraw {
  double share = 1.0;
  Index partner = 0;  // its position
};

STOOP_API GeometryDraw draw_geometry(const Augment& settings, const AugmentPlace& place);
// The partner is one of `samples`.
STOOP_API MixDraw draw_mix(const Augment& settings, const AugmentPlace& place, Index samples);

}  // namespace stoop
