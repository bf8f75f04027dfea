#include "augmentation.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>

#include <stoop/error.hpp>

#include "../base/crc32.hpp"
#include "../spec/losses.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr double kDegree = std::numbers::pi / 180.0;
constexpr double kMostSigma = 1000.0;  // pixels

// Returns two draws of 64 bits.
std::array<std::uint64_t, 2> bits_of(const AugmentPlace& place, AugmentUse use, std::uint32_t block) {
  const auto words = philox(place.seed, {block, static_cast<std::uint32_t>(place.position),
                                         static_cast<std::uint32_t>(place.epoch), augment_stream(use)});
  return {words[0] | std::uint64_t{words[1]} << 32, words[2] | std::uint64_t{words[3]} << 32};
}

double uniform(std::uint64_t bits, double low, double high) { return low + (high - low) * to_unit_interval(bits); }

double shift_of(std::uint64_t bits, double most, bool whole) {
  if (!whole) return uniform(bits, -most, most);
  return static_cast<double>(to_bounded(bits, 2 * static_cast<std::uint64_t>(most) + 1)) - most;
}

// Returns the logarithm of a draw from Gamma(shape, 1): Marsaglia & Tsang 2000, with a counter in place of a state. Of the
// first 64 tries the last is taken whatever it is, which changes nothing: each fails with a probability below 0.05. For shapes
// below 1 it is the draw for shape + 1 times u^(1/shape), whose logarithm does not underflow.
double log_gamma_draw(const AugmentPlace& place, std::uint32_t which, double shape) {
  constexpr std::uint32_t kTries = 64;
  const double d = (shape < 1.0 ? shape + 1.0 : shape) - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
  const std::uint32_t first = 1 + which * 2 * (kTries + 1);
  double boost = 0.0, log_v = 0.0;
  if (shape < 1.0) boost = std::log(to_unit_interval(bits_of(place, AugmentUse::mix, first)[0])) / shape;
  for (std::uint32_t i = 1; i <= kTries; ++i) {
    const auto normal = bits_of(place, AugmentUse::mix, first + 2 * i),
               other = bits_of(place, AugmentUse::mix, first + 2 * i + 1);
    const double x = std::sqrt(-2.0 * std::log(to_unit_interval(normal[0]))) *
                     std::cos(2.0 * std::numbers::pi * to_unit_interval(normal[1]));
    if (1.0 + c * x <= 0.0) continue;
    log_v = 3.0 * std::log(1.0 + c * x);
    if (std::log(to_unit_interval(other[0])) < 0.5 * x * x + d - d * std::exp(log_v) + d * log_v) break;
  }
  return std::log(d) + log_v + boost;
}

void refuse(std::string_view where, const std::string& given, const char* expected, const char* hint) {
  throw_value_error(where, given, expected, hint);
}

void check_range(std::string_view where, const char* name, double value, double most, const char* hint) {
  if (value >= 0.0 && value <= most) return;  // not NaN
  refuse(where, std::string(name) + "=" + number_text(value),
         ("expected a number from 0 to " + number_text(most)).c_str(), hint);
}

std::string shape_of(const Augment& of) {
  return "(" + std::to_string(of.height) + ", " + std::to_string(of.width) +
         (of.channels == 1 ? std::string() : ", " + std::to_string(of.channels)) + ")";
}

void check_image(std::string_view where, const Augment& of) {
  constexpr Index kMost = Index{1} << 30;  // elements, so that kernels count them in 32 bits
  const bool is_image = of.height >= 1 && of.width >= 1 && of.channels >= 1 && of.height <= kMost / of.width &&
                        of.height * of.width <= kMost / of.channels;
  if (!is_image) {
    refuse(where, "image_shape is " + (of.height == 0 ? std::string("missing") : shape_of(of)),
           "expected height, width and channels of at least 1", "(28, 28) for example, or (32, 32, 3)");
  }
  const auto [height, width] = of.crop;
  if (height == 0 && width == 0) return;
  if (height < 1 || width < 1 || height > of.height || width > of.width) {
    refuse(where, "crop is (" + std::to_string(height) + ", " + std::to_string(width) + ")",
           "expected a window of at least one pixel within the image", "(24, 24) for images of (28, 28), for example");
  }
}

}  // namespace

