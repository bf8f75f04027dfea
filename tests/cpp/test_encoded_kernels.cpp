// Products of encoded rows of STOOP_ISA against plain loops over the encoded rows in a wider type: ladders with one bin and with
// many, numbers before the first bin and after the last, indicators with unknown codes, units around vectors and their groups,
// rows around the blocks in which they are sorted.
#include <gtest/gtest.h>

#include <algorithm>

#include "test_helpers.hpp"

namespace stoop {
namespace {

template <class T>
class EncodedKernels : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(EncodedKernels, ElementTypes);

struct Shape {
  Index rows, members, units;
  bool has_scale = true;
};
constexpr Shape kShapes[] = {{1, 1, 1},   {2, 9, 7},    {23, 2, 16}, {24, 1, 33, false}, {17, 4, 130},
                             {256, 2, 9}, {257, 3, 64}, {600, 1, 5}, {40, 16, 257},      {0, 2, 8}};

template <class T>
struct EncodedData {
  Shape shape;
  std::vector<EncodedColumn> columns;
  Index width = 0;
  std::vector<T> places, scale, weight, bias, grad;

  explicit EncodedData(Shape s, Index many = 1) : shape(s) {
    for (Index i = 0; i < many; ++i) {
      add(ColumnKind::ladder, 48);
      add(ColumnKind::indicator, 5);
      add(ColumnKind::ladder, 1);
      add(ColumnKind::ladder, 3);
      add(ColumnKind::indicator, 1);
    }
    place();
    scale = numbers<T>(s.members * width, 2);
    weight = numbers<T>(width * ld(), 3);
    bias = numbers<T>(s.units, 4);
    grad = numbers<T>(s.rows * s.members * ld(), 5);
  }

  Index cols() const { return static_cast<Index>(columns.size()); }
  Index ld() const { return shape.units + 2; }
  Index ld_places() const { return place_width(cols()) + 3; }

  EncodedRows<T> rows(Index first, Index count) const {
    EncodedRows<T> of{};
    of.rows = count;
    of.cols = cols();
    of.columns = columns.data();
    of.places = places.data() + first * ld_places();
    of.ld_places = ld_places();
    of.members = shape.members;
    of.scale = shape.has_scale ? scale.data() : nullptr;
    of.width = width;
    of.weight = weight.data();
    of.ld_weight = ld();
    of.units = shape.units;
    return of;
  }

  // Element k of the encoded row i.
  Wide<T> encoded(Index i, Index k) const {
    const T* const values = places.data() + i * ld_places();
    for (Index f = 0; f < cols(); ++f) {
      const EncodedColumn& column = columns[static_cast<std::size_t>(f)];
      const Index at = k - column.first, index = place_indices(values, cols())[f];
      if (at < 0 || at >= column.width) continue;
      if (at == index) return values[f];
      return column.kind == ColumnKind::ladder && at < index ? 1 : 0;
    }
    return 0;
  }

  Wide<T> scaled(Index i, Index m, Index k) const {
    const Wide<T> factor = shape.has_scale ? scale[static_cast<std::size_t>(m * width + k)] : T(1);
    return factor * encoded(i, k);
  }

 private:
  void add(ColumnKind kind, Index count) {
    columns.push_back({kind, 0, 0, 0, width, count, 0, 0});
    width += count;
  }

