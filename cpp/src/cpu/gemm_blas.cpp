// Loads a CBLAS with one thread per call and its fastest kernels, and calls it.
// OpenBLAS reads its settings from the environment while it is being loaded, so they are set for that moment only;
// its set_num_threads() is not used because in an OpenMP build it would change the calling thread's OpenMP setting.
#include "gemm_blas.hpp"

#include <dlfcn.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <iterator>
#include <mutex>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "cpu_features.hpp"

namespace stoop::inline v0_1 {
namespace {

namespace fs = std::filesystem;

constexpr int kRowMajor = 101;  // the enums of cblas.h
constexpr int kNoTrans = 111;
constexpr int kTrans = 112;

constexpr const char* kSystemNames[] = {
#if defined(__APPLE__)
    "/System/Library/Frameworks/Accelerate.framework/Accelerate",
    "libopenblas.dylib",
#else
    "libopenblas.so.0",
    "libcblas.so.3",
    "libblas.so.3",
    "libmkl_rt.so.2",
#endif
};

// Sets a variable for its lifetime, then puts back what was there.
class ScopedEnvironment {
 public:
  ScopedEnvironment(const char* name, const char* value) : name_(name) {
    if (const char* old = ::getenv(name)) old_ = old;
    ::setenv(name, value, 1);
  }
  ~ScopedEnvironment() {
    if (old_) {
      ::setenv(name_, old_->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }
  ScopedEnvironment(const ScopedEnvironment&) = delete;
  ScopedEnvironment& operator=(const ScopedEnvironment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> old_;
};

template <class Function>
Function find_symbol(void* handle, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (void* symbol = ::dlsym(handle, name)) return reinterpret_cast<Function>(symbol);
  }
  return nullptr;
}

// A folder, such as the lib folder of a wheel, stands for the first OpenBLAS in it. Other names are used as they are.
std::string resolve(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return path;
  std::vector<std::string> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(path, error)) {
    const std::string name = entry.path().filename().string();
    const bool is_shared = name.find(".so") != std::string::npos || name.find(".dylib") != std::string::npos;
    if (is_shared && name.find("openblas") != std::string::npos) found.push_back(entry.path().string());
  }
  return found.empty() ? path : *std::min_element(found.begin(), found.end());
}

std::string core_type_of_the_user() {
  const char* core = ::getenv("OPENBLAS_CORETYPE");
  return core != nullptr ? core : "";
}

// OpenBLAS picks kernels by CPU model, and an AMD model that it does not know may get the AVX2 kernels, at half the speed.
// This is a safeguard: on Zen 5 the builds tried (0.3.23 to 0.3.34) choose AVX-512 by themselves. A choice of the user is
// kept.
bool wants_avx512_kernels() {
  return cpu_vendor() == "AuthenticAMD" && cpu_supports(Isa::avx512) && core_type_of_the_user().empty();
}

void* open_with_one_thread(const std::string& path) {
  const ScopedEnvironment threads("OPENBLAS_NUM_THREADS", "1");
  std::optional<ScopedEnvironment> core;
  if (wants_avx512_kernels()) core.emplace("OPENBLAS_CORETYPE", "SKYLAKEX");
  return ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
}

std::string file_of(void* symbol) {
  Dl_info info{};
  if (::dladdr(symbol, &info) == 0 || info.dli_fname == nullptr) return {};
  return info.dli_fname;
}

// "OpenBLAS 0.3.34 ... SkylakeX MAX_THREADS=64; kernels SkylakeX; 1 thread".
std::string describe(void* handle) {
  using Text = char* (*)();
  using Number = int (*)();
  std::string text;
  if (const auto config = find_symbol<Text>(handle, {"scipy_openblas_get_config", "openblas_get_config"})) {
    text = config();
    while (!text.empty() && text.back() == ' ') text.pop_back();
  }
  if (const auto core = find_symbol<Text>(handle, {"scipy_openblas_get_corename", "openblas_get_corename"})) {
    text += std::string("; kernels ") + core();
  }
  if (const auto threads =
          find_symbol<Number>(handle, {"scipy_openblas_get_num_threads", "openblas_get_num_threads"})) {
    text += "; threads " + std::to_string(threads());
  }
  if (const auto version = find_symbol<void (*)(char*, int)>(handle, {"mkl_get_version_string"})) {
    char buffer[256] = {};
    version(buffer, sizeof buffer - 1);
    text = buffer;
  }
  return text.empty() ? "CBLAS" : text;
}

// The single dynamic library of MKL asks at its first call which threading to use. It gets none, like OpenBLAS.
void use_sequential_mkl(void* handle) {
  constexpr int kSequential = 1;
  if (const auto set = find_symbol<int (*)(int)>(handle, {"MKL_Set_Threading_Layer"})) set(kSequential);
}

BlasLibrary failure(void* handle, const std::string& error) {
  if (handle != nullptr) ::dlclose(handle);
  BlasLibrary library;
  library.info.error = error;
  return library;
}

std::mutex preferred_mutex;
std::string preferred_path;  // guarded by preferred_mutex

const BlasLibrary& the_library() {
  static const BlasLibrary library = [] {
    std::string preferred;
    {
      const std::lock_guard lock(preferred_mutex);
      preferred = preferred_path;
    }
    return find_blas(::getenv("STOOP_BLAS"), preferred);
  }();
  return library;
}

}  // namespace

BlasLibrary open_blas(const std::string& path) {
  const std::string file = resolve(path);
  void* handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
  const bool was_loaded = handle != nullptr;
  if (!was_loaded) handle = open_with_one_thread(file);
  if (handle == nullptr) {
    const char* reason = ::dlerror();
    return failure(nullptr, reason != nullptr ? reason : "cannot load " + file);
  }
  BlasLibrary library;
  library.sgemm = find_symbol<CblasGemm<float>>(handle, {"scipy_cblas_sgemm", "cblas_sgemm"});
  library.dgemm = find_symbol<CblasGemm<double>>(handle, {"scipy_cblas_dgemm", "cblas_dgemm"});
  if (library.sgemm == nullptr || library.dgemm == nullptr) {
    return failure(handle, file + " has no cblas_sgemm and cblas_dgemm");
  }
  if (!was_loaded) use_sequential_mkl(handle);
  library.info.path = file_of(reinterpret_cast<void*>(library.sgemm));
  if (library.info.path.empty()) library.info.path = file;
  library.info.config = describe(handle);
  if (library.info.config.find("USE64BITINT") != std::string::npos) {
    return failure(handle, file + " takes 64-bit integers; a build with 32-bit integers (LP64) is needed");
  }
  if (was_loaded) library.info.config += "; already in use by this process, its settings are kept";
  // The text names a forced kernel set, which explains a surprising speed.
  if (const std::string core = core_type_of_the_user(); !core.empty()) {
    library.info.config += "; OPENBLAS_CORETYPE=" + core + " is set in the environment";
  }
  library.info.loaded = true;
  return library;
}

BlasLibrary find_blas(const char* explicit_path, const std::string& preferred) {
  if (explicit_path != nullptr && *explicit_path != '\0') {
    BlasLibrary library = open_blas(explicit_path);
    if (!library.info.loaded) library.info.error = "[STOOP_BLAS] " + library.info.error;
    return library;
  }
  std::vector<std::string> candidates(std::begin(kSystemNames), std::end(kSystemNames));
  if (!preferred.empty()) candidates.insert(candidates.begin(), preferred);
  std::string errors;
  for (const std::string& candidate : candidates) {
    BlasLibrary library = open_blas(candidate);
    if (library.info.loaded) return library;
    errors += (errors.empty() ? "" : "; ") + library.info.error;
  }
  return failure(nullptr, "no CBLAS found: " + errors);
}

void set_preferred_blas(std::string path) {
  const std::lock_guard lock(preferred_mutex);
  preferred_path = std::move(path);
}

const BlasInfo& load_blas() { return the_library().info; }

template <class T>
void blas_gemm(const GemmArgs<T>& args) noexcept {
  if (args.m == 0 || args.n == 0) return;
  const BlasLibrary& library = the_library();
  // A matrix without columns may come with a leading dimension of 0, which CBLAS refuses.
  const auto leading = [](Index ld) { return static_cast<int>(std::max<Index>(1, ld)); };
  const auto call = [&](CblasGemm<T> gemm) {
    gemm(kRowMajor, args.form == GemmForm::tn ? kTrans : kNoTrans, args.form == GemmForm::nt ? kTrans : kNoTrans,
         static_cast<int>(args.m), static_cast<int>(args.n), static_cast<int>(args.k), T(1), args.a, leading(args.lda),
         args.b, leading(args.ldb), T(0), args.c, leading(args.ldc));
  };
  if constexpr (std::is_same_v<T, float>) {
    call(library.sgemm);
  } else {
    call(library.dgemm);
  }
}

template void blas_gemm<float>(const GemmArgs<float>&) noexcept;
template void blas_gemm<double>(const GemmArgs<double>&) noexcept;

}  // namespace stoop
