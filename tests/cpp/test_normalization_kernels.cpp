// Batch normalisation, column sums and layer normalisation of STOOP_ISA against plain loops in a wider
// type: rows around the groups in which statistics are merged, columns around vectors, chunks and strips, and a matrix
// large enough for the text that asks for its lines in advance.
#include <gtest/gtest.h>

#include "test_helpers.hpp"

namespace stoop {
namespace {

template <class T>
class NormalizationKernels : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(NormalizationKernels, ElementTypes);

struct Size {
  Index rows, cols, ld;
};
constexpr Size kSizes[] = {{2, 1, 1},       {5, 3, 4},       {63, 17, 17},    {64, 37, 40},    {65, 64, 64},
                           {128, 65, 70},   {200, 131, 131}, {130, 160, 176}, {1400, 96, 800},  // beyond 4 MB
                           {1100, 530, 530}};

constexpr double kOffset = 100.0;  // of the input's mean, in units of its half range

template <class T>
struct BatchNormData {
  Size size;
  std::vector<T> input, grad, gamma, beta;

  explicit BatchNormData(Size s)
      : size(s),
        input(numbers<T>(s.rows * s.ld, 1)),
        grad(numbers<T>(s.rows * s.ld, 2)),
        gamma(numbers<T>(s.cols, 3)),
        beta(numbers<T>(s.cols, 4)) {
    for (T& x : input) x += static_cast<T>(kOffset);
  }
};

template <class T>
struct BatchNormResult {
  std::vector<T> output, grad, mean, variance, grad_gamma, grad_beta;
};

// Forward and backward, each kernel on all slices before the next: rows [row_cuts[i], row_cuts[i + 1]) and columns alike.
template <class T>
BatchNormResult<T> run(const BatchNormData<T>& data, const std::vector<Index>& row_cuts,
                       const std::vector<Index>& column_cuts) {
  const Index rows = data.size.rows, cols = data.size.cols, ld = data.size.ld;
  const auto columns = static_cast<std::size_t>(cols);
  BatchNormResult<T> result{std::vector<T>(data.input.size(), T(77)),
                            data.grad,
                            std::vector<T>(columns),
                            std::vector<T>(columns),
                            std::vector<T>(columns),
                            std::vector<T>(columns)};
  const Index stride = cols + 3;
  std::vector<T> partials(static_cast<std::size_t>(most_statistics_groups(rows) * kMomentSums * stride), T(77));
  using Kernel = void (*)(const BatchNormArgs<T>&) noexcept;
  const auto on_all_slices = [&](Kernel kernel, std::vector<T>& output) {
    for (std::size_t r = 0; r + 1 < row_cuts.size(); ++r) {
      for (std::size_t c = 0; c + 1 < column_cuts.size(); ++c) {
        const Index row = row_cuts[r], first = column_cuts[c];
        BatchNormArgs<T> args{};
        args.rows = row_cuts[r + 1] - row, args.cols = column_cuts[c + 1] - first;
        args.first_row = row, args.batch_rows = rows;
        args.input = data.input.data() + row * ld + first, args.ld_input = ld;
        args.output = output.data() + row * ld + first, args.ld_output = ld;
        args.gamma = data.gamma.data() + first, args.beta = data.beta.data() + first;
        args.mean = result.mean.data() + first, args.variance = result.variance.data() + first;
        args.partials = partials.data() + first, args.ld_partials = stride;
        args.grad_gamma = result.grad_gamma.data() + first, args.grad_beta = result.grad_beta.data() + first;
        args.eps = T(1e-5);
        kernel(args);
      }
    }
  };
  const OpTable<T>& table = table_under_test<T>();
  on_all_slices(table.batch_norm_moments, result.output);
  on_all_slices(table.batch_norm_forward, result.output);
  on_all_slices(table.batch_norm_sums, result.grad);
  on_all_slices(table.batch_norm_backward, result.grad);
  return result;
}

template <class T>
BatchNormResult<T> run(const BatchNormData<T>& data) {
  return run(data, {0, data.size.rows}, {0, data.size.cols});
}

// One column in a wider type.
template <class T>
void expect_column(const BatchNormData<T>& data, const BatchNormResult<T>& got, Index j) {
  using W = Wide<T>;
  const auto [rows, cols, ld] = data.size;
  const auto at = [&, stride = ld](const std::vector<T>& a, Index i) {
    return static_cast<W>(a[static_cast<std::size_t>(i * stride + j)]);
  };
  const auto column = static_cast<std::size_t>(j);
  const W n = static_cast<W>(rows), gamma = data.gamma[column], beta = data.beta[column];
  W mean = 0, variance = 0, grad_beta = 0, grad_gamma = 0;
  for (Index i = 0; i < rows; ++i) mean += at(data.input, i) / n;
  for (Index i = 0; i < rows; ++i) variance += (at(data.input, i) - mean) * (at(data.input, i) - mean) / n;
  const W deviation = std::sqrt(variance + W(1e-5));
  for (Index i = 0; i < rows; ++i) {
    grad_beta += at(data.grad, i);
    grad_gamma += at(data.grad, i) * (at(data.input, i) - mean) / deviation;
  }
  // The mean is rounded to kOffset * eps, which shifts all normalised values of the column alike.
  const double tolerance = 16 * kOffset * kEpsilon<T> / static_cast<double>(deviation);
  EXPECT_NEAR(static_cast<double>(got.mean[column]), static_cast<double>(mean), 4 * kOffset * kEpsilon<T>);
  EXPECT_NEAR(static_cast<double>(got.variance[column]), static_cast<double>(variance), 64 * kEpsilon<T>);
  EXPECT_NEAR(static_cast<double>(got.grad_beta[column]), static_cast<double>(grad_beta),
              kEpsilon<T> * 4 * double(rows));
  EXPECT_NEAR(static_cast<double>(got.grad_gamma[column]), static_cast<double>(grad_gamma), tolerance * double(rows));
  for (Index i = 0; i < rows; ++i) {
    const W normalised = (at(data.input, i) - mean) / deviation;
    const W dx = gamma / deviation * (at(data.grad, i) - grad_beta / n - normalised * grad_gamma / n);
    EXPECT_NEAR(static_cast<double>(at(got.output, i)), static_cast<double>(gamma * normalised + beta), tolerance);
    EXPECT_NEAR(static_cast<double>(at(got.grad, i)), static_cast<double>(dx), 4 * tolerance / double(deviation));
  }
}

TYPED_TEST(NormalizationKernels, BatchNormMatchesPlainLoops) {
  for (const Size size : kSizes) {
    SCOPED_TRACE(testing::Message() << size.rows << " x " << size.cols);
    const BatchNormData<TypeParam> data(size);
    const auto result = run(data);
    for (Index j = 0; j < size.cols; ++j) expect_column(data, result, j);
  }
}

TYPED_TEST(NormalizationKernels, BatchNormDoesNotDependOnTheSlice) {
  for (const Size size : kSizes) {
    if (size.cols < 3) continue;
    SCOPED_TRACE(testing::Message() << size.rows << " x " << size.cols);
    const BatchNormData<TypeParam> data(size);
    const Index group = statistics_group(size.rows), middle = size.rows / group / 2 * group;
    const auto whole = run(data);
    const auto parts = run(data, {0, middle, size.rows}, {0, 1, size.cols / 2, size.cols});
    // Within a group as well, where one thread takes the rows one after the other.
    const auto uneven = run(data, {0, 1, size.rows / 2, size.rows}, {0, size.cols});
    using Values = std::span<const TypeParam>;
    for (const auto& other : {parts, uneven}) {
      EXPECT_TRUE(same_bits(Values(whole.output), Values(other.output)));
      EXPECT_TRUE(same_bits(Values(whole.grad), Values(other.grad)));
      EXPECT_TRUE(same_bits(Values(whole.mean), Values(other.mean)));
      EXPECT_TRUE(same_bits(Values(whole.variance), Values(other.variance)));
      EXPECT_TRUE(same_bits(Values(whole.grad_gamma), Values(other.grad_gamma)));
      EXPECT_TRUE(same_bits(Values(whole.grad_beta), Values(other.grad_beta)));
    }
  }
}

// The sums of a group are of differences from its first row. If that is far from the others, so are they all from it,
// and what is left of their squares has n times the rounding error, for a group of n rows.
TYPED_TEST(NormalizationKernels, BatchNormMomentsWithAnOutlierFirst) {
  using T = TypeParam;
  for (const Index rows : {8, 100, 1100}) {
    BatchNormData<T> data({rows, 1, 1});
    for (Index i = 0; i < rows; i += statistics_group(rows)) data.input[static_cast<std::size_t>(i)] = T(1e5);
    const auto result = run(data);
    Wide<T> mean = 0, variance = 0;
    for (const T x : data.input) mean += Wide<T>(x) / static_cast<Wide<T>>(rows);
    for (const T x : data.input) variance += (Wide<T>(x) - mean) * (Wide<T>(x) - mean) / static_cast<Wide<T>>(rows);
    const double n = static_cast<double>(statistics_group(rows));
    EXPECT_NEAR(static_cast<double>(result.mean[0]), static_cast<double>(mean), 1e5 * kEpsilon<T>) << rows;
    EXPECT_NEAR(static_cast<double>(result.variance[0] / variance), 1.0, 2 * n * kEpsilon<T>) << rows;
  }
}

// Groups of 64 rows, runs of 64 groups, and the sums of 245 runs: half an epsilon for each addition on the way.
TYPED_TEST(NormalizationKernels, BatchNormSumsOfManyRows) {
  using T = TypeParam;
  BatchNormData<T> data({1'000'000, 1, 1});
  for (T& g : data.grad) g = T(0.1);
  const auto result = run(data);
  const double rows = static_cast<double>(data.size.rows), want = rows * static_cast<double>(T(0.1));
  EXPECT_NEAR(static_cast<double>(result.grad_beta[0]), want, 187 * kEpsilon<T> * want);
}

// Both add each column from the first row to the last.
TYPED_TEST(NormalizationKernels, ColumnsAreAddedInOrder) {
  using T = TypeParam;
  for (const auto& [rows, cols, ld] : kSizes) {
    SCOPED_TRACE(testing::Message() << rows << " x " << cols);
    const std::vector<T> a = numbers<T>(rows * ld, 5), grad = numbers<T>(rows * ld, 6);
    std::vector<T> statistics;
    for (Index i = 0; i < rows; ++i) statistics.insert(statistics.end(), {T(0.5), T(0.5), T(0), T(1)});
    std::vector<T> sum(static_cast<std::size_t>(cols)), gamma(sum.size());
    table_under_test<T>().column_sum({rows, cols, a.data(), ld, sum.data()});
    LayerNormArgs<T> args{};
    args.rows = rows, args.cols = cols;
    args.input = a.data(), args.ld_input = ld;
    args.grad = grad.data(), args.ld_grad = ld;
    args.statistics = statistics.data(), args.ld_statistics = kRowStatistics;
    args.grad_gamma = gamma.data();
    table_under_test<T>().layer_norm_gamma(args);
    for (Index j = 0; j < cols; ++j) {
      T want = 0;
      Wide<T> want_gamma = 0;
      for (Index i = 0; i < rows; ++i) {
        const auto place = static_cast<std::size_t>(i * ld + j);
        want += a[place];
        want_gamma += Wide<T>(grad[place]) * (Wide<T>(a[place]) - Wide<T>(0.5)) * Wide<T>(0.5);
      }
      EXPECT_EQ(sum[static_cast<std::size_t>(j)], want);
      EXPECT_NEAR(double(gamma[static_cast<std::size_t>(j)]), double(want_gamma), kEpsilon<T> * double(rows));
    }
  }
}

template <class T>
struct LayerNormData {
  Index rows, cols, ld;
  std::vector<T> input, grad, gamma, beta;
  std::vector<T> output, grad_input, statistics;

