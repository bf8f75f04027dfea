// Products of both providers against a triple loop, their epilogues, and what determinism rests on: a row of the result
// has the same bits whichever rows share the call with it.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "cpu/gemm_blas.hpp"
#include "plan/arena.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

constexpr GemmForm kForms[] = {GemmForm::nn, GemmForm::nt, GemmForm::tn};

struct Case {
  GemmForm form;
  Index m, n, k;
  Index padding = 0;  // elements between the rows of every matrix
  Index shift = 0;    // elements by which every pointer misses its natural alignment
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  constexpr const char* kNames[] = {"nn", "nt", "tn"};
  return out << kNames[static_cast<int>(c.form)] << " " << c.m << "x" << c.n << "x" << c.k << ", padding " << c.padding
             << ", shift " << c.shift;
}

// A row-major matrix in memory that ends with its last element, so that a sanitizer sees any access behind it. Padding
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

template <class T>
class Product {
 public:
  explicit Product(const Case& c)
      : case_(c),
        a_(c.form == GemmForm::tn ? c.k : c.m, c.form == GemmForm::tn ? c.m : c.k, c, 1),
        b_(c.form == GemmForm::nt ? c.n : c.k, c.form == GemmForm::nt ? c.k : c.n, c, 2),
        c_(c.m, c.n, c, 3),
        gate_(c.m, c.n, c, 4),
        bias_(1, c.n, c, 5),
        scratch_size_(table_under_test<T>().gemm_scratch_elements(c.m, c.n, c.k)),
        scratch_(scratch_size_ + kGuard) {
    std::fill_n(scratch_.data() + scratch_size_, kGuard, kCanary);
    args_.form = c.form;
    args_.m = c.m, args_.n = c.n, args_.k = c.k;
    args_.a = a_.data(), args_.lda = a_.ld;
    args_.b = b_.data(), args_.ldb = b_.ld;
    args_.c = c_.data(), args_.ldc = c_.ld;
    args_.epilogue = Epilogue::none;
    args_.activation = ActivationKind::identity;
    args_.activation_parameter = T(0.125);
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

  void run_native() { run_native(0, case_.m); }
  // The columns [begin, end) of c alone.
  void run_native_columns(Index begin, Index end) {
    GemmArgs<T> args = args_;
    args.n = end - begin;
    args.b += begin * (case_.form == GemmForm::nt ? args.ldb : 1);
    args.c += begin;
    if (args.bias != nullptr) args.bias += begin;
    if (args.gate != nullptr) args.gate += begin;
    table_under_test<T>().gemm(args);
  }
  // The rows [begin, end) of c alone.
  void run_native(Index begin, Index end) {
    GemmArgs<T> args = args_;
    args.m = end - begin;
    args.a += begin * (case_.form == GemmForm::tn ? 1 : args.lda);
    args.c += begin * args.ldc;
    if (args.gate != nullptr) args.gate += begin * args.ld_gate;
    table_under_test<T>().gemm(args);
  }
  void run_blas() {
    blas_gemm(args_);
    table_under_test<T>().gemm_epilogue(args_);
  }

  void clear() { std::fill(c_.memory.begin(), c_.memory.end(), kCanary); }
  const std::vector<T>& memory() const { return c_.memory; }
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
  static constexpr Index kGuard = 64;  // elements behind the scratch

  void expect_element(Index i, Index j) {
    Wide<T> sum = 0, size = 0;
    if (args_.bias != nullptr) sum = bias_.at(0, j), size = std::abs(sum);
    for (Index p = 0; p < case_.k; ++p) {
      const Wide<T> term = static_cast<Wide<T>>(a(i, p)) * static_cast<Wide<T>>(b(p, j));
      sum += term;
      size += std::abs(term);
    }
    // The bound of any order of summation (Higham 2002, eq. 3.5); activations have slopes up to 1 and add their own.
    const double tolerance = (static_cast<double>(case_.k) * static_cast<double>(size) + 6.0) * kEps<T>;
    const Wide<T> parameter = args_.activation_parameter;
    Wide<T> want = sum;
    if (args_.epilogue == Epilogue::activate) want = activate<Wide<T>>(args_.activation, sum, parameter);
    if (args_.epilogue == Epilogue::gate) want *= derivative<Wide<T>>(args_.activation, gate_.at(i, j), parameter);
    ASSERT_LE(std::abs(static_cast<double>(c(i, j) - want)), tolerance)
        << case_ << " at " << i << ", " << j << ", epilogue " << static_cast<int>(args_.epilogue) << " "
        << name_of(args_.activation);
  }

  Case case_;
  Operand<T> a_, b_, c_, gate_, bias_;
  Index scratch_size_;
  AlignedBuffer<T> scratch_;
  GemmArgs<T> args_{};
};

template <class T>
class Gemm : public ::testing::Test {
 protected:
  static void expect_native(const Case& c) {
    Product<T> product(c);
    product.clear();
    product.run_native();
    product.expect_right();
  }
};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Gemm, ElementTypes);

