// A matrix product under test: operands with padding and canaries, a triple loop to compare with, and slices of it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <vector>

#include "base/memory.hpp"
#include "test_helpers.hpp"

namespace stoop {

inline constexpr GemmForm kForms[] = {GemmForm::nn, GemmForm::nt, GemmForm::tn};

struct Case {
  GemmForm form;
  Index m, n, k;
  Index padding = 0;  // elements between the rows of every matrix
  Index shift = 0;    // elements by which every pointer misses its natural alignment
};

inline std::ostream& operator<<(std::ostream& out, const Case& c) {
  constexpr const char* kNames[] = {"nn", "nt", "tn"};
  return out << kNames[static_cast<int>(c.form)] << " " << c.m << "x" << c.n << "x" << c.k << ", padding " << c.padding
             << ", shift " << c.shift;
}

// A row-major matrix in memory that ends with its last element, so that a sanitizer sees any access beyond it. Padding
// is NaN: read by mistake, it spoils the result.
template <class T>
struct Operand {
  Index rows, cols, ld, shift;
  std::vector<T> memory;

  Operand(Index r, Index c, const Case& layout, std::uint32_t seed)
      : rows(r), cols(c), ld(c + layout.padding), shift(layout.shift) {
    const Index size = rows * cols == 0 ? 0 : (rows - 1) * ld + cols;
    memory.assign(static_cast<std::size_t>(size + shift), kNaN<T>);
    const std::vector<T> values = numbers<T>(rows * cols, seed);
    for (Index i = 0; i < rows * cols; ++i) at(i / cols, i % cols) = values[static_cast<std::size_t>(i)];
  }
  T* data() { return memory.data() + shift; }
  T& at(Index i, Index j) { return memory[static_cast<std::size_t>(shift + i * ld + j)]; }
};

// What computes the product: the kernels under test, unless another is given.
template <class T>
struct GemmKernel {
  void (*gemm)(const GemmArgs<T>&) noexcept = table_under_test<T>().gemm;
  Index (*scratch_elements)(Index m, Index n, Index k) = table_under_test<T>().gemm_scratch_elements;
  T (*round)(T) = [](T x) { return x; };  // of each element of an operand
  bool slice_invariant = true;
};

template <class T>
class Product {
 public:
  explicit Product(const Case& c, const GemmKernel<T>& kernel = {})
      : case_(c),
        kernel_(kernel),
        a_(c.form == GemmForm::tn ? c.k : c.m, c.form == GemmForm::tn ? c.m : c.k, c, 1),
        b_(c.form == GemmForm::nt ? c.n : c.k, c.form == GemmForm::nt ? c.k : c.n, c, 2),
        c_(c.m, c.n, c, 3),
        gate_(c.m, c.n, c, 4),
        bias_(1, c.n, c, 5),
        scratch_size_(kernel_.scratch_elements(c.m, c.n, c.k)),
        scratch_(scratch_size_ + kGuard) {
    std::fill_n(scratch_.data() + scratch_size_, kGuard, kCanary);
    args_.form = c.form;
    args_.m = c.m, args_.n = c.n, args_.k = c.k;
    args_.a = a_.data(), args_.lda = a_.ld;
    args_.b = b_.data(), args_.ldb = b_.ld;
    args_.c = c_.data(), args_.ldc = c_.ld;
    args_.epilogue = Epilogue::none;
    args_.activation = kind_of<Identity>();
    args_.activation_numbers = {0.125};
    args_.scratch = scratch_.data();
  }

  void use_activation(ActivationKind kind, bool with_bias) {
    args_.epilogue = Epilogue::activate;
    args_.activation = kind;
    args_.bias = with_bias ? bias_.data() : nullptr;
  }
  void use_gate(ActivationKind kind) {
    args_.epilogue = Epilogue::gate;
    args_.activation = kind;
    args_.gate = gate_.data(), args_.ld_gate = gate_.ld;
  }

  void set_same_b() { args_.same_b = true; }

