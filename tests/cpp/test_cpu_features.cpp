// Instruction sets decided from raw cpuid values, and CPU quotas from fake cgroup trees.
#include "cpu/cpu_features.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#if defined(__linux__)
#include <sched.h>
#endif

namespace stoop {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kFmaOsxsaveAvx = (1u << 12) | (1u << 27) | (1u << 28);
constexpr std::uint32_t kAvx2 = 1u << 5;
constexpr std::uint32_t kAvx512All = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);

TEST(X86Supports, EverythingOnAFullCpu) {
  const X86Registers full{kFmaOsxsaveAvx, kAvx2 | kAvx512All, 0xe7};
  EXPECT_TRUE(x86_supports(Isa::scalar, full));
  EXPECT_TRUE(x86_supports(Isa::avx2, full));
  EXPECT_TRUE(x86_supports(Isa::avx512, full));
  EXPECT_FALSE(x86_supports(Isa::neon, full));
}

TEST(X86Supports, ScalarAlone) {
  EXPECT_TRUE(x86_supports(Isa::scalar, {}));
  EXPECT_FALSE(x86_supports(Isa::avx2, {}));
  EXPECT_FALSE(x86_supports(Isa::avx512, {}));
}

TEST(X86Supports, NeedsTheStateToBeSavedByTheSystem) {
  const X86Registers no_zmm{kFmaOsxsaveAvx, kAvx2 | kAvx512All, 0x07};
  EXPECT_TRUE(x86_supports(Isa::avx2, no_zmm));
  EXPECT_FALSE(x86_supports(Isa::avx512, no_zmm));
  const X86Registers no_ymm{kFmaOsxsaveAvx, kAvx2 | kAvx512All, 0x03};
  EXPECT_FALSE(x86_supports(Isa::avx2, no_ymm));
  const X86Registers no_opmask{kFmaOsxsaveAvx, kAvx2 | kAvx512All, 0xc7};
  EXPECT_FALSE(x86_supports(Isa::avx512, no_opmask));
}

TEST(X86Supports, NeedsEachExtension) {
  for (const unsigned bit : {12u, 27u, 28u}) {
    const X86Registers registers{kFmaOsxsaveAvx & ~(1u << bit), kAvx2 | kAvx512All, 0xe7};
    EXPECT_FALSE(x86_supports(Isa::avx2, registers)) << "leaf 1 bit " << bit;
    EXPECT_FALSE(x86_supports(Isa::avx512, registers)) << "leaf 1 bit " << bit;
  }
  for (const unsigned bit : {16u, 17u, 30u, 31u}) {
    const X86Registers registers{kFmaOsxsaveAvx, kAvx2 | (kAvx512All & ~(1u << bit)), 0xe7};
    EXPECT_TRUE(x86_supports(Isa::avx2, registers)) << "leaf 7 bit " << bit;
    EXPECT_FALSE(x86_supports(Isa::avx512, registers)) << "leaf 7 bit " << bit;
  }
}

constexpr std::uint32_t kAmx = (1u << 22) | (1u << 24);
constexpr std::uint32_t kAvx512Bf16 = 1u << 5;
constexpr std::uint64_t kZmmAndTiles = 0xe7 | (1u << 17) | (1u << 18);

TEST(X86Supports, ProductsOfBfloat16) {
  const X86Registers full{kFmaOsxsaveAvx, kAvx2 | kAvx512All, kZmmAndTiles, kAmx, kAvx512Bf16};
  EXPECT_TRUE(x86_supports(Bfloat16Isa::amx_bf16, full));
  EXPECT_TRUE(x86_supports(Bfloat16Isa::avx512_bf16, full));
  for (const std::uint64_t bit : {17u, 18u}) {  // tiles that the system does not save
    X86Registers registers = full;
    registers.xcr0 &= ~(std::uint64_t{1} << bit);
    EXPECT_FALSE(x86_supports(Bfloat16Isa::amx_bf16, registers)) << "xcr0 bit " << bit;
    EXPECT_TRUE(x86_supports(Bfloat16Isa::avx512_bf16, registers)) << "xcr0 bit " << bit;
  }
  for (const unsigned bit : {22u, 24u}) {
    X86Registers registers = full;
    registers.leaf7_edx &= ~(1u << bit);
    EXPECT_FALSE(x86_supports(Bfloat16Isa::amx_bf16, registers)) << "leaf 7 edx bit " << bit;
    EXPECT_TRUE(x86_supports(Bfloat16Isa::avx512_bf16, registers)) << "leaf 7 edx bit " << bit;
  }
  for (const auto spoil : {+[](X86Registers& r) { r.leaf7_1_eax = 0; }, +[](X86Registers& r) { r.xcr0 &= ~0xe0u; },
                           +[](X86Registers& r) { r.leaf7_ebx &= ~(1u << 30); }}) {
    X86Registers registers = full;
    spoil(registers);
    EXPECT_FALSE(x86_supports(Bfloat16Isa::amx_bf16, registers));
    EXPECT_FALSE(x86_supports(Bfloat16Isa::avx512_bf16, registers));
  }
}

