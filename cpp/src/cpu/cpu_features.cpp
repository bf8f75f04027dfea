// Reads cpuid and xgetbv on x86-64, the affinity mask on Linux and Windows, and cgroups on Linux. aarch64 always has NEON.
#include "cpu_features.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#define STOOP_X86 1
#endif
#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(_WIN32)
#include <windows.h>
#endif

namespace stoop::inline v0_1 {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kLeaf1Fma = 1u << 12;
constexpr std::uint32_t kLeaf1Osxsave = 1u << 27;
constexpr std::uint32_t kLeaf1Avx = 1u << 28;
constexpr std::uint32_t kLeaf7Avx2 = 1u << 5;
constexpr std::uint32_t kLeaf7Avx512 = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);  // F, DQ, BW, VL
constexpr std::uint32_t kLeaf7Amx = (1u << 22) | (1u << 24);                               // AMX-BF16, AMX-TILE
constexpr std::uint32_t kLeaf71Avx512Bf16 = 1u << 5;
constexpr std::uint64_t kStateYmm = 0x06;                       // xmm and ymm
constexpr std::uint64_t kStateZmm = 0xe6;                       // and opmask, upper halves of zmm0-15, zmm16-31
constexpr std::uint64_t kStateTiles = (1u << 17) | (1u << 18);  // tile configuration and data

template <class U>
constexpr bool has_all(U value, U bits) {
  return (value & bits) == bits;
}

#if defined(STOOP_X86)
X86Registers read_x86_registers() {
  X86Registers registers;
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return registers;
  registers.leaf1_ecx = ecx;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
    registers.leaf7_ebx = ebx;
    registers.leaf7_edx = edx;
    const bool has_subleaf = eax >= 1;
    if (has_subleaf && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) registers.leaf7_1_eax = eax;
  }
  if (has_all(registers.leaf1_ecx, kLeaf1Osxsave)) {
    // This is assembly because the intrinsic would need -mxsave for the whole file.
    unsigned low = 0;
    unsigned high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    registers.xcr0 = (static_cast<std::uint64_t>(high) << 32) | low;
  }
  return registers;
}

const X86Registers& x86_registers() {
  static const X86Registers registers = read_x86_registers();
  return registers;
}

// Linux 5.16 and later: Documentation/arch/x86/xstate.rst.
constexpr int kGetSupported = 0x1021, kRequestPermission = 0x1023, kTileData = 18;

bool system_offers_tiles() {
#if defined(__linux__)
  std::uint64_t features = 0;
  return syscall(SYS_arch_prctl, kGetSupported, &features) == 0 && (features >> kTileData & 1) != 0;
#else
  return false;
#endif
}

std::string read_vendor() {
  unsigned eax = 0;
  unsigned parts[3] = {};  // the name is spread over ebx, edx, ecx in this order
  if (!__get_cpuid(0, &eax, &parts[0], &parts[2], &parts[1])) return {};
  return {reinterpret_cast<const char*>(parts), sizeof parts};
}
#endif

#if defined(__linux__)
std::string read_text(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}
#endif

// Reads a file that holds one number. Returns nothing if it is missing or holds something else.
std::optional<double> read_number(const fs::path& path) {
  std::ifstream file(path);
  double value = 0.0;
  if (!(file >> value)) return {};
  return value;
}

std::optional<double> quota_v2(const fs::path& folder) {
  std::ifstream file(folder / "cpu.max");
  double quota = 0.0;
  double period = 0.0;
  if (!(file >> quota >> period) || quota <= 0.0 || period <= 0.0) return {};  // "max 100000" is no limit
  return quota / period;
}

std::optional<double> quota_v1(const fs::path& folder) {
  const auto quota = read_number(folder / "cpu.cfs_quota_us");  // -1 is no limit
  const auto period = read_number(folder / "cpu.cfs_period_us");
  if (!quota || !period || *quota <= 0.0 || *period <= 0.0) return {};
  return *quota / *period;
}

void keep_smaller(std::optional<double>& best, std::optional<double> candidate) {
  if (candidate && (!best || *candidate < *best)) best = candidate;
}

// Returns the smallest quota from `mount`/`group` up to `mount` itself, since every ancestor's limit applies.
template <class Quota>
void walk_up(const fs::path& mount, std::string_view group, Quota quota, std::optional<double>& best) {
  // A group outside the container's namespace looks like "/../x"; only the root can be seen.
  fs::path relative = group.find("..") == std::string_view::npos ? fs::path(group).relative_path() : fs::path();
  while (true) {
    keep_smaller(best, quota(mount / relative));
    if (relative.empty()) return;
    relative = relative.parent_path();
  }
}

bool lists_cpu(std::string_view controllers) {
  while (!controllers.empty()) {
    const std::size_t comma = controllers.find(',');
    if (controllers.substr(0, comma) == "cpu") return true;
    if (comma == std::string_view::npos) return false;
    controllers.remove_prefix(comma + 1);
  }
  return false;
}

}  // namespace

