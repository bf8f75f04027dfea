// Products in bfloat16 by AVX512-BF16 (AMD Zen 4 and later; Intel Cooper Lake, Sapphire Rapids and later), beside the
// kernels of isa_avx512.cpp. The epilogue is that of the float32 products.
#include "isa_prelude.hpp"

namespace stoop::inline v0_1 {
namespace avx512_bf16 {
namespace {

constexpr int kVectorBytes = 64;

#include "simd.inl.hpp"
#include "math.inl.hpp"
#include "special.inl.hpp"
#include "activation.inl.hpp"
#include "batch_norm.inl.hpp"
#include "dropout.inl.hpp"
#include "gemm_epilogue.inl.hpp"
#include "bfloat16_pack.inl.hpp"
#include "bfloat16_dot.inl.hpp"
#include "bfloat16.inl.hpp"

constexpr Bfloat16Table kTable = {"avx512_bf16", gemm_scratch, gemm_bfloat16, dot_loop, kDotLoopFlops};

}  // namespace
}  // namespace avx512_bf16

const Bfloat16Table& avx512_bf16_table() { return avx512_bf16::kTable; }

}  // namespace stoop
