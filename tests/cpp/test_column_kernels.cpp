// The kernels of encoded columns of STOOP_ISA against plain loops in a wider type, whole and in slices: places of rows that are
// gathered, encoded rows, the gradients of X, of the table and of columns with a layer.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "graph/columns.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

template <class T>
class ColumnKernels : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ColumnKernels, ElementTypes);

constexpr Index kRows = 37, kCols = 6, kBins = 5, kDim = 19, kFrequencies = 21;
constexpr Index kOneHot = 3, kCodes = 40;
constexpr ColumnEncoding kEncodings[] = {ColumnEncoding::ple, ColumnEncoding::periodic, ColumnEncoding::ple_linear};

// Columns: a number with bins, one without, a one-hot category, two with tables; or numbers with layers in place of the first two.
template <class T>
struct Data {
  GraphColumns graph;
  std::vector<double> x;
  std::vector<T> shift, scale, rest, missing, left, width, table, frequency, linear, weight, bias, grad;
  InputMap<T> map;

  explicit Data(ColumnEncoding encoding) {
    const bool periodic = encoding == ColumnEncoding::periodic;
    Columns layer{.categories = {{2, kOneHot}, {3, kCodes}, {5, kCodes}}};
    layer.encoding = encoding;
    layer.bins = {kBins, 0, kBins};
    if (periodic) layer.bins = {kBins};
    layer.frequencies = kFrequencies;
    layer.embedding_dim = kDim;
    graph = describe_columns(layer, kCols, "0");
    x = numbers<double>(kRows * kCols, 1, 3.0);
    for (Index i = 0; i < kRows; ++i) {
      x[at(i, 2)] = static_cast<double>(i % (kOneHot + 2)) - 1.0;
      x[at(i, 3)] = static_cast<double>(i * 7 % (kCodes + 3)) - 1.0;
      x[at(i, 5)] = static_cast<double>(i % 4);
      for (Index j = 0; j < kCols; ++j) {
        if ((i + 3 * j) % 11 == 0) x[at(i, j)] = kNaN<double>;
      }
    }
    shift = numbers<T>(kCols, 2);
    scale = numbers<T>(kCols, 3);
    rest.assign(2 * kCols, T(0));
    missing = numbers<T>(kCols, 4);
    for (Index b = 0; b < 2; ++b) {
      for (const double edge : {-1.5, -0.5, 0.25, 0.5})
        left.push_back(static_cast<T>(edge + 0.1 * static_cast<double>(b)));
      left.push_back(std::numeric_limits<T>::max());
      for (const double each : {1.0, 4.0 / 3.0, 4.0, 2.0, 0.0}) width.push_back(static_cast<T>(each));
    }
    table = numbers<T>(graph.table_rows * kDim, 5);
    frequency = numbers<T>(graph.number_layers * kFrequencies, 6, 2.0);
    linear = numbers<T>(graph.number_layers * kDim, 10);
    weight = numbers<T>(graph.layer_rows * kDim, 7);
    bias = numbers<T>(graph.number_layers * kDim, 8);
    grad = numbers<T>(kRows * encoded_width(graph), 9);
    map.column_scale = scale.data();
    map.column_shift = shift.data();
    map.column_rest = rest.data();
    map.missing = missing.data();
    map.clip = T(1.5);
    map.columns = graph.columns.data();
    map.bin_left = left.data();
    map.bin_scale = width.data();
    map.has_numbers = graph.has_linear_ladders();
  }

  static std::size_t at(Index i, Index j) { return static_cast<std::size_t>(i * kCols + j); }
  NumberLayers<T> layers() const {
    return {graph.number_layers, kFrequencies,  graph.layer_rows, frequency.data(),
            linear.data(),       weight.data(), bias.data()};
  }
  Index place_width() const { return mapped_width(map, kCols); }

  std::vector<T> places(const std::vector<Index>& cuts = {0, kRows}) const {
    std::vector<T> out(static_cast<std::size_t>(kRows * place_width()), T(77));
    for (std::size_t c = 0; c + 1 < cuts.size(); ++c) {
      table_under_test<T>().gather[static_cast<int>(InputType::float64)](
          {cuts[c + 1] - cuts[c], kCols, x.data() + cuts[c] * kCols, kCols, nullptr,
           out.data() + cuts[c] * place_width(), place_width(), map});
    }
    return out;
  }

  Places<T> view(const std::vector<T>& places, Index begin = 0, Index end = kRows) const {
    return {end - begin, kCols, graph.columns.data(), places.data() + begin * place_width(), place_width()};
  }
};