GeometryDraw draw_geometry(const Augment& of, const AugmentPlace& place) {
  const auto draw = [&](std::uint32_t block) { return bits_of(place, AugmentUse::geometry, block); };
  const auto [flips, rotation] = draw(0);
  const auto [down, across] = draw(1);
  const auto [zoom, shear] = draw(2);
  const auto [top, left] = draw(3);
  GeometryDraw out;
  out.flip_across = of.flip_across && (flips & 1) != 0;
  out.flip_down = of.flip_down && (flips & 2) != 0;
  out.down = shift_of(down, of.shift[0], of.whole_pixels);
  out.across = shift_of(across, of.shift[1], of.whole_pixels);
  out.angle = uniform(rotation, -of.rotate, of.rotate) * kDegree;
  out.zoom = uniform(zoom, of.zoom[0], of.zoom[1]);
  out.shear = uniform(shear, -of.shear, of.shear) * kDegree;
  if (of.crop[0] > 0) {
    out.top = static_cast<Index>(to_bounded(top, static_cast<std::uint64_t>(of.height - of.crop[0] + 1)));
    out.left = static_cast<Index>(to_bounded(left, static_cast<std::uint64_t>(of.width - of.crop[1] + 1)));
  }
  return out;
}

// Beta(a, a) is the share of one of two draws from Gamma(a, 1).
MixDraw draw_mix(const Augment& of, const AugmentPlace& place, Index samples) {
  const auto partner = bits_of(place, AugmentUse::mix, 0);
  const double one = log_gamma_draw(place, 0, of.mixup), other = log_gamma_draw(place, 1, of.mixup);
  return {1.0 / (1.0 + std::exp(other - one)),
          static_cast<Index>(to_bounded(partner[0], static_cast<std::uint64_t>(samples)))};
}

// From the result back to the image: the shift, the rotation, the shear, the zoom, the flip and the window.
InverseMap inverse_of(const Augment& of, const GeometryDraw& draw) {
  const bool crops = of.crop[0] > 0;
  const double height = static_cast<double>(of.height), width = static_cast<double>(of.width);
  const double window_height = crops ? static_cast<double>(of.crop[0]) : height;
  const double window_width = crops ? static_cast<double>(of.crop[1]) : width;
  const double down = (draw.flip_down ? -1.0 : 1.0) * (window_height / height) / draw.zoom;
  const double across = (draw.flip_across ? -1.0 : 1.0) * (window_width / width) / draw.zoom;
  const double cosine = std::cos(draw.angle), sine = std::sin(draw.angle), slant = std::tan(draw.shear);
  InverseMap map{{down * cosine, down * sine, 0.0},
                 {across * (-sine - slant * cosine), across * (cosine - slant * sine), 0.0}};
  map.row[2] =
      static_cast<double>(draw.top) + 0.5 * (window_height - 1.0) - map.row[0] * draw.down - map.row[1] * draw.across;
  map.column[2] = static_cast<double>(draw.left) + 0.5 * (window_width - 1.0) - map.column[0] * draw.down -
                  map.column[1] * draw.across;
  return map;
}

bool moves_pixels(const Augment& of) {
  return of.flip_across || of.flip_down || of.shift[0] > 0.0 || of.shift[1] > 0.0 || of.rotate > 0.0 ||
         of.zoom[0] != 1.0 || of.zoom[1] != 1.0 || of.shear > 0.0 || of.crop[0] > 0 || displaces(of);
}

std::uint32_t checksum_of(const Augment* settings) {
  if (settings == nullptr) return 0;
  const Augment& of = *settings;
  Crc32 sum;
  const auto add = [&sum](auto number) { sum.add(&number, sizeof number); };
  for (const Index number : {of.height, of.width, of.channels, of.crop[0], of.crop[1]}) add(number);
  for (const bool flag : {of.flip_across, of.flip_down, of.whole_pixels, of.seed.has_value(), of.fill.has_value()})
    add(flag);
  for (const double number : {of.shift[0], of.shift[1], of.rotate, of.zoom[0], of.zoom[1], of.shear, of.elastic,
                              of.elastic_sigma, of.noise, of.mixup, of.fill.value_or(0.0)}) {
    add(number);
  }
  add(of.seed.value_or(0));
  return std::max(sum.value(), 1u);
}