bool x86_supports(Isa isa, const X86Registers& registers) {
  const bool avx2 = has_all(registers.leaf1_ecx, kLeaf1Avx | kLeaf1Fma | kLeaf1Osxsave) &&
                    has_all(registers.leaf7_ebx, kLeaf7Avx2) && has_all(registers.xcr0, kStateYmm);
  switch (isa) {
    case Isa::scalar:
      return true;
    case Isa::avx2:
      return avx2;
    case Isa::avx512:
      return avx2 && has_all(registers.leaf7_ebx, kLeaf7Avx512) && has_all(registers.xcr0, kStateZmm);
    case Isa::neon:
      return false;
  }
  return false;
}

bool x86_supports(Bfloat16Isa isa, const X86Registers& registers) {
  const bool dot = x86_supports(Isa::avx512, registers) && has_all(registers.leaf7_1_eax, kLeaf71Avx512Bf16);
  if (isa == Bfloat16Isa::avx512_bf16) return dot;
  return dot && has_all(registers.leaf7_edx, kLeaf7Amx) && has_all(registers.xcr0, kStateTiles);
}

bool cpu_supports(Isa isa) {
#if defined(STOOP_X86)
  return x86_supports(isa, x86_registers());
#elif defined(__aarch64__)
  return isa == Isa::scalar || isa == Isa::neon;
#else
  return isa == Isa::scalar;
#endif
}

bool cpu_supports([[maybe_unused]] Bfloat16Isa isa) {
#if defined(STOOP_X86)
  return x86_supports(isa, x86_registers()) && (isa != Bfloat16Isa::amx_bf16 || system_offers_tiles());
#else
  return false;
#endif
}

bool allow_tiles() {
#if defined(STOOP_X86) && defined(__linux__)
  static const bool allowed = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return allowed;
#else
  return false;
#endif
}

std::string_view cpu_vendor() {
#if defined(STOOP_X86)
  static const std::string vendor = read_vendor();
  return vendor;
#else
  return {};
#endif
}

std::optional<double> cgroup_cpu_quota(std::string_view self_cgroup, const fs::path& root) {
  std::optional<double> best;
  while (!self_cgroup.empty()) {
    const std::size_t end = self_cgroup.find('\n');
    const std::string_view line = self_cgroup.substr(0, end);  // "hierarchy:controllers:/path"
    self_cgroup.remove_prefix(end == std::string_view::npos ? self_cgroup.size() : end + 1);
    const std::size_t first = line.find(':');
    if (first == std::string_view::npos) continue;
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const std::string_view group = line.substr(second + 1);
    if (controllers.empty()) {
      walk_up(root, group, quota_v2, best);
    } else if (lists_cpu(controllers)) {
      walk_up(root / "cpu", group, quota_v1, best);
      if (controllers != "cpu") walk_up(root / fs::path(controllers), group, quota_v1, best);
    }
  }
  return best;
}

int limit_cores(int affinity_cores, std::optional<double> quota) {
  if (quota && *quota < affinity_cores) affinity_cores = static_cast<int>(std::ceil(*quota));
  return std::max(1, affinity_cores);
}

std::vector<int> affinity_cpus() {
  std::vector<int> cpus;
#if defined(__linux__)
  // cpu_set_t ends at 1024 CPUs; the kernel refuses a mask smaller than its own with EINVAL.
  for (int most = 1024; most <= 1 << 20 && cpus.empty(); most *= 4) {
    std::vector<cpu_set_t> mask(CPU_ALLOC_SIZE(most) / sizeof(cpu_set_t) + 1);
    const std::size_t bytes = mask.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, mask.data()) != 0) continue;
    for (int cpu = 0; cpu < static_cast<int>(8 * bytes); ++cpu) {
      if (CPU_ISSET_S(cpu, bytes, mask.data())) cpus.push_back(cpu);
    }
  }
#elif defined(_WIN32)
  DWORD_PTR mask = 0, system = 0;
  if (!GetProcessAffinityMask(GetCurrentProcess(), &mask, &system)) return cpus;  // 0 where it runs in several groups
  for (int cpu = 0; cpu < static_cast<int>(8 * sizeof mask); ++cpu) {
    if ((mask >> cpu & 1) != 0) cpus.push_back(cpu);
  }
#endif
  return cpus;
}

int count_usable_cores() {
#if defined(__linux__)
  const std::vector<int> cpus = affinity_cpus();
  const int cores = static_cast<int>(cpus.empty() ? std::thread::hardware_concurrency() : cpus.size());
  return limit_cores(cores, cgroup_cpu_quota(read_text("/proc/self/cgroup"), "/sys/fs/cgroup"));
#elif defined(_WIN32)
  const std::vector<int> cpus = affinity_cpus();
  return limit_cores(static_cast<int>(cpus.empty() ? GetActiveProcessorCount(ALL_PROCESSOR_GROUPS) : cpus.size()), {});
#else
  return limit_cores(static_cast<int>(std::thread::hardware_concurrency()), {});
#endif
}

}  // namespace stoop
