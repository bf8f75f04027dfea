// The tables of kernels that the per-instruction-set files define. Only select.cpp and those files include this.
// STOOP_HAVE_AVX2, STOOP_HAVE_AVX512 and STOOP_HAVE_NEON say which of them are linked; scalar always is.
#pragma once

#include "../ops/ops.hpp"

namespace stoop {

const OpTable<float>& scalar_table_f32();
const OpTable<double>& scalar_table_f64();
const OpTable<float>& avx2_table_f32();
const OpTable<double>& avx2_table_f64();
const OpTable<float>& avx512_table_f32();
const OpTable<double>& avx512_table_f64();
const OpTable<float>& neon_table_f32();
const OpTable<double>& neon_table_f64();

}  // namespace stoop
