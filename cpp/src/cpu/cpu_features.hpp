// Detects the instruction sets and cores of this machine.
// An instruction set counts only if the operating system saves its registers as well, and a core only if the affinity mask
// and the cgroup CPU quota let this process use it. Decoders take raw values so that tests can fake them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "select.hpp"

namespace stoop::inline v0_1 {

// Returns whether this CPU and operating system can run code compiled for `isa`: avx2 is AVX2 + FMA, and avx512 is AVX-512
// F, DQ, BW, VL + FMA. Those files may use no other extension.
bool cpu_supports(Isa isa);

// The same for products in bfloat16: avx512_bf16 is AVX512-BF16 beside avx512, amx_bf16 is AMX-TILE and AMX-BF16 beside
// avx512_bf16. The tiles of AMX also need allow_tiles().
bool cpu_supports(Bfloat16Isa isa);

// Asks Linux for the tile registers of AMX. Linux gives them only to processes that ask, and for good, since their signal
// frames grow. Returns false if it refuses. A process asks once; later calls return the first answer.
bool allow_tiles();

// Returns "AuthenticAMD", "GenuineIntel", ..., or an empty text where there is no cpuid.
std::string_view cpu_vendor();

// The registers x86_supports() decides from.
struct X86Registers {
  std::uint32_t leaf1_ecx = 0;
  std::uint32_t leaf7_ebx = 0;
  std::uint64_t xcr0 = 0;  // 0 where OSXSAVE is off
  std::uint32_t leaf7_edx = 0;
  std::uint32_t leaf7_1_eax = 0;  // of subleaf 1; 0 where there is none
};
bool x86_supports(Isa isa, const X86Registers& registers);
bool x86_supports(Bfloat16Isa isa, const X86Registers& registers);

// Returns the numbers of the CPUs in the affinity mask of the calling thread, ascending; none if the system has no masks.
std::vector<int> affinity_cpus();

// Counts the cores in the affinity mask, at most the cgroup quota rounded up, and at least 1.
int count_usable_cores();

// Returns the smallest CPU quota, in cores, from this process's cgroup up to the root, or nothing if there is no limit.
// `self_cgroup` is the text of /proc/self/cgroup, `root` the place of /sys/fs/cgroup. Reads v2 (cpu.max) and v1
// (cpu.cfs_quota_us); a folder that a container hides is skipped.
std::optional<double> cgroup_cpu_quota(std::string_view self_cgroup, const std::filesystem::path& root);

// max(1, min(affinity, ceil(quota))).
int limit_cores(int affinity_cores, std::optional<double> quota);

}  // namespace stoop