TYPED_TEST(Gemm, MatchesATripleLoopAroundTileEdges) {
  constexpr Index kSizes[] = {1, 2, 7, 8, 9, 13, 48, 49, 65};
  for (const GemmForm form : kForms) {
    for (const Index m : kSizes) {
      for (const Index n : kSizes) {
        for (const Index k : kSizes) {
          TestFixture::expect_native({form, m, n, k});
          TestFixture::expect_native({form, m, n, k, 5, 1});
          if (this->HasFatalFailure()) return;
        }
      }
    }
  }
}

// A block has at most 512 p's (256 with AVX2).
TYPED_TEST(Gemm, SeveralBlocksOfK) {
  for (const GemmForm form : kForms) {
    for (const Index k : {255, 256, 257, 511, 512, 513, 700, 1025}) {
      TestFixture::expect_native({form, 9, 50, k});
      TestFixture::expect_native({form, 1, 3, k, 3, 1});
      if (this->HasFatalFailure()) return;
    }
  }
}

// Operands are copied: b from some rows of a and some 100 KiB on, while the first tile of a panel is computed; a of
// form tn with many columns of b. The copy has several panels, whole and ragged, and several blocks of k.
TYPED_TEST(Gemm, PackedOperands) {
  for (const GemmForm form : kForms) {
    TestFixture::expect_native({form, 65, 200, 300});
    TestFixture::expect_native({form, 33, 209, 270, 700, 1});
    TestFixture::expect_native({form, 15, 17, 258, 2000, 3});
    TestFixture::expect_native({form, 16, 3, 600, 509, 1});
    TestFixture::expect_native({form, 9, 97, 1030, 64});
    TestFixture::expect_native({form, 37, 1, 40, 4096, 0});
    if (this->HasFatalFailure()) return;
  }
}

// A block has at most 512 rows; every block has the gate, the bias and the copies of its own rows.
TYPED_TEST(Gemm, SeveralBlocksOfRows) {
  for (const GemmForm form : kForms) {
    for (const Case& c : {Case{form, 512, 5, 3}, Case{form, 513, 19, 30, 3, 1}, Case{form, 1030, 33, 11}}) {
      Product<TypeParam> activated(c), gated(c);
      activated.use_activation(ActivationKind::tanh, true);
      gated.use_gate(ActivationKind::sigmoid);
      for (Product<TypeParam>* product : {&activated, &gated}) {
        product->clear();
        product->run_native();
        product->expect_right();
      }
      if (this->HasFatalFailure()) return;
    }
    TestFixture::expect_native({form, 514, 130, 70, 200});
  }
}

// The scratch that a product asks for is enough for it: what lies behind stays as it was.
TYPED_TEST(Gemm, ScratchIsEnough) {
  for (const GemmForm form : kForms) {
    for (const Case& c : {Case{form, 513, 210, 600}, Case{form, 7, 200, 33, 900}, Case{form, 1, 49, 5}}) {
      Product<TypeParam> product(c);
      product.clear();
      product.run_native();
      EXPECT_TRUE(product.scratch_end_is_untouched()) << c;
    }
  }
}

TYPED_TEST(Gemm, NothingIsWrittenWithoutRowsOrColumns) {
  for (const GemmForm form : kForms) {
    for (const Case& c : {Case{form, 0, 5, 3}, Case{form, 5, 0, 3, 4}, Case{form, 0, 0, 300}})
      TestFixture::expect_native(c);
  }
}

