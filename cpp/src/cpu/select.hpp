// Picks the table of kernels for this CPU.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "../ops/ops.hpp"

namespace stoop {

enum class Isa { scalar, avx2, avx512, neon };

// How products in bfloat16 are computed, beside the kernels of Isa::avx512; best first. The two round sums differently.
enum class Bfloat16Isa { amx_bf16, avx512_bf16 };

const char* name_of(Isa isa);
const char* name_of(Bfloat16Isa isa);
const char* name_of(GemmProvider provider);

// Compiled in and supported by this CPU, best first.
std::vector<Isa> supported_isas();

// STOOP_ISA if set (an unknown or unsupported value is a ValueError), else the best supported one.
Isa select_isa();

// The kernels of one instruction set, without a BLAS.
template <class T>
const OpTable<T>& op_table(Isa isa);

// Compiled in, supported by this CPU, and beside what select_isa() chooses; best first.
std::vector<Bfloat16Isa> supported_bfloat16();

// STOOP_BFLOAT16=amx_bf16|avx512_bf16 if set, else the best supported one. ValueError where there is none.
Bfloat16Isa select_bfloat16();

// The products of one of supported_bfloat16(). ValueError for another, or where the system refuses what they need.
const Bfloat16Table& bfloat16_table(Bfloat16Isa isa);

// STOOP_GEMM=native|blas|auto, native when unset, and for auto where no BLAS can be loaded; an unknown value, or blas
// where none can be loaded, is a ValueError.
GemmProvider select_gemm_provider();

// The kernels of select_isa(), with gemm_blas filled in unless select_gemm_provider() is native.
template <class T>
const OpTable<T>& active_table();

}  // namespace stoop
