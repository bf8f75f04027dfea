// The tables of kernels that the per-instruction-set files define. Only select.cpp and those files include this.
// STOOP_HAVE_AVX2, STOOP_HAVE_AVX512, STOOP_HAVE_AVX512_BF16, STOOP_HAVE_AMX_BF16 and STOOP_HAVE_NEON say which of them
// are linked. The scalar one always is.
#pragma once

#include "../ops/ops.hpp"

namespace stoop::inline v0_1 {

const OpTable<float>& scalar_table_f32();
const OpTable<double>& scalar_table_f64();
const OpTable<float>& avx2_table_f32();
const OpTable<double>& avx2_table_f64();
const OpTable<float>& avx512_table_f32();
const OpTable<double>& avx512_table_f64();
const OpTable<float>& neon_table_f32();
const OpTable<double>& neon_table_f64();

// These have products only, and are used beside the kernels of avx512.
const Bfloat16Table& avx512_bf16_table();
const Bfloat16Table& amx_bf16_table();

}  // namespace stoop