// What the definition gives of one number.
template <class T>
Wide<T> scaled(const Data<T>& data, Index i, Index j, bool clips = true) {
  const double x = data.x[Data<T>::at(i, j)];
  const auto column = static_cast<std::size_t>(j);
  Wide<T> z = data.missing[column];
  if (!std::isnan(x)) z = (static_cast<Wide<T>>(x) - data.shift[column]) * data.scale[column];
  if (clips && data.graph.columns[column].is_clipped != 0) z /= std::sqrt(1 + z / data.map.clip * (z / data.map.clip));
  return z;
}

template <class T>
std::array<Wide<T>, kBins> ladder_of(const Data<T>& data, const EncodedColumn& column, Wide<T> z) {
  std::array<Wide<T>, kBins> out{};
  for (Index k = 0; k < 4 && column.bins > 0; ++k) {  // of kBins, the last of which is left over
    const auto bin = static_cast<std::size_t>(column.start + k);
    const Wide<T> part = (z - data.left[bin]) * data.width[bin];
    out[static_cast<std::size_t>(k)] = k > 0 && part < 0 ? 0 : k < 3 && part > 1 ? 1 : part;
  }
  return out;
}

template <class T>
Index waves_of(const Data<T>& data) {
  return data.graph.layer_rows + data.graph.number_layers + 1;
}

template <class T>
std::vector<Wide<T>> reference(const Data<T>& data) {
  const Index width = encoded_width(data.graph);
  std::vector<Wide<T>> out(static_cast<std::size_t>(kRows * width), 0);
  const Wide<T> turn = 2 * std::acos(Wide<T>(-1));
  for (Index i = 0; i < kRows; ++i) {
    for (Index j = 0; j < kCols; ++j) {
      const EncodedColumn& column = data.graph.columns[static_cast<std::size_t>(j)];
      Wide<T>* const to = out.data() + i * width + column.first;
      const double x = data.x[Data<T>::at(i, j)];
      const bool known = x >= 0 && x < column.codes;
      const Index place = known ? static_cast<Index>(x) : x == -1 || std::isnan(x) ? column.codes : column.codes + 1;
      if (column.kind == ColumnKind::indicator && known) to[place] = 1;
      for (Index k = 0; column.kind == ColumnKind::embedding && k < kDim; ++k) {
        to[k] = data.table[static_cast<std::size_t>((column.start + place) * kDim + k)];
      }
      if (column.codes > 0) continue;
      const Wide<T> z = scaled(data, i, j);
      if (column.kind == ColumnKind::periodic) {
        for (Index d = 0; d < kDim; ++d) {
          Wide<T> sum = data.bias[static_cast<std::size_t>(column.layer * kDim + d)];
          for (Index k = 0; k < 2 * kFrequencies; ++k) {
            const Wide<T> angle =
                turn * z * data.frequency[static_cast<std::size_t>(column.layer * kFrequencies + k % kFrequencies)];
            const T w = data.weight[static_cast<std::size_t>((column.start + k) * kDim + d)];
            sum += w * (k < kFrequencies ? std::cos(angle) : std::sin(angle));
          }
          to[d] = sum > 0 ? sum : 0;
        }
      } else if (column.kind == ColumnKind::linear_ladder) {
        const std::array<Wide<T>, kBins> ladder = ladder_of(data, column, scaled(data, i, j, false));
        for (Index d = 0; d < kDim; ++d) {
          const auto at = static_cast<std::size_t>(column.layer * kDim + d);
          to[d] = data.bias[at] + z * data.linear[at];
          for (Index k = 0; k < column.bins; ++k) {
            to[d] += ladder[static_cast<std::size_t>(k)] *
                     data.weight[static_cast<std::size_t>((column.start + k) * kDim + d)];
          }
        }
      } else if (column.bins == 0) {
        to[0] = z;
      } else {
        std::ranges::copy(ladder_of(data, column, z), to);
      }
    }
  }
  return out;
}

template <class T>
struct Encoded {
  std::vector<T> output, waves;
};

template <class T>
Encoded<T> encode(const Data<T>& data, const std::vector<T>& places, const std::vector<Index>& cuts = {0, kRows}) {
  const Index width = encoded_width(data.graph), waves = waves_of(data);
  Encoded<T> out{std::vector<T>(static_cast<std::size_t>(kRows * width), T(77)),
                 std::vector<T>(static_cast<std::size_t>(kRows * waves), T(77))};
  for (std::size_t c = 0; c + 1 < cuts.size(); ++c) {
    EncodeArgs<T> args{};
    args.places = data.view(places, cuts[c], cuts[c + 1]);
    args.table = data.table.data();
    args.dim = kDim;
    args.layers = data.layers();
    args.waves = out.waves.data() + cuts[c] * waves;
    args.ld_waves = waves;
    args.output = out.output.data() + cuts[c] * width;
    args.ld_output = width;
    table_under_test<T>().encode(args);
  }
  return out;
}

