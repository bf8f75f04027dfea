// Every isa_*.cpp includes this before it opens its namespace. It has types and intrinsics only: a std:: function used by a
// kernel could be emitted with the instructions of that file, and the linker could keep that copy for all CPUs.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <utility>  // std::integer_sequence, a type

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC's own AVX-512 header trips it (bug 105593)
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "../ops/ops.hpp"
#include "../spec/optimizers.hpp"
#include "tables.hpp"

#if defined(__clang__)
#define STOOP_UNROLL _Pragma("clang loop unroll(full)")
#else
#define STOOP_UNROLL _Pragma("GCC unroll 32")
#endif

#if defined(__aarch64__)
#define STOOP_VECTOR_REGISTER "+w"
#else
#define STOOP_VECTOR_REGISTER "+x"
#endif
