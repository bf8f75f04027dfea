// The provider `blas` of matrix products: any CBLAS with 32-bit integers, loaded at run time.
// Loading it from code lets the fast kernels be chosen first, and the library need not be linked. A copy that the process
// already uses, such as NumPy's, is never altered.
#pragma once

#include <string>

#include <stoop/runtime.hpp>

#include "../ops/ops.hpp"

namespace stoop::inline v0_1 {

template <class T>
using CblasGemm = void (*)(int layout, int trans_a, int trans_b, int m, int n, int k, T alpha, const T* a, int lda,
                           const T* b, int ldb, T beta, T* c, int ldc);

struct BlasLibrary {
  BlasInfo info;
  CblasGemm<float> sgemm = nullptr;
  CblasGemm<double> dgemm = nullptr;
};

// Opens one library, given by its path, by a folder that holds it, or by a name that the dynamic loader knows. On failure
// info.loaded is false and info.error says why. The environment is unchanged when it returns.
BlasLibrary open_blas(const std::string& path);

// Opens `explicit_path` if it is given (not null or empty), and tries nothing else then. Otherwise it opens the first that
// loads of `preferred` (may be empty) and the system's names.
BlasLibrary find_blas(const char* explicit_path, const std::string& preferred);

// Calls find_blas(STOOP_BLAS, the last set_preferred_blas()), once in a process.
const BlasInfo& load_blas();
void set_preferred_blas(std::string path);
inline bool blas_available() { return load_blas().loaded; }

// Computes c = op(a) @ op(b) without an epilogue. It needs blas_available(), and m, n, k and the leading dimensions that fit
// an int.
template <class T>
void blas_gemm(const GemmArgs<T>& args) noexcept;

}  // namespace stoop