  void run() { run_rows(0, case_.m); }
  // The columns [begin, end) of c alone.
  void run_columns(Index begin, Index end) {
    GemmArgs<T> args = args_;
    args.n = end - begin;
    args.b += begin * (case_.form == GemmForm::nt ? args.ldb : 1);
    args.c += begin;
    if (args.bias != nullptr) args.bias += begin;
    if (args.gate != nullptr) args.gate += begin;
    kernel_.gemm(args);
  }
  // The rows [begin, end) of c alone.
  void run_rows(Index begin, Index end) {
    GemmArgs<T> args = args_;
    args.m = end - begin;
    args.a += begin * (case_.form == GemmForm::tn ? 1 : args.lda);
    args.c += begin * args.ldc;
    if (args.gate != nullptr) args.gate += begin * args.ld_gate;
    kernel_.gemm(args);
  }
  // All of c, with the sums of a batch normalisation in the epilogue, and a dropout where there is one.
  void run(const BatchNormArgs<T>& sums, const DropoutArgs<T>* dropout) {
    args_.sums = &sums;
    args_.dropout = dropout;
    run();
    args_.sums = nullptr;
    args_.dropout = nullptr;
  }
  // Computes the rows of c from `row` on, and of these the columns from `column` on. `whole` describes a dropout in the
  // epilogue from the first element of c on.
  void run(const DropoutArgs<T>& whole, Index row, Index rows, Index column, Index columns) {
    GemmArgs<T> args = args_;
    DropoutArgs<T> dropout = whole;
    dropout.output += row * dropout.ld_output + column;
    dropout.mask += row * dropout.ld_mask;
    dropout.column += column;
    args.dropout = &dropout;
    args.m = rows, args.n = columns;
    args.a += row * (case_.form == GemmForm::tn ? 1 : args.lda);
    args.b += column * (case_.form == GemmForm::nt ? args.ldb : 1);
    args.c += row * args.ldc + column;
    if (args.bias != nullptr) args.bias += column;
    if (args.gate != nullptr) args.gate += row * args.ld_gate + column;
    kernel_.gemm(args);
  }
  // All of c by another kernel.
  void run(void (*gemm)(const GemmArgs<T>&) noexcept) { gemm(args_); }

  void clear() { std::fill(c_.memory.begin(), c_.memory.end(), kCanary); }
  const std::vector<T>& memory() const { return c_.memory; }
  const GemmArgs<T>& args() const { return args_; }
  T& a(Index i, Index p) { return case_.form == GemmForm::tn ? a_.at(p, i) : a_.at(i, p); }
  T& b(Index p, Index j) { return case_.form == GemmForm::nt ? b_.at(j, p) : b_.at(p, j); }
  T& c(Index i, Index j) { return c_.at(i, j); }

  bool scratch_end_is_untouched() const {
    const T* end = scratch_.data() + scratch_size_;
    return std::all_of(end, end + kGuard, [](T x) { return x == kCanary; });
  }

