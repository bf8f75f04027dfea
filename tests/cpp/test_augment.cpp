// The kernels of augmentation on STOOP_ISA, against the same written out element by element in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include <stoop/augment.hpp>

#include "base/philox.hpp"
#include "data/augmentation.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

constexpr SampleStream kStream{0x123456789ABCDEFull, 17, 3, augment_stream(AugmentUse::noise)};

template <class T>
class Augments : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Augments, ElementTypes);

std::uint32_t word_of(Index i, Index word) {
  const auto counter = static_cast<std::uint32_t>(i / 64 * 16 + i % 16);
  return philox(kStream.seed,
                {counter, kStream.position, kStream.epoch, kStream.stream})[static_cast<std::size_t>(word)];
}

// The value at a place, in an image with a border, after the place was moved into it.
template <class T>
double value_at(const std::vector<T>& image, Index rows, Index cols, Index channels, double row, double column,
                Index channel) {
  row = std::clamp(row, 0.0, static_cast<double>(rows + 1));
  column = std::clamp(column, 0.0, static_cast<double>(cols + 1));
  const Index r = std::min(static_cast<Index>(row), rows), c = std::min(static_cast<Index>(column), cols);
  const double down = row - static_cast<double>(r), across = column - static_cast<double>(c);
  const auto pixel = [&](Index i, Index j) {
    return static_cast<double>(image[static_cast<std::size_t>((i * (cols + 2) + j) * channels + channel)]);
  };
  return (1 - down) * ((1 - across) * pixel(r, c) + across * pixel(r, c + 1)) +
         down * ((1 - across) * pixel(r + 1, c) + across * pixel(r + 1, c + 1));
}

TYPED_TEST(Augments, WarpSamplesBetweenFourPixels) {
  using T = TypeParam;
  const OpTable<T>& table = table_under_test<T>();
  for (const auto& [rows, cols, channels] : {std::array<Index, 3>{28, 28, 1}, {5, 7, 3}, {1, 1, 1}, {3, 40, 2}}) {
    const Index n = rows * cols;
    const std::vector<T> image = numbers<T>((rows + 2) * (cols + 2) * channels, 1);
    const std::vector<T> grid = numbers<T>(2 * n, 2), field = numbers<T>(2 * n, 3);
    std::vector<T> out(static_cast<std::size_t>(n * channels) + 1, T(9));
    // Some places lie far outside, and one is no number.
    WarpArgs<T> args{rows, cols, channels, image.data(), grid.data(), {3, -2, 1.5, 4, 9, 2}, field.data(), out.data()};
    table.warp(args);
    for (Index i = 0; i < n; ++i) {
      const auto at = [&](int first, Index offset) {
        const auto place = static_cast<std::size_t>(i);
        return static_cast<double>(args.map[first] * grid[place] +
                                   args.map[first + 1] * grid[static_cast<std::size_t>(n) + place] +
                                   args.map[first + 2] + field[static_cast<std::size_t>(offset) + place]);
      };
      for (Index k = 0; k < channels; ++k) {
        EXPECT_NEAR(static_cast<double>(out[static_cast<std::size_t>(i * channels + k)]),
                    value_at(image, rows, cols, channels, at(0, 0), at(3, n), k),
                    200 * std::numeric_limits<T>::epsilon());
      }
    }
    EXPECT_EQ(out.back(), T(9));
  }
}

TYPED_TEST(Augments, PlacesThatAreNoNumbersOrFarAwayReadTheBorder) {
  using T = TypeParam;
  const std::vector<T> image = numbers<T>(6 * 6, 1), grid(32, T(0));
  std::vector<T> out(16);
  for (const double place : {std::nan(""), -1e30, 1e30, 3e9, -HUGE_VAL, HUGE_VAL}) {
    const T at = static_cast<T>(place);
    table_under_test<T>().warp({4, 4, 1, image.data(), grid.data(), {0, 0, at, 0, 0, at}, nullptr, out.data()});
    const T expected = place > 0.0 ? image.back() : image.front();
    for (const T value : out) EXPECT_EQ(value, expected) << place;
  }
}

