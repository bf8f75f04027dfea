// The kernels for AVX-512 (F, DQ, BW, VL): 32 registers of 64 bytes, so a tile of 8 rows x 3 vectors.
#include "isa_prelude.hpp"

namespace stoop::inline v0_1 {
namespace avx512 {
namespace {

constexpr const char* kIsaName = "avx512";
constexpr int kVectorBytes = 64;
constexpr int kGemmRows = 8;
constexpr int kGemmVectors = 3;
constexpr int kGemmDepth = 512;          // most rows of a panel of b, which passes through the first-level cache
constexpr int kGemmPackBytes = 1 << 17;  // a larger b is copied, panel by panel

#include "simd.inl.hpp"
#include "math.inl.hpp"
#include "special.inl.hpp"
#include "activation.inl.hpp"
#include "softmax.inl.hpp"
#include "loss.inl.hpp"
#include "loss_kernels.inl.hpp"
#include "update_pass.inl.hpp"
#include "optimizer.inl.hpp"
#include "reduce.inl.hpp"
#include "gather.inl.hpp"
#include "dropout.inl.hpp"
#include "encoded.inl.hpp"
#include "columns.inl.hpp"
#include "encoded_layers.inl.hpp"
#include "batch_norm.inl.hpp"
#include "batch_norm_tangent.inl.hpp"
#include "normalization.inl.hpp"
#include "augment.inl.hpp"
#include "narrow.inl.hpp"
#include "members.inl.hpp"
#include "gemm_epilogue.inl.hpp"
#include "gemm_kernel.inl.hpp"
#include "gemm_pack.inl.hpp"
#include "gemm.inl.hpp"
#include "table.inl.hpp"

}  // namespace
}  // namespace avx512

const OpTable<float>& avx512_table_f32() { return avx512::kTable<float>; }
const OpTable<double>& avx512_table_f64() { return avx512::kTable<double>; }

}  // namespace stoop
