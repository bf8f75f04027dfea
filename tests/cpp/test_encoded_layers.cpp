// Products of rows that linear ladders encode, and their gradients, of STOOP_ISA against plain loops over the embeddings in a wider
// type: columns with many bins, one and none, numbers before the first bin and after the last, units and dims around vectors.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "test_helpers.hpp"

namespace stoop {
namespace {

template <class T>
class EncodedLayers : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(EncodedLayers, ElementTypes);

struct Shape {
  Index rows, members, units, dim;
  bool has_scale = true;
};
constexpr Shape kShapes[] = {{1, 1, 1, 1}, {40, 3, 37, 9}, {300, 2, 70, 16}, {257, 1, 128, 5, false}, {0, 2, 8, 8}};
constexpr Index kBins[] = {9, 0, 1, 4};

template <class T>
struct LadderData {
  Shape shape;
  std::vector<EncodedColumn> columns;
  Index bins = 0, width = 0;
  std::vector<T> places, scale, weight, bias, grad, of_bins, of_numbers, of_ones;

  explicit LadderData(Shape s) : shape(s) {
    for (const Index each : kBins) {
      const auto layer = static_cast<Index>(columns.size());
      columns.push_back({ColumnKind::linear_ladder, 0, static_cast<int32_t>(each), 0, width, s.dim, bins, layer});
      bins += each, width += s.dim;
    }
    scale = numbers<T>(s.members * width, 2);
    weight = numbers<T>(width * ld(), 3);
    bias = numbers<T>(s.units, 4);
    grad = numbers<T>(s.rows * s.members * ld() + 1, 5);
    of_bins = numbers<T>(bins * s.dim, 6);
    of_numbers = numbers<T>(cols() * s.dim, 7);
    of_ones = numbers<T>(cols() * s.dim, 8);
    places = numbers<T>((s.rows + 1) * ld_places(), 9, 1.5);
    for (Index i = 0; i < s.rows; ++i) {
      for (Index f = 0; f < cols(); ++f) {
        const Index most = std::max<Index>(kBins[f], 1);
        place_indices(places.data() + i * ld_places(), cols())[f] = static_cast<int32_t>((7 * i + f) % most);
      }
    }
  }

  Index cols() const { return static_cast<Index>(columns.size()); }
  Index ld() const { return shape.units + 2; }
  Index ld_places() const { return place_width(cols(), true) + 3; }
  Index table_rows() const { return bins + 2 * cols(); }

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
    of.layers = {cols(), 0, bins, nullptr, of_numbers.data(), of_bins.data(), of_ones.data()};
    of.dim = shape.dim;
    return of;
  }

  // What row r of the layer of a column is multiplied with in row i: rows of bins, the bias, the weights of the number.
  Wide<T> factor(Index i, Index f, Index r) const {
    const T* const values = places.data() + i * ld_places();
    const Index index = place_indices(values, cols())[f];
    if (r == kBins[f]) return 1;
    if (r > kBins[f]) return values[2 * cols() + f];
    return r < index ? Wide<T>(1) : r == index ? Wide<T>(values[f]) : Wide<T>(0);
  }

  T layer(Index f, Index r, Index d) const {
    const auto column = static_cast<std::size_t>(f * shape.dim + d);
    if (r == kBins[f]) return of_ones[column];
    if (r > kBins[f]) return of_numbers[column];
    return of_bins[static_cast<std::size_t>((columns[static_cast<std::size_t>(f)].start + r) * shape.dim + d)];
  }

  Wide<T> embedding(Index i, Index f, Index d) const {
    Wide<T> sum = 0;
    for (Index r = 0; r < kBins[f] + 2; ++r) sum += factor(i, f, r) * layer(f, r, d);
    return sum;
  }

