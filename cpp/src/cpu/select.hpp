// Picks the table of kernels for this CPU.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "../ops/ops.hpp"

namespace stoop::inline v0_1 {

enum class Isa { scalar, avx2, avx512, neon };

// The ways to compute products in bfloat16, beside the kernels of Isa::avx512; best first. The two round sums differently.
enum class Bfloat16Isa { amx_bf16, avx512_bf16 };

const char* name_of(Isa isa);
const char* name_of(Bfloat16Isa isa);
const char* name_of(GemmProvider provider);

// Returns those that are compiled in and supported by this CPU, best first.
std::vector<Isa> supported_isas();

// Returns STOOP_ISA if it is set, else the best one that is supported. Throws ValueError for an unknown or unsupported
// value.
Isa select_isa();

// Returns the kernels of one instruction set, without a BLAS.
template <class T>
const OpTable<T>& op_table(Isa isa);

// Returns those that are compiled in, supported by this CPU and usable beside the choice of select_isa(); best first.
std::vector<Bfloat16Isa> supported_bfloat16();

// Returns STOOP_BFLOAT16=amx_bf16|avx512_bf16 if it is set, else the best supported one. Throws ValueError if there is none.
Bfloat16Isa select_bfloat16();

// Returns the products of one of supported_bfloat16(). Throws ValueError for another, and if the system refuses its
// registers.
const Bfloat16Table& bfloat16_table(Bfloat16Isa isa);

// Returns STOOP_GEMM=native|blas|auto: native when it is unset, and for auto if no BLAS can be loaded. Throws ValueError for
// an unknown value, and for blas if none can be loaded.
GemmProvider select_gemm_provider();

// Returns the kernels of select_isa(), with gemm_blas filled in unless select_gemm_provider() is native.
template <class T>
const OpTable<T>& active_table();

}  // namespace stoop
