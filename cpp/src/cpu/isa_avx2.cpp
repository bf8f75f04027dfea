// The kernels for AVX2 with FMA: 16 registers of 32 bytes, so a tile of 4 rows x 3 vectors.
#include "isa_prelude.hpp"

namespace stoop::inline v0_1 {
namespace avx2 {
namespace {

constexpr const char* kIsaName = "avx2";
constexpr int kVectorBytes = 32;
constexpr int kGemmRows = 4;
constexpr int kGemmVectors = 3;
constexpr int kGemmDepth = 256;          // most rows of a panel of b, which stays in the first-level cache
constexpr int kGemmPackBytes = 1 << 15;  // a larger b is copied, panel by panel

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
}  // namespace avx2

const OpTable<float>& avx2_table_f32() { return avx2::kTable<float>; }
const OpTable<double>& avx2_table_f64() { return avx2::kTable<double>; }

}  // namespace stoop
