// Which provider computes a matrix product where STOOP_GEMM=auto leaves it to the shape: a table for each instruction
// set, by form, columns and work. bench/choose_provider.py measures it and writes the parts between the markers.
//
// A product is that of a layer in a whole batch, as a plan knows it, with the epilogue; threads take slices of it. The
// BLAS is chosen only where it wins by 5 % or more, so that noise decides nothing. What no table covers is native: other
// instruction sets, float64, fewer rows than kLeastRows.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "../ops/ops.hpp"

namespace stoop {

struct ProductChoice {
  double speed;  // of `native`, as a share of the BLAS's: the median of the products measured in this class
  GemmProvider provider;
};

// Three forms (nn, nt, tn), each with the column classes in turn, each of these with the work classes.
inline constexpr std::size_t kColumnClasses = 4, kWorkClasses = 3;
using ProductTable = std::array<ProductChoice, 3 * kColumnClasses * kWorkClasses>;

inline constexpr Index kMostColumns[] = {8, 16, 64};  // of the classes but the last
inline constexpr double kLessWork[] = {2e6, 32e6};    // FLOPs, likewise: less than
inline constexpr Index kLeastRows = 32;               // of the batch, in the products that were measured
inline constexpr double kLeastGain = 1.05;            // of the BLAS over `native`, for it to be chosen

// The place in a table of a product with so many columns in its result.
constexpr std::size_t product_class(GemmForm form, Index columns, double flops) {
  std::size_t width = 0, work = 0;
  while (width + 1 < kColumnClasses && columns > kMostColumns[width]) ++width;
  while (work + 1 < kWorkClasses && flops >= kLessWork[work]) ++work;
  return (static_cast<std::size_t>(form) * kColumnClasses + width) * kWorkClasses + work;
}

// Of the product of a layer with this form in a batch of `rows`.
constexpr std::size_t product_class(GemmForm form, Index rows, Index in_features, Index out_features) {
  const double flops =
      2.0 * static_cast<double>(rows) * static_cast<double>(in_features) * static_cast<double>(out_features);
  return product_class(form, form == GemmForm::nt ? in_features : out_features, flops);
}

namespace measured {
using enum GemmProvider;

// clang-format off
// avx512:begin
// 2026-11-27, Intel(R) Xeon(R) Processor; OpenBLAS 0.3.34.481.3 (SkylakeX)
inline constexpr ProductTable kAvx512 = {{
    // work below 2 MFLOP, below 32 MFLOP, more
    {0.58, blas},    {1.06, native},  {1.19, native},  // nn, up to 8 columns
    {1.17, native},  {1.63, native},  {1.59, native},  // nn, up to 16 columns
    {1.23, native},  {1.39, native},  {1.35, native},  // nn, up to 64 columns
    {1.11, native},  {1.43, native},  {1.25, native},  // nn, more columns
    {0.30, blas},    {1.11, native},  {1.14, native},  // nt, up to 8 columns
    {1.30, native},  {1.61, native},  {1.64, native},  // nt, up to 16 columns
    {1.52, native},  {1.46, native},  {1.33, native},  // nt, up to 64 columns
    {1.68, native},  {1.38, native},  {1.14, native},  // nt, more columns
    {0.26, blas},    {0.58, blas},    {0.40, blas},    // tn, up to 8 columns
    {0.59, blas},    {0.96, native},  {0.92, blas},    // tn, up to 16 columns
    {0.96, native},  {1.10, native},  {0.93, blas},    // tn, up to 64 columns
    {0.94, blas},    {1.27, native},  {1.22, native},  // tn, more columns
}};
// avx512:end

// avx2:begin
// 2026-11-27, Intel(R) Xeon(R) Processor; OpenBLAS 0.3.34.481.3 (Haswell)
inline constexpr ProductTable kAvx2 = {{
    // work below 2 MFLOP, below 32 MFLOP, more
    {1.26, native},  {1.03, native},  {1.14, native},  // nn, up to 8 columns
    {1.37, native},  {1.30, native},  {1.23, native},  // nn, up to 16 columns
    {1.25, native},  {1.09, native},  {1.12, native},  // nn, up to 64 columns
    {1.15, native},  {1.07, native},  {1.01, native},  // nn, more columns
    {1.06, native},  {1.01, native},  {1.11, native},  // nt, up to 8 columns
    {1.21, native},  {1.23, native},  {1.22, native},  // nt, up to 16 columns
    {1.12, native},  {1.05, native},  {1.06, native},  // nt, up to 64 columns
    {1.01, native},  {0.99, native},  {0.98, native},  // nt, more columns
    {0.82, blas},    {0.78, blas},    {0.74, blas},    // tn, up to 8 columns
    {0.93, blas},    {0.92, blas},    {0.89, blas},    // tn, up to 16 columns
    {0.93, blas},    {0.90, blas},    {0.90, blas},    // tn, up to 64 columns
    {0.83, blas},    {0.91, blas},    {0.94, blas},    // tn, more columns
}};
// avx2:end
// clang-format on

}  // namespace measured

// The table of an instruction set, null where none was measured.
inline const ProductTable* product_table(std::string_view isa) {
  if (isa == "avx512") return &measured::kAvx512;
  if (isa == "avx2") return &measured::kAvx2;
  return nullptr;
}

}  // namespace stoop