TYPED_TEST(Augments, DisplacementsAreSmoothedUniformNumbers) {
  using T = TypeParam;
  for (const auto& shape : {std::array<Index, 3>{11, 23, 4}, {1, 9, 3}, {9, 1, 8}, {20, 17, 19}}) {
    const Index rows = shape[0], cols = shape[1], reach = shape[2];
    const std::vector<T> weights = numbers<T>(2 * reach + 1, 4);
    std::vector<T> scratch(static_cast<std::size_t>(displacement_scratch(rows, cols, reach)), T(5));
    std::vector<T> out(static_cast<std::size_t>(rows * cols));
    table_under_test<T>().displacement({rows, cols, reach, weights.data(), T(3), kStream, scratch.data(), out.data()});
    const auto weight = [&](Index i) { return static_cast<double>(weights[static_cast<std::size_t>(i + reach)]); };
    for (Index r = 0; r < rows; ++r) {
      for (Index c = 0; c < cols; ++c) {
        double sum = 0.0, size = 0.0;
        for (Index i = std::max<Index>(0, r - reach); i <= std::min(rows - 1, r + reach); ++i) {
          for (Index j = std::max<Index>(0, c - reach); j <= std::min(cols - 1, c + reach); ++j) {
            const Index at = i * cols + j;
            const auto drawn =
                static_cast<double>(static_cast<std::int32_t>(word_of(at, at % 64 / 16) ^ 0x80000000u)) * 0x1p-31;
            const double term = weight(i - r) * weight(j - c) * drawn;
            sum += term, size += std::abs(term);
          }
        }
        EXPECT_NEAR(static_cast<double>(out[static_cast<std::size_t>(r * cols + c)]), 3.0 * sum,
                    3.0 * size * std::max(1e-7, 40.0 * std::numeric_limits<T>::epsilon()));
      }
    }
  }
}

TYPED_TEST(Augments, NoiseIsThatOfBoxAndMuller) {
  using T = TypeParam;
  for (const Index n : {1, 16, 64, 200, 785}) {
    std::vector<T> values(static_cast<std::size_t>(n) + 1, T(7));
    table_under_test<T>().add_noise({n, values.data(), T(0.5), kStream});
    for (Index i = 0; i < n; ++i) {
      const Index word = i % 64 / 16;
      const double u = (static_cast<double>(word_of(i, word / 2 * 2) >> 9) + 0.5) * 0x1p-23;
      const double turn = 2.0 * std::numbers::pi * static_cast<double>(word_of(i, word / 2 * 2 + 1) >> 9) * 0x1p-23;
      const double normal = std::sqrt(-2.0 * std::log(u)) * (word % 2 == 0 ? std::cos(turn) : std::sin(turn));
      EXPECT_NEAR(static_cast<double>(values[static_cast<std::size_t>(i)]), 7.0 + 0.5 * normal, 2e-6) << i;
    }
    EXPECT_EQ(values.back(), T(7));
  }
}

TEST(Augment, RefusesWhatIsOutsideItsRange) {
  const std::vector<float> x = numbers<float>(2 * 784, 1);
  std::vector<float> out(x.size());
  const auto run = [&](const Augment& settings, Index epoch = 0) {
    augment<float>(settings, matrix(x.data(), 2, 784), matrix(out.data(), 2, 784), epoch);
  };
  run({.shift = {2.0, 2.0}});
  EXPECT_THROW(run({}), ValueError);
  EXPECT_THROW(run({.rotate = 10.0}, -1), ValueError);
  EXPECT_THROW(run({.height = 27, .rotate = 10.0}), ValueError);
  EXPECT_THROW(run({.height = Index{1} << 40, .width = Index{1} << 40, .rotate = 10.0}), ValueError);
  EXPECT_THROW(run({.shift = {std::nan(""), 0.0}}), ValueError);
  EXPECT_THROW(run({.crop = {0, 5}}), ValueError);
  EXPECT_THROW(run({.mixup = HUGE_VAL}), ValueError);
}

}  // namespace
}  // namespace stoop
