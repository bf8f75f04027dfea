// The CBLAS loader and its products. STOOP_BLAS names the library; without it the system's are tried.
#include "cpu/gemm_blas.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "test_environment.hpp"

extern char** environ;

namespace stoop {
namespace {

std::vector<std::string> environment() {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) all.emplace_back(*entry);
  return all;
}

TEST(OpenBlas, AMissingFileIsReported) {
  const BlasLibrary library = open_blas("/no/such/folder/libblas.so");
  EXPECT_FALSE(library.info.loaded);
  EXPECT_EQ(library.info.path, "");
  EXPECT_NE(library.info.error.find("/no/such/folder/libblas.so"), std::string::npos) << library.info.error;
}

TEST(OpenBlas, AnEmptyFolderIsReported) {
  const std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / "stoop_no_blas";
  std::filesystem::create_directories(folder);
  const BlasLibrary library = open_blas(folder.string());
  std::filesystem::remove_all(folder);
  EXPECT_FALSE(library.info.loaded);
  EXPECT_NE(library.info.error.find("stoop_no_blas"), std::string::npos) << library.info.error;
}

TEST(OpenBlas, ALibraryWithoutCblasIsReported) {
#if defined(__linux__)
  const BlasLibrary library = open_blas("libm.so.6");
  EXPECT_FALSE(library.info.loaded);
  EXPECT_EQ(library.sgemm, nullptr);
  EXPECT_NE(library.info.error.find("cblas_sgemm"), std::string::npos) << library.info.error;
#endif
}

TEST(FindBlas, AnExplicitPathThatFailsIsNotReplacedByAnother) {
  const BlasLibrary library = find_blas("/no/such/libblas.so", ::getenv("STOOP_BLAS") ? ::getenv("STOOP_BLAS") : "");
  EXPECT_FALSE(library.info.loaded);
  EXPECT_EQ(library.info.error.rfind("[STOOP_BLAS] ", 0), 0u) << library.info.error;
}

// Runs before anything else of this file has loaded the library when the whole file is run; harmless otherwise.
TEST(LoadBlas, LeavesTheEnvironmentAsItWas) {
  const WithEnvironment threads("OPENBLAS_NUM_THREADS", "5");
  const WithEnvironment core("OPENBLAS_CORETYPE", nullptr);
  const std::vector<std::string> before = environment();
  const BlasInfo info = load_blas();
  EXPECT_EQ(environment(), before);
  EXPECT_STREQ(::getenv("OPENBLAS_NUM_THREADS"), "5");
  EXPECT_EQ(::getenv("OPENBLAS_CORETYPE"), nullptr);
  EXPECT_NE(info.loaded, info.path.empty());
  EXPECT_EQ(info.loaded, info.error.empty());
  if (info.config.find("OpenBLAS") != std::string::npos) {
    EXPECT_NE(info.config.find("threads 1"), std::string::npos) << info.config;
  }
}

TEST(LoadBlas, ASecondOpeningReportsTheSharedCopy) {
  if (!blas_available()) GTEST_SKIP() << "no CBLAS: " << load_blas().error;
  const BlasLibrary again = open_blas(load_blas().path);
  ASSERT_TRUE(again.info.loaded) << again.info.error;
  EXPECT_NE(again.info.config.find("already in use"), std::string::npos) << again.info.config;
  EXPECT_EQ(load_blas().config.find("already in use"), std::string::npos) << load_blas().config;
}

TEST(LoadBlas, AFolderStandsForTheLibraryInIt) {
  if (!blas_available()) GTEST_SKIP() << "no CBLAS: " << load_blas().error;
  const std::filesystem::path path = load_blas().path;
  if (path.filename().string().find("openblas") == std::string::npos || !path.is_absolute()) {
    GTEST_SKIP() << "not an OpenBLAS with a known folder: " << path;
  }
  const BlasLibrary again = find_blas(nullptr, path.parent_path().string());
  EXPECT_TRUE(again.info.loaded) << again.info.error;
}

struct Shape {
  Index m, n, k;
};

template <class T>
class BlasGemm : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(BlasGemm, ElementTypes);

template <class T>
std::vector<T> numbers(Index count, std::uint32_t seed) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<T>(seed >> 8) / static_cast<T>(1 << 23) - T(1);
  }
  return values;
}

