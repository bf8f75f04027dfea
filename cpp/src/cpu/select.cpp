// Chooses the table of kernels by CPU and STOOP_ISA. Only this file names all backends.
#include "select.hpp"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string>
#include <string_view>

#include <stoop/error.hpp>

#include "cpu_features.hpp"
#include "gemm_blas.hpp"
#include "tables.hpp"

namespace stoop::inline v0_1 {
namespace {

#if defined(STOOP_HAVE_AVX512)
constexpr bool kHasAvx512 = true;
#else
constexpr bool kHasAvx512 = false;
#endif
#if defined(STOOP_HAVE_AVX2)
constexpr bool kHasAvx2 = true;
#else
constexpr bool kHasAvx2 = false;
#endif
#if defined(STOOP_HAVE_NEON)
constexpr bool kHasNeon = true;
#else
constexpr bool kHasNeon = false;
#endif

struct Backend {
  Isa isa;
  const char* name;
  bool is_built;
};

// Best first; scalar last, so there is always one.
constexpr Backend kBackends[] = {
    {Isa::avx512, "avx512", kHasAvx512},
    {Isa::avx2, "avx2", kHasAvx2},
    {Isa::neon, "neon", kHasNeon},
    {Isa::scalar, "scalar", true},
};

// Returns the kernels of a backend that is built. The element types are named apart, in functions of their own, so that a
// program that uses one of them does not link the kernels of the other.
template <class T>
const OpTable<T>& table_of(Isa isa);

template <>
const OpTable<float>& table_of(Isa isa) {
  if constexpr (kHasAvx512) {
    if (isa == Isa::avx512) return avx512_table_f32();
  }
  if constexpr (kHasAvx2) {
    if (isa == Isa::avx2) return avx2_table_f32();
  }
  if constexpr (kHasNeon) {
    if (isa == Isa::neon) return neon_table_f32();
  }
  return scalar_table_f32();
}

template <>
const OpTable<double>& table_of(Isa isa) {
  if constexpr (kHasAvx512) {
    if (isa == Isa::avx512) return avx512_table_f64();
  }
  if constexpr (kHasAvx2) {
    if (isa == Isa::avx2) return avx2_table_f64();
  }
  if constexpr (kHasNeon) {
    if (isa == Isa::neon) return neon_table_f64();
  }
  return scalar_table_f64();
}

struct Bfloat16Backend {
  Bfloat16Isa isa;
  const char* name;
  const Bfloat16Table& (*table)();  // null: not compiled in
};

constexpr Bfloat16Backend kBfloat16Backends[] = {
#if defined(STOOP_HAVE_AMX_BF16)
    {Bfloat16Isa::amx_bf16, "amx_bf16", amx_bf16_table},
#else
    {Bfloat16Isa::amx_bf16, "amx_bf16", nullptr},
#endif
#if defined(STOOP_HAVE_AVX512_BF16)
    {Bfloat16Isa::avx512_bf16, "avx512_bf16", avx512_bf16_table},
#else
    {Bfloat16Isa::avx512_bf16, "avx512_bf16", nullptr},
#endif
};

const Bfloat16Backend& backend_of(Bfloat16Isa isa) { return kBfloat16Backends[static_cast<std::size_t>(isa)]; }

const Backend& backend_of(Isa isa) {
  for (const Backend& backend : kBackends) {
    if (backend.isa == isa) return backend;
  }
  return kBackends[std::size(kBackends) - 1];
}

bool is_usable(const Backend& backend) { return backend.is_built && cpu_supports(backend.isa); }

// Says why a name is refused: a typing error and a CPU that lacks the instructions need different remedies.
std::string refusal(std::string_view name) {
  const std::string quoted = "\"" + std::string(name) + "\"";
  for (const Backend& backend : kBackends) {
    if (name != backend.name) continue;
    if (!cpu_supports(backend.isa)) return quoted + ", which this CPU (or its operating system) does not support";
    return quoted + ", which was not compiled into this build";
  }
  return quoted + ", which is no instruction set known to stoop";
}

std::string usable_names() {
  std::string names;
  for (const Isa isa : supported_isas()) {
    if (!names.empty()) names += ", ";
    names += name_of(isa);
  }
  return names;
}

// Says why there is none: an instruction set that was requested and a CPU that lacks the instructions need different
// remedies.
[[noreturn]] void refuse_bfloat16() {
  constexpr const char* kWhere = "precision bfloat16";
  constexpr const char* kHint = "use precision float32";
  for (const Bfloat16Backend& backend : kBfloat16Backends) {
    if (backend.table == nullptr) continue;
    if (cpu_supports(backend.isa)) {
      throw_value_error(kWhere, std::string("the kernels in use are those of ") + name_of(select_isa()),
                        "expected avx512, beside which such products are computed",
                        "unset STOOP_ISA, or use precision float32");
    }
    if (backend.isa == Bfloat16Isa::avx512_bf16) {
      throw_value_error(kWhere, "this CPU (or its operating system) does not support such products",
                        "expected one with AVX512-BF16 or AMX-BF16", kHint);
    }
  }
  throw_value_error(kWhere, "such products are not compiled into this build",
                    "expected one for x86-64, with AVX512-BF16 or AMX-BF16", kHint);
}

}  // namespace

const char* name_of(Isa isa) { return backend_of(isa).name; }
const char* name_of(Bfloat16Isa isa) { return backend_of(isa).name; }

const char* name_of(GemmProvider provider) {
  constexpr const char* kNames[] = {"native", "blas", "bfloat16", "auto"};
  return kNames[static_cast<int>(provider)];
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> isas;
  for (const Backend& backend : kBackends) {
    if (is_usable(backend)) isas.push_back(backend.isa);
  }
  return isas;
}

Isa select_isa() {
  const char* wanted = std::getenv("STOOP_ISA");
  const bool is_set = wanted != nullptr && *wanted != '\0';
  for (const Backend& backend : kBackends) {
    if (is_usable(backend) && (!is_set || std::string_view(wanted) == backend.name)) return backend.isa;
  }
  throw_value_error("STOOP_ISA", "the environment variable is " + refusal(wanted), "expected one of " + usable_names(),
                    "unset it to use the best one");
}

std::vector<Bfloat16Isa> supported_bfloat16() {
  std::vector<Bfloat16Isa> isas;
  if (select_isa() != Isa::avx512) return isas;
  for (const Bfloat16Backend& backend : kBfloat16Backends) {
    if (backend.table != nullptr && cpu_supports(backend.isa)) isas.push_back(backend.isa);
  }
  return isas;
}

Bfloat16Isa select_bfloat16() {
  const std::vector<Bfloat16Isa> usable = supported_bfloat16();
  if (usable.empty()) refuse_bfloat16();
  const char* wanted = std::getenv("STOOP_BFLOAT16");
  if (wanted == nullptr || *wanted == '\0') return usable.front();
  std::string names;
  for (const Bfloat16Isa isa : usable) {
    if (std::string_view(wanted) == name_of(isa)) return isa;
    names += (names.empty() ? "" : ", ") + std::string(name_of(isa));
  }
  throw_value_error("STOOP_BFLOAT16", "the environment variable is \"" + std::string(wanted) + "\"",
                    "expected one of " + names + " on this CPU", "unset it to use the best one");
}

const Bfloat16Table& bfloat16_table(Bfloat16Isa isa) {
  const std::vector<Bfloat16Isa> usable = supported_bfloat16();
  if (std::find(usable.begin(), usable.end(), isa) == usable.end()) refuse_bfloat16();
  if (isa == Bfloat16Isa::amx_bf16 && !allow_tiles()) {
    throw_value_error("precision bfloat16", "the system refuses the tile registers of AMX to this process",
                      "expected to be given them", "set STOOP_BFLOAT16=avx512_bf16, or use precision float32");
  }
  return backend_of(isa).table();
}

template <class T>
const OpTable<T>& op_table(Isa isa) {
  const Backend& backend = backend_of(isa);
  if (!is_usable(backend)) {
    throw_value_error("op_table", std::string("got ") + refusal(backend.name), "expected one of " + usable_names(),
                      "take one of supported_isas()");
  }
  return table_of<T>(isa);
}

GemmProvider select_gemm_provider() {
  const char* wanted = std::getenv("STOOP_GEMM");
  if (wanted == nullptr || *wanted == '\0') return GemmProvider::native;
  const std::string_view names[] = {name_of(GemmProvider::native), name_of(GemmProvider::blas),
                                    name_of(GemmProvider::automatic)};
  if (wanted == names[0]) return GemmProvider::native;
  if (wanted == names[2]) return blas_available() ? GemmProvider::automatic : GemmProvider::native;
  if (wanted != names[1]) throw_unknown_name("STOOP_GEMM", "provider", wanted, names);
  if (!blas_available()) {
    throw_value_error("STOOP_GEMM", "blas was asked for, but " + load_blas().error, "expected a CBLAS that loads",
                      "set STOOP_BLAS to the path of one, or unset STOOP_GEMM; `pip install 'stoop[blas]'` brings one");
  }
  return GemmProvider::blas;
}

template <class T>
const OpTable<T>& active_table() {
  const Isa isa = select_isa();
  if (select_gemm_provider() == GemmProvider::native) return op_table<T>(isa);
  // One copy per instruction set, made once; only the pointer to the loaded library differs.
  static const std::vector<OpTable<T>> kWithBlas = [] {
    std::vector<OpTable<T>> tables;
    for (const Backend& backend : kBackends) {
      tables.push_back(is_usable(backend) ? op_table<T>(backend.isa) : OpTable<T>{});
      tables.back().gemm_blas = blas_gemm<T>;
    }
    return tables;
  }();
  return kWithBlas[static_cast<std::size_t>(&backend_of(isa) - kBackends)];
}

template const OpTable<float>& active_table<float>();
template const OpTable<double>& active_table<double>();
template const OpTable<float>& op_table<float>(Isa isa);
template const OpTable<double>& op_table<double>(Isa isa);

}  // namespace stoop
