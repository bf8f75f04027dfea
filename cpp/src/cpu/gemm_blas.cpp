// Loads a CBLAS with one thread per call and its fastest kernels, and calls it.
// OpenBLAS reads its settings from the environment while it is being loaded, so they are set for that moment only;
// its set_num_threads() is not used because in an OpenMP build it would change the calling thread's OpenMP setting.
#include "gemm_blas.hpp"

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

#include "../base/path_text.hpp"
#include "cpu_features.hpp"
#include "shared_library.hpp"

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
#elif defined(_WIN32)
    "libopenblas.dll",
    "openblas.dll",
    "mkl_rt.2.dll",
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
  ScopedEnvironment(const char* name, const char* value) : name_(name), old_(read_environment(name)) {
    set_environment(name, value);
  }
  ~ScopedEnvironment() { set_environment(name_, old_ ? old_->c_str() : nullptr); }
  ScopedEnvironment(const ScopedEnvironment&) = delete;
  ScopedEnvironment& operator=(const ScopedEnvironment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> old_;
};

template <class Function>
Function find_symbol(LibraryHandle handle, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (void* symbol = find_function(handle, name)) return reinterpret_cast<Function>(symbol);
  }
  return nullptr;
}

// A folder, such as the lib folder of a wheel, stands for the first OpenBLAS in it. Other names are used as they are.
std::string resolve(const std::string& path) {
  std::error_code error;
  const fs::path folder = path_of(path);
  if (!fs::is_directory(folder, error)) return path;
  std::vector<std::string> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::string name = path_text(entry.path().filename());
    const auto has = [&name](const char* part) { return name.find(part) != std::string::npos; };
    const bool is_shared = has(".so") || has(".dylib") || has(".dll");
    if (is_shared && has("openblas")) found.push_back(path_text(entry.path()));
  }
  return found.empty() ? path : *std::min_element(found.begin(), found.end());
}

std::string core_type_of_the_user() { return read_environment("OPENBLAS_CORETYPE").value_or(""); }

// OpenBLAS picks kernels by CPU model, and an AMD model that it does not know may get the AVX2 kernels, at half the speed.
// This is a safeguard: on Zen 5 the builds tried (0.3.23 to 0.3.34) choose AVX-512 by themselves. A choice of the user is
// kept.
bool wants_avx512_kernels() {
  return cpu_vendor() == "AuthenticAMD" && cpu_supports(Isa::avx512) && core_type_of_the_user().empty();
}

LibraryHandle open_with_one_thread(const std::string& path, std::string& error) {
  const ScopedEnvironment threads("OPENBLAS_NUM_THREADS", "1");
  std::optional<ScopedEnvironment> core;
  if (wants_avx512_kernels()) core.emplace("OPENBLAS_CORETYPE", "SKYLAKEX");
  return open_library(path, error);
}

// "OpenBLAS 0.3.34 ... SkylakeX MAX_THREADS=64; kernels SkylakeX; 1 thread".
std::string describe(LibraryHandle handle) {
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
void use_sequential_mkl(LibraryHandle handle) {
  constexpr int kSequential = 1;
  if (const auto set = find_symbol<int (*)(int)>(handle, {"MKL_Set_Threading_Layer"})) set(kSequential);
}

BlasLibrary failure(LibraryHandle handle, const std::string& error) {
  if (handle != nullptr) close_library(handle);
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
    const std::optional<std::string> explicit_path = read_environment("STOOP_BLAS");
    return find_blas(explicit_path ? explicit_path->c_str() : nullptr, preferred);
  }();
  return library;
}

}  // namespace

BlasLibrary open_blas(const std::string& path) {
  const std::string file = resolve(path);
  std::string error;
  LibraryHandle handle = find_loaded_library(file);
  const bool was_loaded = handle != nullptr;
  if (!was_loaded) handle = open_with_one_thread(file, error);
  if (handle == nullptr) return failure(nullptr, error);
  BlasLibrary library;
  library.sgemm = find_symbol<CblasGemm<float>>(handle, {"scipy_cblas_sgemm", "cblas_sgemm"});
  library.dgemm = find_symbol<CblasGemm<double>>(handle, {"scipy_cblas_dgemm", "cblas_dgemm"});
  if (library.sgemm == nullptr || library.dgemm == nullptr) {
    return failure(handle, file + " has no cblas_sgemm and cblas_dgemm");
  }
  if (!was_loaded) use_sequential_mkl(handle);
  library.info.path = file_of_function(reinterpret_cast<void*>(library.sgemm));
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
