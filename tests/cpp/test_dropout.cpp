// Dropout on STOOP_ISA: the mask is the one that Philox gives, element by element, whatever slice is asked for.
#include <gtest/gtest.h>

#include "base/philox.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

constexpr std::uint64_t kSeed = 0x123456789ABCDEFull;
constexpr std::uint32_t kLayer = 3;
constexpr std::uint64_t kStep = 41;
constexpr double kRate = 0.3;

// Word (column % 64) / 16 at the counter {column/64*16 + column%16, row, step, layer and use}.
bool is_kept(Index row, Index column) {
  const auto word = [](Index value) { return static_cast<std::uint32_t>(value); };
  const auto words = philox(kSeed, {word(column / 64 * 16 + column % 16), word(row), word(kStep),
                                    kLayer << 8 | static_cast<std::uint32_t>(Stream::dropout)});
  const std::uint32_t drawn = words[static_cast<std::size_t>(column % 64 / 16)];
  return drawn < static_cast<std::uint32_t>((1.0 - kRate) * 4294967296.0);
}

template <class T>
class Dropouts : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Dropouts, ElementTypes);

TYPED_TEST(Dropouts, MaskIsThatOfPhiloxForAnySliceAndForwardIsBackward) {
  using T = TypeParam;
  constexpr Index kRows = 11, kCols = 203, kMaskBytes = 64;
  const OpTable<T>& table = table_under_test<T>();
  const std::vector<T> x = numbers<T>(kRows * kCols, 1);
  for (const Index split : {Index{0}, Index{8}, Index{64}, Index{136}}) {
    std::vector<T> y(x.size()), grad = x;
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(kRows * kMaskBytes), 0xA5), alone = mask;
    const auto run = [&](Index first, Index last) {
      DropoutArgs<T> args{};
      args.rows = kRows;
      args.cols = last - first;
      args.input = x.data() + first;
      args.ld_input = args.ld_output = kCols;
      args.output = y.data() + first;
      args.mask = mask.data();
      args.ld_mask = kMaskBytes;
      args.row = 7;
      args.column = first;
      args.seed = kSeed;
      args.stream = static_cast<std::uint32_t>(Stream::dropout);
      args.layer = kLayer;
      args.step = kStep;
      args.rate = kRate;
      if (args.cols == 0) return;
      table.dropout_forward(args);
      args.output = grad.data() + first;
      table.dropout_backward(args);
      args.mask = alone.data();
      table.dropout_mask(args);
    };
    run(0, split);
    run(split, kCols);
    EXPECT_EQ(mask, alone);
    for (Index i = 0; i < kRows; ++i) EXPECT_EQ(mask[static_cast<std::size_t>(i * kMaskBytes + (kCols + 7) / 8)], 0xA5);
    const T scale = static_cast<T>(1.0 / (1.0 - kRate));
    for (Index i = 0; i < kRows; ++i) {
      for (Index j = 0; j < kCols; ++j) {
        const std::size_t at = static_cast<std::size_t>(i * kCols + j);
        ASSERT_EQ(y[at], is_kept(7 + i, j) ? x[at] * scale : T(0)) << i << ", " << j << " cut at " << split;
        ASSERT_EQ(grad[at], y[at]) << i << ", " << j;
      }
    }
  }
}

// 1 - rate is 1 there, and 2^32 no threshold.
TYPED_TEST(Dropouts, ATinyRateKeepsEverything) {
  using T = TypeParam;
  constexpr Index kCols = 203;
  const std::vector<T> x = numbers<T>(kCols, 1);
  for (const double rate : {1e-300, 1e-20, 1e-17}) {
    std::vector<T> y(x.size());
    std::vector<std::uint8_t> mask(64);
    DropoutArgs<T> args{};
    args.rows = 1;
    args.cols = args.ld_input = args.ld_output = kCols;
    args.input = x.data();
    args.output = y.data();
    args.mask = mask.data();
    args.ld_mask = static_cast<Index>(mask.size());
    args.seed = kSeed;
    args.rate = rate;
    table_under_test<T>().dropout_forward(args);
    EXPECT_EQ(y, x) << rate;
  }
}

}  // namespace
}  // namespace stoop