template <class T>
void expect_product(GemmForm form, Shape s, Index padding) {
  const Index a_rows = form == GemmForm::tn ? s.k : s.m;
  const Index lda = (form == GemmForm::tn ? s.m : s.k) + padding;
  const Index b_rows = form == GemmForm::nt ? s.n : s.k;
  const Index ldb = (form == GemmForm::nt ? s.k : s.n) + padding;
  const Index ldc = s.n + padding;
  const std::vector<T> a = numbers<T>(a_rows * lda + 1, 1);
  const std::vector<T> b = numbers<T>(b_rows * ldb + 1, 2);
  std::vector<T> c(static_cast<std::size_t>(s.m * ldc + 1), std::numeric_limits<T>::quiet_NaN());
  GemmArgs<T> args{};
  args.form = form;
  args.m = s.m, args.n = s.n, args.k = s.k;
  args.a = a.data(), args.lda = lda;
  args.b = b.data(), args.ldb = ldb;
  args.c = c.data(), args.ldc = ldc;
  blas_gemm(args);

  const auto at = [](const std::vector<T>& x, Index i) { return static_cast<double>(x[static_cast<std::size_t>(i)]); };
  for (Index i = 0; i < s.m; ++i) {
    for (Index j = 0; j < ldc; ++j) {
      const double got = at(c, i * ldc + j);
      if (j >= s.n) {
        EXPECT_TRUE(std::isnan(got)) << "padding written at " << i << ", " << j;
        continue;
      }
      double expected = 0.0;
      double magnitude = 0.0;
      for (Index p = 0; p < s.k; ++p) {
        const double term = at(a, form == GemmForm::tn ? p * lda + i : i * lda + p) *
                            at(b, form == GemmForm::nt ? j * ldb + p : p * ldb + j);
        expected += term;
        magnitude += std::abs(term);
      }
      // The bound that holds for any order of summation (Higham 2002, eq. 3.5), doubled.
      const double tolerance = static_cast<double>(s.k) * std::numeric_limits<T>::epsilon() * magnitude;
      ASSERT_NEAR(got, expected, tolerance) << "at " << i << ", " << j;
    }
  }
}

TYPED_TEST(BlasGemm, MatchesATripleLoop) {
  if (!blas_available()) GTEST_SKIP() << "no CBLAS: " << load_blas().error;
  const Shape shapes[] = {{1, 1, 1}, {3, 5, 7}, {1, 33, 17}, {31, 1, 64}, {17, 49, 129}, {65, 10, 3}, {129, 131, 67}};
  for (const GemmForm form : {GemmForm::nn, GemmForm::nt, GemmForm::tn}) {
    for (const Shape& shape : shapes) {
      for (const Index padding : {0, 3}) {
        SCOPED_TRACE(::testing::Message() << "form " << static_cast<int>(form) << ", m n k " << shape.m << ' '
                                          << shape.n << ' ' << shape.k << ", padding " << padding);
        expect_product<TypeParam>(form, shape, padding);
      }
    }
  }
}

TYPED_TEST(BlasGemm, EmptyDimensions) {
  if (!blas_available()) GTEST_SKIP() << "no CBLAS: " << load_blas().error;
  for (const GemmForm form : {GemmForm::nn, GemmForm::nt, GemmForm::tn}) {
    expect_product<TypeParam>(form, {0, 3, 4}, 0);
    expect_product<TypeParam>(form, {3, 0, 4}, 0);
    expect_product<TypeParam>(form, {3, 4, 0}, 0);  // a sum of nothing: zeros
  }
}

}  // namespace
}  // namespace stoop