TYPED_TEST(Gemm, EveryEpilogue) {
  for (const GemmForm form : kForms) {
    for (const ActivationKind kind : kActivations) {
      for (const Case& c : {Case{form, 5, 7, 3}, Case{form, 13, 65, 300, 3, 1}}) {
        for (const bool with_bias : {false, true}) {
          Product<TypeParam> product(c);
          product.use_activation(kind, with_bias);
          product.clear();
          product.run_native();
          product.expect_right();
        }
        Product<TypeParam> product(c);
        product.use_gate(kind);
        product.clear();
        product.run_native();
        product.expect_right();
        if (this->HasFatalFailure()) return;
      }
    }
  }
}

TYPED_TEST(Gemm, OneRow) {
  for (const GemmForm form : kForms) {
    for (const Index n : {1, 15, 16, 17, 384, 385, 1030}) {
      for (const Index k : {1, 31, 32, 33, 200}) {
        Product<TypeParam> relu({form, 1, n, k}), tanh({form, 1, n, k, 3, 1});
        relu.use_activation(ActivationKind::relu, true);
        tanh.use_activation(ActivationKind::tanh, false);
        for (Product<TypeParam>* product : {&relu, &tanh}) {
          product->clear();
          product->run_native();
          product->expect_right();
        }
        if (this->HasFatalFailure()) return;
      }
    }
  }
}

TYPED_TEST(Gemm, NaNSurvivesTheFusedReLU) {
  Product<TypeParam> product({GemmForm::nn, 5, 37, 300});
  product.use_activation(ActivationKind::relu, true);
  product.a(2, 7) = kNaN<TypeParam>;
  product.run_native();
  for (Index i = 0; i < 5; ++i) {
    for (Index j = 0; j < 37; ++j) EXPECT_EQ(std::isnan(product.c(i, j)), i == 2) << i << ", " << j;
  }
}

// Every cut of the rows in two, and row by row, gives the bits of the whole; so do cuts of the columns.
template <class T>
void expect_slice_invariant(Product<T>& product, const Case& c) {
  product.clear();
  product.run_native();
  const std::vector<T> whole = product.memory();
  const auto expect_whole = [&](Index split) {
    ASSERT_TRUE(same_bits<T>(whole, product.memory())) << c << ", rows cut at " << split;
  };
  for (Index split = 1; split < c.m; ++split) {
    product.clear();
    product.run_native(0, split);
    product.run_native(split, c.m);
    expect_whole(split);
  }
  product.clear();
  for (Index i = 0; i < c.m; ++i) product.run_native(i, i + 1);
  expect_whole(c.m);
  for (Index split = 1; split < c.n; split += 7) {
    product.clear();
    product.run_native_columns(0, split);
    product.run_native_columns(split, c.n);
    ASSERT_TRUE(same_bits<T>(whole, product.memory())) << c << ", columns cut at " << split;
  }
}

TYPED_TEST(Gemm, BitsDoNotDependOnTheSlice) {
  for (const GemmForm form : kForms) {
    // The second is packed when whole and not packed in small slices; the fourth has several blocks of rows when whole;
    // a row of the last alone has several of its wide tiles and of its short blocks of k.
    for (const Case& c : {Case{form, 41, 53, 70}, Case{form, 67, 203, 300, 200}, Case{form, 17, 3, 600, 1, 1},
                          Case{form, 515, 3, 2}, Case{form, 2, 903, 70, 1, 1}}) {
      Product<TypeParam> plain(c);
      expect_slice_invariant(plain, c);
      for (const ActivationKind kind : {ActivationKind::relu, ActivationKind::tanh, ActivationKind::sigmoid}) {
        Product<TypeParam> activated(c), gated(c);
        activated.use_activation(kind, true);
        expect_slice_invariant(activated, c);
        gated.use_gate(kind);
        expect_slice_invariant(gated, c);
      }
      if (this->HasFatalFailure()) return;
    }
  }
}

TYPED_TEST(Gemm, BlasWithTheSeparateEpilogueAgrees) {
  if (!blas_available()) GTEST_SKIP() << "no CBLAS: " << load_blas().error;
  for (const GemmForm form : kForms) {
    for (const ActivationKind kind : kActivations) {
      for (const Case& c : {Case{form, 1, 1, 1}, Case{form, 9, 49, 13, 3, 1}, Case{form, 65, 33, 300, 1}}) {
        Product<TypeParam> activated(c), gated(c);
        activated.use_activation(kind, true);
        gated.use_gate(kind);
        for (Product<TypeParam>* product : {&activated, &gated}) {
          product->clear();
          product->run_blas();
          product->expect_right();
        }
        if (this->HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace stoop
