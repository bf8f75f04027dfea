// Products of both providers against a triple loop, their epilogues, and what determinism rests on: a row of the result
// has the same bits whichever rows share the call with it.
#include <gtest/gtest.h>

#include "cpu/gemm_blas.hpp"
#include "gemm_product.hpp"

namespace stoop {
namespace {

template <class T>
class Gemm : public ::testing::Test {
 protected:
  static void expect_native(const Case& c) {
    Product<T> product(c);
    product.clear();
    product.run();
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
      activated.use_activation(kind_of<Tanh>(), true);
      gated.use_gate(kind_of<Sigmoid>());
      for (Product<TypeParam>* product : {&activated, &gated}) {
        product->clear();
        product->run();
        product->expect_right();
      }
      if (this->HasFatalFailure()) return;
    }
    TestFixture::expect_native({form, 514, 130, 70, 200});
  }
}

// They are computed as their transposes, some in several blocks of rows or of k; slices of few rows are not.
TYPED_TEST(Gemm, WeightGradientsOfFewColumns) {
  constexpr GemmForm form = GemmForm::tn;
  for (const Case& c :
       {Case{form, 64, 1, 40}, Case{form, 33, 2, 129, 5, 1}, Case{form, 16, 3, 300}, Case{form, 515, 10, 600, 3},
        Case{form, 1030, 1, 9}, Case{form, 100, 17, 1030, 1, 1}, Case{form, 131, 64, 513}}) {
    Product<TypeParam> product(c);
    product.clear();
    product.run();
    product.expect_right();
    EXPECT_TRUE(product.scratch_end_is_untouched()) << c;
    expect_slice_invariant(product, c);
    if (this->HasFatalFailure()) return;
  }
}

// The scratch that a product asks for is enough for it: what lies behind stays as it was.
TYPED_TEST(Gemm, ScratchIsEnough) {
  for (const GemmForm form : kForms) {
    for (const Case& c : {Case{form, 513, 210, 600}, Case{form, 7, 200, 33, 900}, Case{form, 1, 49, 5}}) {
      Product<TypeParam> product(c);
      product.clear();
      product.run();
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
          product.run();
          product.expect_right();
        }
        Product<TypeParam> product(c);
        product.use_gate(kind);
        product.clear();
        product.run();
        product.expect_right();
        if (this->HasFatalFailure()) return;
      }
    }
  }
}

TYPED_TEST(Gemm, SumsOfABatchNormalisation) {
  for (const GemmForm form : {GemmForm::nn, GemmForm::nt}) {
    for (const Case& c :
         {Case{form, 1, 1, 1}, Case{form, 1, 200, 5}, Case{form, 7, 17, 3}, Case{form, 13, 65, 300, 3, 1},
          Case{form, 128, 128, 64}, Case{form, 530, 50, 700, 2}, Case{form, 1100, 49, 9}}) {
      for (const bool dropped : {false, true}) expect_sums_in_epilogue<TypeParam>(c, dropped);
    }
  }
}

TYPED_TEST(Gemm, Dropout) {
  for (const GemmForm form : kForms) {
    for (const Case& c :
         {Case{form, 1, 1, 1}, Case{form, 1, 400, 40}, Case{form, 7, 17, 3}, Case{form, 13, 65, 600, 3, 1},
          Case{form, 64, 130, 70}, Case{form, 530, 50, 20, 2}, Case{form, 33, 209, 270, 700, 1}}) {
      expect_dropouts_in_epilogue<TypeParam>(c);
    }
  }
}

TYPED_TEST(Gemm, OneRow) {
  for (const GemmForm form : kForms) {
    for (const Index n : {1, 15, 16, 17, 384, 385, 1030}) {
      for (const Index k : {1, 31, 32, 33, 200}) {
        Product<TypeParam> relu({form, 1, n, k}), tanh({form, 1, n, k, 3, 1});
        relu.use_activation(kind_of<ReLU>(), true);
        tanh.use_activation(kind_of<Tanh>(), false);
        for (Product<TypeParam>* product : {&relu, &tanh}) {
          product->clear();
          product->run();
          product->expect_right();
        }
        if (this->HasFatalFailure()) return;
      }
    }
  }
}

TYPED_TEST(Gemm, NaNSurvivesTheFusedReLU) {
  Product<TypeParam> product({GemmForm::nn, 5, 37, 300});
  product.use_activation(kind_of<ReLU>(), true);
  product.a(2, 7) = kNaN<TypeParam>;
  product.run();
  for (Index i = 0; i < 5; ++i) {
    for (Index j = 0; j < 37; ++j) EXPECT_EQ(std::isnan(product.c(i, j)), i == 2) << i << ", " << j;
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
      for (const ActivationKind kind : {kind_of<ReLU>(), kind_of<Tanh>(), kind_of<Sigmoid>()}) {
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

template <class T>
void blas_with_epilogue(const GemmArgs<T>& args) noexcept {
  blas_gemm(args);
  table_under_test<T>().gemm_epilogue(args);
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
          product->run(blas_with_epilogue<TypeParam>);
          product->expect_right();
        }
        if (this->HasFatalFailure()) return;
      }
    }
    if (form != GemmForm::tn) {
      expect_sums_in_epilogue<TypeParam>({form, 65, 33, 300, 1}, true, {.gemm = blas_with_epilogue<TypeParam>});
    }
    expect_dropouts_in_epilogue<TypeParam>({form, 65, 83, 300, 1},
                                           {.gemm = blas_with_epilogue<TypeParam>, .slice_invariant = false});
  }
}

}  // namespace
}  // namespace stoop
