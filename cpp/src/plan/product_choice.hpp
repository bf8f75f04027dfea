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

namespace stoop::inline v0_1 {

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

// Returns the provider for the product of a layer with this form in a batch of `rows`.
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
    {0.62, blas},    {1.09, native},  {1.17, native},  // nn, up to 8 columns
    {1.18, native},  {1.63, native},  {1.59, native},  // nn, up to 16 columns
    {1.22, native},  {1.42, native},  {1.30, native},  // nn, up to 64 columns
    {1.14, native},  {1.45, native},  {1.22, native},  // nn, more columns
    {0.33, blas},    {1.10, native},  {1.13, native},  // nt, up to 8 columns
    {1.32, native},  {1.59, native},  {1.61, native},  // nt, up to 16 columns
    {1.49, native},  {1.46, native},  {1.30, native},  // nt, up to 64 columns
    {1.62, native},  {1.36, native},  {1.13, native},  // nt, more columns
    {0.77, blas},    {2.12, native},  {1.57, native},  // tn, up to 8 columns
    {1.05, native},  {1.87, native},  {1.78, native},  // tn, up to 16 columns
    {0.95, blas},    {1.20, native},  {1.37, native},  // tn, up to 64 columns
    {0.96, native},  {1.26, native},  {1.24, native},  // tn, more columns
}};
// avx512:end

// avx2:begin
// 2026-11-27, Intel(R) Xeon(R) Processor; OpenBLAS 0.3.34.481.3 (Haswell)
inline constexpr ProductTable kAvx2 = {{
    // work below 2 MFLOP, below 32 MFLOP, more
    {1.26, native},  {1.03, native},  {1.11, native},  // nn, up to 8 columns
    {1.38, native},  {1.29, native},  {1.23, native},  // nn, up to 16 columns
    {1.24, native},  {1.08, native},  {1.10, native},  // nn, up to 64 columns
    {1.14, native},  {1.05, native},  {1.00, native},  // nn, more columns
    {1.07, native},  {1.01, native},  {1.07, native},  // nt, up to 8 columns
    {1.21, native},  {1.23, native},  {1.23, native},  // nt, up to 16 columns
    {1.11, native},  {1.06, native},  {1.05, native},  // nt, up to 64 columns
    {1.00, native},  {0.99, native},  {0.98, native},  // nt, more columns
    {2.24, native},  {1.51, native},  {1.28, native},  // tn, up to 8 columns
    {1.17, native},  {1.27, native},  {1.35, native},  // tn, up to 16 columns
    {0.92, blas},    {0.95, blas},    {1.03, native},  // tn, up to 64 columns
    {0.82, blas},    {0.88, blas},    {0.94, blas},    // tn, more columns
}};
// avx2:end
// clang-format on

}  // namespace measured

// Returns the table of an instruction set, or null if none was measured.
inline const ProductTable* product_table(std::string_view isa) {
  if (isa == "avx512") return &measured::kAvx512;
  if (isa == "avx2") return &measured::kAvx2;
  return nullptr;
}

}  // namespace stoop