void check_augment(std::string_view where, const Augment& of) {
  constexpr double kMost = 1e30;  // keeps all products within float32
  check_range(where, "shift", of.shift[0], 1e6, "give the most pixels, 2 for example");
  check_range(where, "shift", of.shift[1], 1e6, "give the most pixels, 2 for example");
  check_range(where, "rotate", of.rotate, 360.0, "give the most degrees, 10 for example");
  check_range(where, "shear", of.shear, 89.0, "give the most degrees, 5 for example");
  check_range(where, "elastic alpha", of.elastic, kMost, "34 with a sigma of 4 is usual for 28 x 28");
  check_range(where, "noise", of.noise, kMost, "give the standard deviation, in units of X");
  check_range(where, "mixup", of.mixup, 1e6, "0.2 is usual");
  if (!(of.zoom[0] >= 1e-3 && of.zoom[0] <= of.zoom[1] && of.zoom[1] <= 1e3)) {
    refuse(where, "zoom is (" + number_text(of.zoom[0]) + ", " + number_text(of.zoom[1]) + ")",
           "expected 0.001 <= low <= high <= 1000", "(0.9, 1.1) enlarges and shrinks by a tenth");
  }
  if (displaces(of) && !(of.elastic_sigma > 0.0 && of.elastic_sigma <= kMostSigma)) {
    refuse(where, "elastic sigma=" + number_text(of.elastic_sigma), "expected 0 < sigma <= 1000 pixels",
           "4 is usual for 28 x 28");
  }
  if (of.fill && !std::isfinite(*of.fill)) {
    refuse(where, "fill=" + number_text(*of.fill), "expected a finite number", "leave it out for the nearest pixel");
  }
  if (moves_pixels(of) || of.crop[0] != 0 || of.crop[1] != 0) check_image(where, of);
  if (moves_pixels(of) || of.noise > 0.0 || of.mixup > 0.0) return;
  refuse(where, "an augmentation that changes nothing", "expected at least one kind of change", "shift=2, for example");
}

void check_augmented_rows(std::string_view where, const Augment& of, Index cols) {
  if (!moves_pixels(of) || of.height * of.width * of.channels == cols) return;
  throw_value_error(where, "image_shape is " + shape_of(of) + " and X has " + std::to_string(cols) + " columns",
                    "expected as many columns as the image has pixels, times its channels",
                    "give the shape of the images in X, channels last");
}

void check_mixed_targets(std::string_view where, LossKind loss, bool has_weights) {
  if (targets_of(loss) == TargetValues::labels) {
    throw_value_error(where, "mixup with " + std::string(name_of(loss)),
                      "expected a loss that takes values between two labels, since targets are mixed",
                      "use binary_cross_entropy, or leave mixup out");
  }
  if (!has_weights) return;
  throw_value_error(where, "mixup with weights of samples or classes",
                    "expected none, since a mixed sample has parts of two", "leave out the weights or mixup");
}

template <class T>
Augmentation<T>::Augmentation(const Augment& given, std::uint64_t trainer_seed)
    : settings(given), seed(given.seed.value_or(trainer_seed)) {
  if (moves_pixels(settings)) {
    grid.resize(static_cast<std::size_t>(2 * pixels()));
    for (Index i = 0; i < pixels(); ++i) {
      const auto place = static_cast<std::size_t>(i), all = static_cast<std::size_t>(pixels());
      grid[place] =
          static_cast<T>(static_cast<double>(i / settings.width) - 0.5 * static_cast<double>(settings.height - 1));
      grid[all + place] =
          static_cast<T>(static_cast<double>(i % settings.width) - 0.5 * static_cast<double>(settings.width - 1));
    }
  }
  if (!displaces(settings)) return;
  const Index radius = static_cast<Index>(4.0 * settings.elastic_sigma + 0.5);
  reach = std::min(radius, std::max(settings.height, settings.width) - 1);
  const auto weight = [&](Index i) {
    return std::exp(-0.5 * std::pow(static_cast<double>(i) / settings.elastic_sigma, 2.0));
  };
  double sum = 0.0;
  for (Index i = -radius; i <= radius; ++i) sum += weight(i);
  for (Index i = -reach; i <= reach; ++i) weights.push_back(static_cast<T>(weight(i) / sum));
}

template <class T>
double Augmentation<T>::flops(Index cols) const {
  constexpr double kCopied = 10.0, kMoved = 150.0, kNoise = 60.0;
  const double taps = 4.0 * 2.0 * static_cast<double>(weights.size());
  const double of_element = kCopied + (moves() ? kMoved : 0.0) + (settings.noise > 0.0 ? kNoise : 0.0) + taps;
  return of_element * static_cast<double>(cols) * (mixes() ? 2.0 : 1.0);
}

template struct Augmentation<float>;
template struct Augmentation<double>;

}  // namespace stoop