TEST(CpuSupports, AgreesWithTheCompiler) {
  EXPECT_TRUE(cpu_supports(Isa::scalar));
#if defined(__x86_64__)
  EXPECT_EQ(cpu_supports(Isa::avx2), __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
  EXPECT_EQ(cpu_supports(Isa::avx512), __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                                           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"));
  EXPECT_EQ(cpu_supports(Bfloat16Isa::avx512_bf16), cpu_supports(Isa::avx512) && __builtin_cpu_supports("avx512bf16"));
  EXPECT_FALSE(cpu_supports(Isa::neon));
  EXPECT_EQ(cpu_vendor().size(), 12u);
#elif defined(__aarch64__)
  EXPECT_TRUE(cpu_supports(Isa::neon));
  EXPECT_FALSE(cpu_supports(Isa::avx2));
#endif
}

// A cgroup file system in a folder of its own.
class CgroupQuota : public ::testing::Test {
 protected:
  void SetUp() override {
    const ::testing::TestInfo* test = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = fs::path(::testing::TempDir()) / (std::string("stoop_cgroup_") + test->name());
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const fs::path& file, std::string_view text) const {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  std::optional<double> quota(std::string_view self_cgroup) const { return cgroup_cpu_quota(self_cgroup, root_); }

  fs::path root_;
};

TEST_F(CgroupQuota, NoneWithoutFiles) {
  EXPECT_EQ(quota(""), std::nullopt);
  EXPECT_EQ(quota("0::/\n"), std::nullopt);
  EXPECT_EQ(quota("no colons\nonly:one\n1:cpu:/x\n"), std::nullopt);
}

TEST_F(CgroupQuota, V2Max) {
  write("a/cpu.max", "max 100000\n");
  EXPECT_EQ(quota("0::/a\n"), std::nullopt);
}

TEST_F(CgroupQuota, V2OwnGroup) {
  write("a/b/cpu.max", "150000 100000\n");
  EXPECT_EQ(quota("0::/a/b\n"), 1.5);
  EXPECT_EQ(quota("0::/a/b"), 1.5);
}

TEST_F(CgroupQuota, V2SmallestOnTheWayUp) {
  write("a/b/c/cpu.max", "400000 100000\n");
  write("a/b/cpu.max", "max 100000\n");
  write("a/cpu.max", "100000 50000\n");
  EXPECT_EQ(quota("0::/a/b/c\n"), 2.0);
  write("cpu.max", "50000 100000\n");
  EXPECT_EQ(quota("0::/a/b/c\n"), 0.5);
}

TEST_F(CgroupQuota, V2GroupThatTheContainerHides) {
  write("cpu.max", "300000 100000\n");
  EXPECT_EQ(quota("0::/docker/0123\n"), 3.0);
  EXPECT_EQ(quota("0::/../../outside\n"), 3.0);
}

TEST_F(CgroupQuota, V2Damaged) {
  write("a/cpu.max", "");
  EXPECT_EQ(quota("0::/a\n"), std::nullopt);
  write("a/cpu.max", "100000 0\n");
  EXPECT_EQ(quota("0::/a\n"), std::nullopt);
  write("a/cpu.max", "100000\n");
  EXPECT_EQ(quota("0::/a\n"), std::nullopt);
}

TEST_F(CgroupQuota, V1Unlimited) {
  write("cpu/a/cpu.cfs_quota_us", "-1\n");
  write("cpu/a/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota("4:cpu:/a\n"), std::nullopt);
}

TEST_F(CgroupQuota, V1JointMountAndParent) {
  write("cpu,cpuacct/a/b/cpu.cfs_quota_us", "800000\n");
  write("cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
  write("cpu,cpuacct/a/cpu.cfs_quota_us", "250000\n");
  write("cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota("9:memory:/x\n4:cpu,cpuacct:/a/b\n0::/\n"), 2.5);
}

TEST_F(CgroupQuota, V1OtherControllersAreNotAsked) {
  write("cpu/cpu.cfs_quota_us", "100000\n");
  write("cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota("3:cpuset:/\n2:cpuacct:/\n"), std::nullopt);
  EXPECT_EQ(quota("2:cpuacct,cpu:/\n"), 1.0);
}

TEST(LimitCores, RoundsUpAndKeepsOne) {
  EXPECT_EQ(limit_cores(8, {}), 8);
  EXPECT_EQ(limit_cores(8, 2.0), 2);
  EXPECT_EQ(limit_cores(8, 2.1), 3);
  EXPECT_EQ(limit_cores(8, 0.1), 1);
  EXPECT_EQ(limit_cores(2, 64.0), 2);
  EXPECT_EQ(limit_cores(0, {}), 1);
}

#if defined(__linux__)
TEST(CountUsableCores, FollowsTheAffinityMask) {
  cpu_set_t before;
  if (sched_getaffinity(0, sizeof before, &before) != 0) GTEST_SKIP() << "more CPUs than a cpu_set_t holds";
  EXPECT_GE(count_usable_cores(), 1);
  EXPECT_LE(count_usable_cores(), CPU_COUNT(&before));
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  const int cores = count_usable_cores();
  sched_setaffinity(0, sizeof before, &before);
  EXPECT_EQ(cores, 1);
}
#endif

}  // namespace
}  // namespace stoop