  Wide<T> scale_at(Index m, Index k) const {
    return shape.has_scale ? scale[static_cast<std::size_t>(m * width + k)] : T(1);
  }
};

template <class T>
std::vector<T> product(const LadderData<T>& data, const std::vector<Index>& cuts) {
  const Index units = data.shape.units;
  std::vector<T> output(static_cast<std::size_t>(data.shape.rows * data.shape.members * units + 1), T(77));
  std::vector<T> table(static_cast<std::size_t>(data.table_rows() * (units + 2 * data.shape.dim)));
  for (std::size_t c = 0; c + 1 < cuts.size(); ++c) {
    EncodedDenseArgs<T> args{};
    args.of = data.rows(cuts[c], cuts[c + 1] - cuts[c]);
    args.activation = kind_of<Identity>();
    args.bias = data.bias.data();
    args.output = output.data() + cuts[c] * data.shape.members * units;
    args.ld_output = units;
    args.table = table.data();
    table_under_test<T>().encoded_dense(args);
  }
  return output;
}

TYPED_TEST(EncodedLayers, TheProductIsThatOfTheEmbeddings) {
  using T = TypeParam;
  for (const Shape& shape : kShapes) {
    const LadderData<T> data(shape);
    const std::vector<T> found = product(data, {0, shape.rows});
    for (Index row = 0; row < shape.rows * shape.members; ++row) {
      for (Index u = 0; u < shape.units; ++u) {
        Wide<T> want = data.bias[static_cast<std::size_t>(u)], size = 1;
        for (Index k = 0; k < data.width; ++k) {
          const Wide<T> embedding = data.embedding(row / shape.members, k / shape.dim, k % shape.dim);
          const Wide<T> term = embedding * data.scale_at(row % shape.members, k) *
                               data.weight[static_cast<std::size_t>(k * data.ld() + u)];
          want += term;
          size += std::abs(term);
        }
        const double tolerance = 30 * kEpsilon<T> * static_cast<double>(size);
        ASSERT_NEAR(found[static_cast<std::size_t>(row * shape.units + u)], want, tolerance) << row << ", " << u;
      }
    }
    EXPECT_EQ(found.back(), T(77));
    if (shape.rows > 9) {
      EXPECT_TRUE(same_bits<T>(found, product(data, {0, 1, 9, shape.rows})));
    }
  }
}

template <class T>
struct LadderGradients {
  std::vector<T> weight, scale, of_bins, of_numbers, of_ones;
};

template <class T>
LadderGradients<T> gradients(const LadderData<T>& data, const std::vector<Index>& cuts) {
  const auto like = [](const std::vector<T>& values) { return std::vector<T>(values.size() + 1, T(77)); };
  LadderGradients<T> out{like(data.weight), like(data.scale), like(data.of_bins), like(data.of_numbers),
                         like(data.of_ones)};
  std::vector<T> memory(static_cast<std::size_t>(data.table_rows() * (data.shape.units + 4 * data.shape.dim)));
  for (std::size_t c = 0; c + 1 < cuts.size(); ++c) {
    EncodedGradientArgs<T> args{};
    args.of = data.rows(0, data.shape.rows);
    args.grad = data.grad.data();
    args.ld_grad = data.ld();
    args.begin = cuts[c];
    args.end = cuts[c + 1];
    args.grad_weight = out.weight.data();
    args.grad_scale = out.scale.data();
    args.suffix = memory.data();
    args.grad_bins = out.of_bins.data();
    args.grad_linear = out.of_numbers.data();
    args.grad_bias = out.of_ones.data();
    table_under_test<T>().encoded_gradient(args);
  }
  return out;
}

TYPED_TEST(EncodedLayers, GradientsAreThoseOfTheEmbeddings) {
  using T = TypeParam;
  for (const Shape& shape : kShapes) {
    const LadderData<T> data(shape);
    const LadderGradients<T> found = gradients(data, {0, data.cols()});
    const Index dim = shape.dim;
    for (Index k = 0; k < data.width; ++k) {
      const Index f = k / dim, d = k % dim;
      std::vector<Wide<T>> of_scale(static_cast<std::size_t>(shape.members)), of_layer(11),
          of_weight(static_cast<std::size_t>(shape.units));
      Wide<T> size = 1;
      for (Index row = 0; row < shape.rows * shape.members; ++row) {
        const Index i = row / shape.members, m = row % shape.members;
        const Wide<T> embedding = data.embedding(i, f, d), scale = data.scale_at(m, k);
        Wide<T> back = 0;
        for (Index u = 0; u < shape.units; ++u) {
          const Wide<T> g = data.grad[static_cast<std::size_t>(row * data.ld() + u)];
          of_weight[static_cast<std::size_t>(u)] += embedding * scale * g;
          back += g * data.weight[static_cast<std::size_t>(k * data.ld() + u)];
          size += std::abs(g) * (1 + std::abs(embedding));
        }
        of_scale[static_cast<std::size_t>(m)] += back * embedding;
        for (Index r = 0; r < kBins[f] + 2; ++r) {
          of_layer[static_cast<std::size_t>(r)] += back * scale * data.factor(i, f, r);
        }
      }
      const double tolerance = 30 * kEpsilon<T> * static_cast<double>(size);
      for (Index u = 0; u < shape.units; ++u) {
        ASSERT_NEAR(found.weight[static_cast<std::size_t>(k * data.ld() + u)], of_weight[static_cast<std::size_t>(u)],
                    tolerance);
      }
      for (Index m = 0; m < shape.members; ++m) {
        ASSERT_NEAR(found.scale[static_cast<std::size_t>(m * data.width + k)], of_scale[static_cast<std::size_t>(m)],
                    tolerance);
      }
      const Index start = data.columns[static_cast<std::size_t>(f)].start;
      for (Index r = 0; r < kBins[f]; ++r) {
        ASSERT_NEAR(found.of_bins[static_cast<std::size_t>((start + r) * dim + d)],
                    of_layer[static_cast<std::size_t>(r)], tolerance);
      }
      ASSERT_NEAR(found.of_ones[static_cast<std::size_t>(k)], of_layer[static_cast<std::size_t>(kBins[f])], tolerance);
      ASSERT_NEAR(found.of_numbers[static_cast<std::size_t>(k)], of_layer[static_cast<std::size_t>(kBins[f] + 1)],
                  tolerance);
    }
    for (const std::vector<T>* each : {&found.of_bins, &found.of_numbers, &found.of_ones}) {
      EXPECT_EQ(each->back(), T(77));
    }
    const LadderGradients<T> parts = gradients(data, {0, 1, 3, data.cols()});
    EXPECT_TRUE(same_bits<T>(found.weight, parts.weight));
    EXPECT_TRUE(same_bits<T>(found.scale, parts.scale));
    EXPECT_TRUE(same_bits<T>(found.of_bins, parts.of_bins));
  }
}

}  // namespace
}  // namespace stoop
