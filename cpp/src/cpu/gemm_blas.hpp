// The provider `blas` of matrix products: any CBLAS with 32-bit integers, loaded at run time.
// Loading from code lets the fast kernels be chosen first and keeps the library out of the link. A copy that the
// process already uses (NumPy's, say) is never altered.
#pragma once

#include <string>

#include <stoop/runtime.hpp>

#include "../ops/ops.hpp"

namespace stoop {

template <class T>
using CblasGemm = void (*)(int layout, int trans_a, int trans_b, int m, int n, int k, T alpha, const T* a, int lda,
                           const T* b, int ldb, T beta, T* c, int ldc);

struct BlasLibrary {
  BlasInfo info;
  CblasGemm<float> sgemm = nullptr;
  CblasGemm<double> dgemm = nullptr;
};

// Opens one library, by path, by a folder that holds it or by a name the dynamic loader knows. On failure
// info.loaded is false and info.error says why. The environment is as before when it returns.
BlasLibrary open_blas(const std::string& path);

// The first of: `explicit_path` (null or empty: not given; given, nothing else is tried), `preferred` (may be empty),
// the system's names.
BlasLibrary find_blas(const char* explicit_path, const std::string& preferred);

// find_blas(STOOP_BLAS, the last set_preferred_blas()), done once.
const BlasInfo& load_blas();
void set_preferred_blas(std::string path);
inline bool blas_available() { return load_blas().loaded; }

// c = op(a) @ op(b), without any epilogue. Needs blas_available(); m, n, k and the leading dimensions fit an int.
template <class T>
void blas_gemm(const GemmArgs<T>& args) noexcept;

}  // namespace stoop