TYPED_TEST(ColumnKernels, EncodedRowsMatchTheirDefinition) {
  using T = TypeParam;
  for (const ColumnEncoding encoding : kEncodings) {
    const Data<T> data(encoding);
    const std::vector<T> found = encode(data, data.places()).output;
    const std::vector<Wide<T>> expected = reference(data);
    for (std::size_t k = 0; k < found.size(); ++k) {
      ASSERT_NEAR(static_cast<double>(found[k]), static_cast<double>(expected[k]), 200 * kEpsilon<T>) << k;
    }
  }
}

TYPED_TEST(ColumnKernels, SlicesOfRowsHaveTheSameBits) {
  using T = TypeParam;
  for (const ColumnEncoding encoding : kEncodings) {
    const Data<T> data(encoding);
    const std::vector<Index> cuts = {0, 1, 8, 9, 30, kRows};
    const std::vector<T> places = data.places(), sliced = data.places(cuts);
    EXPECT_TRUE(same_bits<T>(places, sliced));
    const Encoded<T> whole = encode(data, places), parts = encode(data, places, cuts);
    EXPECT_TRUE(same_bits<T>(whole.output, parts.output));
    EXPECT_TRUE(same_bits<T>(whole.waves, parts.waves));
  }
}

// In the order of the rows, in any blocks of the table; and by the rows that are named.
TYPED_TEST(ColumnKernels, TheGradientOfTheTable) {
  using T = TypeParam;
  const Data<T> data(ColumnEncoding::ple);
  const std::vector<T> places = data.places();
  const Index rows = data.graph.table_rows, width = encoded_width(data.graph);
  std::vector<T> expected(static_cast<std::size_t>(rows * kDim), T(0));
  for (const Index j : {3, 5}) {
    for (Index i = 0; i < kRows; ++i) {
      const Index row = place_indices(places.data() + i * data.place_width(), kCols)[j];
      for (Index d = 0; d < kDim; ++d) {
        const Index from = i * width + data.graph.columns[static_cast<std::size_t>(j)].first + d;
        expected[static_cast<std::size_t>(row * kDim + d)] += data.grad[static_cast<std::size_t>(from)];
      }
    }
  }
  std::vector<T> found(expected.size(), T(77)), by_rows(expected.size(), T(0));
  std::vector<std::int32_t> slots(static_cast<std::size_t>(rows), -5), named(kRows * 2);
  for (const Index begin : {Index{0}, Index{13}, Index{60}}) {
    const Index end = begin == 0 ? 13 : begin == 13 ? 60 : rows;
    TableGradientArgs<T> args{data.view(places),          data.grad.data(), width, kDim, begin, end,
                              found.data() + begin * kDim};
    table_under_test<T>().table_gradient(args);
    std::vector<T> sparse(static_cast<std::size_t>(kRows * 2 * kDim), T(77));
    args.gradient = sparse.data();
    const Index count = table_under_test<T>().table_rows({args, slots.data(), named.data()});
    for (Index k = 0; k < count * kDim; ++k) {
      const Index row = named[static_cast<std::size_t>(k / kDim)];
      by_rows[static_cast<std::size_t>(row * kDim + k % kDim)] = sparse[static_cast<std::size_t>(k)];
    }
  }
  EXPECT_TRUE(same_bits<T>(found, expected));
  EXPECT_TRUE(same_bits<T>(by_rows, expected));
}

// The gradients by X, frequencies and weights that kernels give, and those of the definition by differences.
template <class T>
struct LayerGradients {
  explicit LayerGradients(ColumnEncoding encoding)
      : data(encoding), places(data.places()), encoded(encode(data, places)) {
    const Index before = data.graph.number_layers * kDim, width = encoded_width(data.graph);
    of_angles.resize(static_cast<std::size_t>(kRows * angles()));
    of_before.resize(static_cast<std::size_t>(kRows * before));
    table_under_test<T>().number_gradient({data.view(places), kDim, data.layers(), encoded.waves.data(), waves_of(data),
                                           encoded.output.data(), width, data.grad.data(), width, of_before.data(),
                                           before, of_angles.data(), angles()});
  }

  Index angles() const { return data.graph.number_layers * (kFrequencies + 1); }