  LayerNormData(Index r, Index c)
      : rows(r),
        cols(c),
        ld(c + 3),
        input(numbers<T>(r * ld, 1)),
        grad(numbers<T>(r * ld, 2)),
        gamma(numbers<T>(c, 3)),
        beta(numbers<T>(c, 4)),
        output(input.size(), T(77)),
        grad_input(output),
        statistics(static_cast<std::size_t>(kRowStatistics * r)) {}

  // The rows [begin, end), forward and backward.
  void run(Index begin, Index end) {
    LayerNormArgs<T> args{};
    args.rows = end - begin, args.cols = cols;
    args.input = input.data() + begin * ld, args.ld_input = ld;
    args.gamma = gamma.data(), args.beta = beta.data();
    args.output = output.data() + begin * ld, args.ld_output = ld;
    args.statistics = statistics.data() + kRowStatistics * begin, args.ld_statistics = kRowStatistics;
    args.eps = T(0.01);
    table_under_test<T>().layer_norm_forward(args);
    args.grad = grad.data() + begin * ld, args.ld_grad = ld;
    args.output = grad_input.data() + begin * ld;
    table_under_test<T>().layer_norm_backward(args);
  }
  Wide<T> at(const std::vector<T>& matrix, Index i, Index j) const {
    return matrix[static_cast<std::size_t>(i * ld + j)];
  }
  void expect_row(Index i) const {
    const Wide<T> n = static_cast<Wide<T>>(cols);
    Wide<T> mean = 0, variance = 0, mean_grad = 0, slope = 0;
    for (Index j = 0; j < cols; ++j) mean += at(input, i, j) / n;
    for (Index j = 0; j < cols; ++j) variance += (at(input, i, j) - mean) * (at(input, i, j) - mean) / n;
    const Wide<T> inverse = 1 / std::sqrt(variance + Wide<T>(T(0.01)));
    const auto xhat = [&](Index j) { return (at(input, i, j) - mean) * inverse; };
    const auto scaled = [&](Index j) { return at(grad, i, j) * gamma[static_cast<std::size_t>(j)]; };
    for (Index j = 0; j < cols; ++j) mean_grad += scaled(j) / n, slope += scaled(j) * xhat(j) / n;
    const double tolerance = 4.0 * static_cast<double>(inverse) * (8.0 + static_cast<double>(n)) * kEpsilon<T>;
    for (Index j = 0; j < cols; ++j) {
      const auto column = static_cast<std::size_t>(j);
      EXPECT_NEAR(double(at(output, i, j)), double(xhat(j) * gamma[column] + beta[column]), tolerance)
          << i << ", " << j;
      const Wide<T> want = (scaled(j) - mean_grad - xhat(j) * slope) * inverse;
      EXPECT_NEAR(double(at(grad_input, i, j)), double(want), tolerance) << i << ", " << j;
    }
    for (Index j = cols; j < ld; ++j) {
      EXPECT_EQ(at(output, i, j), Wide<T>(77)) << i << ", " << j;
      EXPECT_EQ(at(grad_input, i, j), Wide<T>(77)) << i << ", " << j;
    }
  }
};

// Several rows are normalised together, unless they are wide: neither changes the bits of a row.
TYPED_TEST(NormalizationKernels, LayerNormOfAnySlice) {
  using T = TypeParam;
  constexpr Index kRows = 11;
  for (const Index cols : {1, 5, 16, 37, 64, 131, 530}) {
    SCOPED_TRACE(testing::Message() << cols << " columns");
    LayerNormData<T> whole(kRows, cols);
    whole.run(0, kRows);
    for (Index i = 0; i < kRows; ++i) whole.expect_row(i);
    for (Index cut = 1; cut < kRows; ++cut) {
      LayerNormData<T> cut_in_two(kRows, cols);
      cut_in_two.run(0, cut);
      cut_in_two.run(cut, kRows);
      EXPECT_TRUE(same_bits<T>(cut_in_two.output, whole.output)) << cut;
      EXPECT_TRUE(same_bits<T>(cut_in_two.grad_input, whole.grad_input)) << cut;
      EXPECT_TRUE(same_bits<T>(cut_in_two.statistics, whole.statistics)) << cut;
    }
  }
}

}  // namespace
}  // namespace stoop