  // Values of ladders leave [0, 1] at both ends.
  void place() {
    places.assign(static_cast<std::size_t>(std::max<Index>(shape.rows, 1) * ld_places()), T(77));
    const std::vector<T> drawn = numbers<T>(shape.rows * cols() * 2 + 1, 1);
    for (Index i = 0; i < shape.rows; ++i) {
      T* const values = places.data() + i * ld_places();
      for (Index f = 0; f < cols(); ++f) {
        const EncodedColumn& column = columns[static_cast<std::size_t>(f)];
        const auto draw = [&](Index j) {
          return static_cast<double>(drawn[static_cast<std::size_t>(2 * (i * cols() + f) + j)]);
        };
        const auto index = static_cast<Index>((draw(0) + 1.0) / 2.0 * static_cast<double>(column.width));
        const bool is_ladder = column.kind == ColumnKind::ladder, is_end = index == 0 || index == column.width - 1;
        place_indices(values, cols())[f] = static_cast<int32_t>(std::min(index, column.width - 1));
        values[f] =
            is_ladder ? static_cast<T>(is_end ? 5.0 * draw(1) : (draw(1) + 1.0) / 2.0) : T(draw(1) > -0.8 ? 1 : 0);
      }
    }
  }
};

template <class T>
std::vector<T> product(const EncodedData<T>& data, const std::vector<Index>& cuts, Index ld, bool has_bias = true) {
  std::vector<T> output(static_cast<std::size_t>(data.shape.rows * data.shape.members * ld + 1), T(77));
  std::vector<T> table(static_cast<std::size_t>(data.width * data.shape.units));
  for (std::size_t c = 0; c + 1 < cuts.size(); ++c) {
    EncodedDenseArgs<T> args{};
    args.of = data.rows(cuts[c], cuts[c + 1] - cuts[c]);
    args.activation = kind_of<Identity>();
    args.bias = has_bias ? data.bias.data() : nullptr;
    args.output = output.data() + cuts[c] * data.shape.members * ld;
    args.ld_output = ld;
    args.table = table.data();
    table_under_test<T>().encoded_dense(args);
  }
  return output;
}

TYPED_TEST(EncodedKernels, TheProductIsThatOfTheEncodedRows) {
  using T = TypeParam;
  for (const Shape& shape : kShapes) {
    const EncodedData<T> data(shape);
    const Index ld = shape.units + 1;
    for (const bool has_bias : {true, false}) {
      const std::vector<T> found = product(data, {0, shape.rows}, ld, has_bias);
      for (Index row = 0; row < shape.rows * shape.members; ++row) {
        for (Index u = 0; u < ld; ++u) {
          const T got = found[static_cast<std::size_t>(row * ld + u)];
          if (u == shape.units) {
            ASSERT_EQ(got, T(77)) << "after the end of row " << row;
            continue;
          }
          Wide<T> want = has_bias ? data.bias[static_cast<std::size_t>(u)] : T(0), size = 1;
          for (Index k = 0; k < data.width; ++k) {
            const Wide<T> term = data.scaled(row / shape.members, row % shape.members, k) *
                                 data.weight[static_cast<std::size_t>(k * data.ld() + u)];
            want += term;
            size += std::abs(term);
          }
          ASSERT_NEAR(got, want, 8 * kEpsilon<T> * static_cast<double>(size)) << row << ", " << u;
        }
      }
      EXPECT_EQ(found.back(), T(77));
    }
  }
}

TYPED_TEST(EncodedKernels, RowsAreTheSameInAnySlice) {
  using T = TypeParam;
  const EncodedData<T> data({40, 9, 77});
  std::vector<Index> one_by_one;
  for (Index i = 0; i <= 40; ++i) one_by_one.push_back(i);
  const std::vector<T> whole = product(data, {0, 40}, 77);
  EXPECT_TRUE(same_bits<T>(whole, product(data, one_by_one, 77)));
  EXPECT_TRUE(same_bits<T>(whole, product(data, {0, 1, 3, 4, 9, 33, 40}, 77)));
}

// The activation and the dropout of each row are those of the kernels for these alone.
TYPED_TEST(EncodedKernels, FinishesItsRows) {
  using T = TypeParam;
  const OpTable<T>& table = table_under_test<T>();
  for (const Shape& shape : {Shape{30, 3, 77}, Shape{5, 2, 9}, Shape{26, 1, 64}}) {
    const EncodedData<T> data(shape);
    const Index ld = shape.units + 1, rows = shape.rows * shape.members, ld_mask = shape.units / 8 + 1;
    std::vector<T> expected = product(data, {0, shape.rows}, ld), found(expected.size(), T(77)),
                   tables(expected.size());
    tables.resize(static_cast<std::size_t>(data.width * shape.units));
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(rows * ld_mask));
    const int tanh = static_cast<int>(kind_of<Tanh>());
    table.activation_forward[tanh]({rows, shape.units, expected.data(), ld, expected.data(), ld, {}});
    DropoutArgs<T> dropout{};
    dropout.rows = rows, dropout.cols = shape.units;
    dropout.input = dropout.output = expected.data();
    dropout.ld_input = dropout.ld_output = ld;
    dropout.mask = mask.data(), dropout.ld_mask = ld_mask;
    dropout.seed = 5, dropout.rate = 0.4;
    table.dropout_forward(dropout);
    dropout.input = nullptr, dropout.output = found.data();
    EncodedDenseArgs<T> args{};
    args.of = data.rows(0, shape.rows);
    args.bias = data.bias.data();
    args.activation = kind_of<Tanh>();
    args.dropout = &dropout;
    args.output = found.data();
    args.ld_output = ld;
    args.table = tables.data();
    table.encoded_dense(args);
    EXPECT_TRUE(same_bits<T>(expected, found)) << shape.rows;
  }
}

template <class T>
struct Gradients {
  std::vector<T> weight, scale;
};

template <class T>
Gradients<T> gradients(const EncodedData<T>& data, const std::vector<Index>& cuts, bool of_scale = true) {
  Gradients<T> out{std::vector<T>(data.weight.size() + 1, T(77)), std::vector<T>(data.scale.size() + 1, T(77))};
  std::vector<T> suffix(static_cast<std::size_t>(data.shape.units));
  for (std::size_t c = 0; c + 1 < cuts.size(); ++c) {
    EncodedGradientArgs<T> args{};
    args.of = data.rows(0, data.shape.rows);
    args.grad = data.grad.data();
    args.ld_grad = data.ld();
    args.begin = cuts[c];
    args.end = cuts[c + 1];
    args.grad_weight = out.weight.data();
    args.grad_scale = of_scale ? out.scale.data() : nullptr;
    args.suffix = suffix.data();
    table_under_test<T>().encoded_gradient(args);
  }
  return out;
}

TYPED_TEST(EncodedKernels, GradientsAreThoseOfTheEncodedRows) {
  using T = TypeParam;
  for (const Shape& shape : kShapes) {
    const EncodedData<T> data(shape);
    const Gradients<T> found = gradients(data, {0, data.cols()});
    std::vector<Wide<T>> scales(data.scale.size()), sizes(data.scale.size());
    for (Index k = 0; k < data.width; ++k) {
      for (Index u = 0; u < shape.units; ++u) {
        Wide<T> want = 0, size = 1;
        for (Index row = 0; row < shape.rows * shape.members; ++row) {
          const Index i = row / shape.members, m = row % shape.members;
          const Wide<T> g = data.grad[static_cast<std::size_t>(row * data.ld() + u)];
          const auto at = static_cast<std::size_t>(m * data.width + k);
          const Wide<T> part = data.encoded(i, k) * data.weight[static_cast<std::size_t>(k * data.ld() + u)] * g;
          want += data.scaled(i, m, k) * g;
          size += std::abs(data.scaled(i, m, k) * g) + std::abs(g);
          scales[at] += part;
          sizes[at] += std::abs(part) + std::abs(g);
        }
        ASSERT_NEAR(found.weight[static_cast<std::size_t>(k * data.ld() + u)], want,
                    16 * kEpsilon<T> * static_cast<double>(size))
            << k << ", " << u;
      }
      EXPECT_EQ(found.weight[static_cast<std::size_t>(k * data.ld() + shape.units)], T(77));
    }
    for (std::size_t at = 0; at < scales.size(); ++at) {
      ASSERT_NEAR(found.scale[at], scales[at], 16 * kEpsilon<T> * (1.0 + static_cast<double>(sizes[at]))) << at;
    }
    EXPECT_EQ(found.scale.back(), T(77));
  }
}

TYPED_TEST(EncodedKernels, GradientsAreTheSameForAnyCutByColumns) {
  using T = TypeParam;
  const EncodedData<T> data({300, 3, 40}, 5);  // more columns than are sorted at a time
  std::vector<Index> one_by_one;
  for (Index f = 0; f <= data.cols(); ++f) one_by_one.push_back(f);
  const Gradients<T> whole = gradients(data, {0, data.cols()}), single = gradients(data, one_by_one);
  EXPECT_TRUE(same_bits<T>(whole.weight, single.weight));
  EXPECT_TRUE(same_bits<T>(whole.scale, single.scale));
  const Gradients<T> without = gradients(data, {0, 7, 7, data.cols()}, false);
  EXPECT_TRUE(same_bits<T>(whole.weight, without.weight));
  EXPECT_EQ(std::ranges::count(without.scale, T(77)), static_cast<std::ptrdiff_t>(without.scale.size()));
}

}  // namespace
}  // namespace stoop