  // Rows [begin, end) of the gradient of the weights.
  std::vector<T> of_weight(Index begin, Index end, bool of_numbers) const {
    std::vector<T> found(static_cast<std::size_t>((end - begin) * kDim), T(77));
    table_under_test<T>().number_weight_gradient({data.view(places), kDim, kFrequencies, of_numbers,
                                                  encoded.waves.data() + (of_numbers ? data.graph.layer_rows : 0),
                                                  waves_of(data), of_before.data(), data.graph.number_layers * kDim,
                                                  begin, end, found.data()});
    return found;
  }

  // Moves what points into `data`.
  template <class Value>
  double difference(Value& value) const {
    const auto loss = [&] {
      Wide<T> sum = 0;
      const std::vector<Wide<T>> out = reference(data);
      for (std::size_t k = 0; k < out.size(); ++k) sum += out[k] * data.grad[k];
      return sum;
    };
    const Value was = value, step = static_cast<Value>(sizeof(T) == 4 ? 0x1p-12 : 0x1p-20);
    value = was + step;
    const Wide<T> above = loss();
    value = was - step;
    const Wide<T> below = loss();
    value = was;
    return static_cast<double>((above - below) / (2 * step));
  }

  Data<T> data;
  std::vector<T> places;
  Encoded<T> encoded;
  std::vector<T> of_angles, of_before;
};

template <class T>
constexpr double kDifference = sizeof(T) == 4 ? 2e-2 : 1e-6;

TYPED_TEST(ColumnKernels, GradientsOfPeriodicColumns) {
  using T = TypeParam;
  LayerGradients<T> found(ColumnEncoding::periodic);
  for (const Index k : {Index{0}, Index{20}, Index{25}}) {
    double sum = 0.0;
    for (Index i = 0; i < kRows; ++i) {
      sum += static_cast<double>(found.of_angles[static_cast<std::size_t>(i * found.angles() + k)]);
    }
    EXPECT_NEAR(sum, found.difference(found.data.frequency[static_cast<std::size_t>(k)]), kDifference<T> * 100) << k;
  }
  const std::vector<T> of_weight = found.of_weight(40, 45, false);
  for (const Index k : {Index{0}, Index{2}, Index{4}}) {  // rows around the end of the first column
    EXPECT_NEAR(static_cast<double>(of_weight[static_cast<std::size_t>(k * kDim + 3)]),
                found.difference(found.data.weight[static_cast<std::size_t>((40 + k) * kDim + 3)]), kDifference<T> * 10)
        << k;
  }
}

TYPED_TEST(ColumnKernels, GradientsOfLinearLadders) {
  using T = TypeParam;
  LayerGradients<T> found(ColumnEncoding::ple_linear);
  Data<T>& data = found.data;
  const Index rows = data.graph.layer_rows, width = encoded_width(data.graph);
  const std::vector<T> whole = found.of_weight(0, rows, false), part = found.of_weight(3, rows, false);
  EXPECT_TRUE(same_bits<T>(std::vector<T>(whole.begin() + 3 * kDim, whole.end()), part));
  for (Index k = 0; k < rows; ++k) {
    EXPECT_NEAR(static_cast<double>(whole[static_cast<std::size_t>(k * kDim + 3)]),
                found.difference(data.weight[static_cast<std::size_t>(k * kDim + 3)]), kDifference<T> * 10)
        << k;
  }
  const std::vector<T> linear = found.of_weight(0, data.graph.number_layers, true);
  for (Index k = 0; k < data.graph.number_layers; ++k) {
    EXPECT_NEAR(static_cast<double>(linear[static_cast<std::size_t>(k * kDim + 5)]),
                found.difference(data.linear[static_cast<std::size_t>(k * kDim + 5)]), kDifference<T> * 10)
        << k;
  }
  std::vector<T> of_x(static_cast<std::size_t>(kRows * kCols), T(77));
  table_under_test<T>().encode_gradient({data.view(found.places), data.map, data.grad.data(), width, nullptr, 0,
                                         data.layers(), kDim, of_x.data(), kCols});
  for (const Index i : {Index{1}, Index{2}, Index{5}}) {
    for (Index j = 0; j < kCols; ++j) {
      const bool is_code = data.graph.columns[static_cast<std::size_t>(j)].codes > 0;
      const double expected = is_code ? 0.0 : found.difference(data.x[Data<T>::at(i, j)]);
      if (std::isnan(data.x[Data<T>::at(i, j)])) continue;
      EXPECT_NEAR(static_cast<double>(of_x[static_cast<std::size_t>(i * kCols + j)]), expected, kDifference<T> * 10)
          << i << ", " << j;
    }
  }
}

}  // namespace
}  // namespace stoop