  // Compares all of c with a triple loop and everything around it with the canary.
  void expect_right() {
    const Index begin = c_.shift;
    for (Index i = 0; i < static_cast<Index>(c_.memory.size()); ++i) {
      const Index row = (i - begin) / c_.ld, col = (i - begin) % c_.ld;
      if (i < begin || col >= case_.n) {
        ASSERT_EQ(c_.memory[static_cast<std::size_t>(i)], kCanary) << case_ << ": written outside c, at " << i - begin;
      } else {
        expect_element(row, col);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }

 private:
  static constexpr T kCanary = T(1234.5);
  static constexpr Index kGuard = 64;  // elements after the scratch

  void expect_element(Index i, Index j) {
    Wide<T> sum = 0, size = 0;
    if (args_.bias != nullptr) sum = bias_.at(0, j), size = std::abs(sum);
    for (Index p = 0; p < case_.k; ++p) {
      const Wide<T> term = static_cast<Wide<T>>(kernel_.round(a(i, p))) * static_cast<Wide<T>>(kernel_.round(b(p, j)));
      sum += term;
      size += std::abs(term);
    }
    // The bound of any order of summation (Higham 2002, eq. 3.5); activations have slopes up to 1 and add their own.
    const double tolerance = (static_cast<double>(case_.k) * static_cast<double>(size) + 6.0) * kEpsilon<T>;
    const Wide<T> parameter = args_.activation_numbers.of[0];
    Wide<T> want = sum;
    if (args_.epilogue == Epilogue::activate) want = activate<Wide<T>>(args_.activation, sum, parameter);
    if (args_.epilogue == Epilogue::gate) want *= derivative<Wide<T>>(args_.activation, gate_.at(i, j), parameter);
    ASSERT_LE(std::abs(static_cast<double>(c(i, j) - want)), tolerance)
        << case_ << " at " << i << ", " << j << ", epilogue " << static_cast<int>(args_.epilogue) << " "
        << name_of(args_.activation);
  }

  Case case_;
  GemmKernel<T> kernel_;
  Operand<T> a_, b_, c_, gate_, bias_;
  Index scratch_size_;
  AlignedBuffer<T> scratch_;
  GemmArgs<T> args_{};
};

// The sums that a product takes of its result for a batch normalisation have the bits of those taken afterwards, after
// a dropout in the same epilogue if `dropped`. The product is of the last rows of a batch, the first of which may lie
// within a group.
template <class T>
void expect_sums_in_epilogue(const Case& c, bool dropped, const GemmKernel<T>& kernel = {}) {
  Product<T> product(c, kernel);
  const bool forward = c.form == GemmForm::nn;
  if (forward) product.use_activation(kind_of<Tanh>(), true);
  Operand<T> x(c.m, c.n, c, 6), columns(4, c.n, c, 7);
  for (Index j = 0; j < c.n; ++j) columns.at(0, j) += T(2);  // variances
  BatchNormArgs<T> args{};
  args.rows = c.m, args.cols = c.n;
  args.first_row = statistics_group(c.m + 64);
  args.batch_rows = c.m + args.first_row;
  args.input = x.data(), args.ld_input = x.ld;
  args.variance = &columns.at(0, 0), args.mean = &columns.at(1, 0);
  args.gamma = &columns.at(2, 0), args.beta = &columns.at(3, 0);
  args.slope = T(0.25);
  args.ld_partials = c.n + 1;
  std::vector<T> fused(static_cast<std::size_t>(most_statistics_groups(args.batch_rows) * kMomentSums * (c.n + 1)),
                       T(7));
  std::vector<T> alone = fused;
  args.partials = fused.data();
  T* result = product.args().c;
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(c.m * (c.n / 8 + 1)));
  for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = static_cast<std::uint8_t>(i * 37);
  DropoutArgs<T> dropout{};
  dropout.output = result, dropout.ld_output = product.args().ldc;
  dropout.mask = mask.data(), dropout.ld_mask = c.n / 8 + 1;
  dropout.rate = 0.25;
  product.clear();
  product.run(args, dropped ? &dropout : nullptr);
  args.partials = alone.data();
  if (forward) {
    args.input = result, args.ld_input = product.args().ldc;
    table_under_test<T>().batch_norm_moments(args);
  } else {
    args.output = result, args.ld_output = product.args().ldc;
    table_under_test<T>().batch_norm_sums(args);
  }
  EXPECT_TRUE(same_bits<T>(fused, alone)) << c;
  EXPECT_TRUE(std::any_of(alone.begin(), alone.end(), [](T sum) { return sum != T(7); })) << c;
}

// A dropout in the epilogue has the bits of the kernels one after the other: product, activation, dropout; or product,
// dropout, gate. Forward its output may be a matrix of its own. The cuts are those a plan makes: rows anywhere, columns
// at multiples of 16.
template <class T>
void expect_dropout_in_epilogue(const Case& c, Epilogue epilogue, ActivationKind kind, bool own_output,
                                const GemmKernel<T>& kernel = {}) {
  const OpTable<T>& table = table_under_test<T>();
  Product<T> product(c, kernel);
  if (epilogue == Epilogue::activate) product.use_activation(kind, true);
  product.clear();
  product.run();
  if (epilogue == Epilogue::gate) product.use_gate(kind);  // of which the product above knows nothing
  const GemmArgs<T>& g = product.args();
  const std::vector<T> before = product.memory();
  std::vector<T> own(product.memory().size(), T(7));
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(c.m * (c.n / 8 + 9)));
  DropoutArgs<T> dropout{};
  dropout.rows = c.m, dropout.cols = c.n;
  dropout.input = g.c, dropout.ld_input = g.ldc;
  dropout.output = own_output ? own.data() + c.shift : g.c, dropout.ld_output = g.ldc;
  dropout.mask = mask.data(), dropout.ld_mask = c.n / 8 + 9;
  dropout.row = 5, dropout.column = 56;
  dropout.seed = 11;
  dropout.rate = 0.4;
  table.dropout_forward(dropout);
  if (epilogue == Epilogue::gate) {
    table.activation_backward[static_cast<int>(kind)]({c.m, c.n, g.gate, g.ld_gate, g.c, g.ldc, g.activation_numbers});
  }
  const std::vector<T> want = product.memory(), want_own = own;
  EXPECT_TRUE(c.m * c.n < 8 || own_output || !same_bits<T>(want, before)) << c << ": nothing was dropped";
  const auto expect_wanted = [&](const char* cut) {
    EXPECT_TRUE(same_bits<T>(want, product.memory())) << c << ", " << name_of(kind) << ", " << cut;
    EXPECT_TRUE(same_bits<T>(want_own, own)) << c << ", " << name_of(kind) << ", " << cut;
    product.clear();
    std::fill(own.begin(), own.end(), T(7));
  };
  product.clear();
  std::fill(own.begin(), own.end(), T(7));
  product.run(dropout, 0, c.m, 0, c.n);
  expect_wanted("whole");
  if (!kernel.slice_invariant) return;
  const Index row = c.m / 3, column = c.n / 2 / 16 * 16;
  product.run(dropout, 0, row, 0, c.n);
  product.run(dropout, row, c.m - row, 0, c.n);
  expect_wanted("rows");
  if (column > 0) product.run(dropout, 0, c.m, 0, column);
  product.run(dropout, 0, c.m, column, c.n - column);
  expect_wanted("columns");
}

// All that a plan makes of a dropout and a product.
template <class T>
void expect_dropouts_in_epilogue(const Case& c, const GemmKernel<T>& kernel = {}) {
  for (const ActivationKind kind : {kind_of<Identity>(), kind_of<ReLU>(), kind_of<Tanh>()}) {
    for (const bool own_output : {false, true}) {
      expect_dropout_in_epilogue(c, Epilogue::activate, kind, own_output, kernel);
    }
    expect_dropout_in_epilogue(c, Epilogue::gate, kind, false, kernel);
  }
  expect_dropout_in_epilogue(c, Epilogue::none, kind_of<Identity>(), false, kernel);
}

// Every cut of the rows in two, and row by row, gives the bits of the whole; so do cuts of the columns.
template <class T>
void expect_slice_invariant(Product<T>& product, const Case& c) {
  product.clear();
  product.run();
  const std::vector<T> whole = product.memory();
  const auto expect_whole = [&](Index split) {
    ASSERT_TRUE(same_bits<T>(whole, product.memory())) << c << ", rows cut at " << split;
  };
  for (Index split = 1; split < c.m; ++split) {
    product.clear();
    product.run_rows(0, split);
    product.run_rows(split, c.m);
    expect_whole(split);
  }
  product.clear();
  for (Index i = 0; i < c.m; ++i) product.run_rows(i, i + 1);
  expect_whole(c.m);
  for (Index split = 1; split < c.n; split += 7) {
    product.clear();
    product.run_columns(0, split);
    product.run_columns(split, c.n);
    ASSERT_TRUE(same_bits<T>(whole, product.memory())) << c << ", columns cut at " << split;
  }
}

}  // namespace stoop
