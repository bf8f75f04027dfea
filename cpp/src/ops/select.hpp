// Picks the table of kernels for this CPU.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ops.hpp"

namespace stoop {

enum class Isa { scalar, avx2, avx512, neon };

const char* name_of(Isa isa);

// Compiled in and supported by this CPU, best first.
std::vector<Isa> supported_isas();

// STOOP_ISA if set (an unknown or unsupported value is a ValueError), else the best supported one.
Isa select_isa();

// The kernels of one instruction set, without a BLAS.
template <class T>
const OpTable<T>& op_table(Isa isa);

// STOOP_GEMM=native|blas, native when unset; an unknown value, or blas where none can be loaded, is a ValueError.
GemmProvider select_gemm_provider();

// The kernels of select_isa(), with gemm_blas filled in when select_gemm_provider() asks for it.
template <class T>
const OpTable<T>& active_table();

}  // namespace stoop
