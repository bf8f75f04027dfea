// Thread limits, the report of what is in use, and the measured limits.
#include <stoop/runtime.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <stoop/error.hpp>

#include <atomic>
#include <chrono>
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

#include "cpu/cpu_features.hpp"
#include "test_environment.hpp"

namespace stoop {
namespace {

// STOOP_NUM_THREADS is read once per process: each of these runs in a process of its own, ended by _exit.
int threads_of_a_fresh_process(const char* value) {
  const WithEnvironment threads("STOOP_NUM_THREADS", value);
  return get_num_threads();
}

// 0 where `value` is refused with a message that names the variable and the value.
int refusal_of_a_fresh_process(const char* value) {
  const WithEnvironment threads("STOOP_NUM_THREADS", value);
  for (int attempt = 0; attempt < 2; ++attempt) {
    try {
      get_num_threads();
      return 1;
    } catch (const ValueError& error) {
      const std::string message = error.what();
      if (message.rfind("[STOOP_NUM_THREADS] ", 0) != 0) return 2;
      if (message.find("\"" + std::string(value) + "\"") == std::string::npos) return 3;
    }
  }
  set_num_threads(2);  // an explicit number makes the variable irrelevant
  return get_num_threads() == 2 ? 0 : 4;
}

class RuntimeDeathTest : public ::testing::Test {
 protected:
  void SetUp() override { ::testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(RuntimeDeathTest, NumThreadsComesFromTheEnvironment) {
  EXPECT_EXIT(::_exit(threads_of_a_fresh_process("3")), ::testing::ExitedWithCode(3), "");
  EXPECT_EXIT(::_exit(threads_of_a_fresh_process(nullptr) == usable_cores() ? 0 : 1), ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(::_exit(threads_of_a_fresh_process("") == usable_cores() ? 0 : 1), ::testing::ExitedWithCode(0), "");
}

TEST_F(RuntimeDeathTest, NumThreadsRefusesWhatIsNoPositiveInteger) {
  for (const char* value : {"0", "-2", "two", "4 ", "1.5", "99999999999999"}) {
    EXPECT_EXIT(::_exit(refusal_of_a_fresh_process(value)), ::testing::ExitedWithCode(0), "") << value;
  }
}

TEST(NumThreads, SetAndGet) {
  const int before = get_num_threads();
  EXPECT_GE(before, 1);
  set_num_threads(7);
  EXPECT_EQ(get_num_threads(), 7);
  EXPECT_THROW(set_num_threads(0), ValueError);
  EXPECT_THROW(set_num_threads(-1), ValueError);
  EXPECT_EQ(get_num_threads(), 7);
  set_num_threads(before);
}

TEST(UsableCores, AtLeastOne) { EXPECT_GE(usable_cores(), 1); }

TEST(Isas, ActiveIsTheBestOrTheForcedOne) {
  const std::vector<std::string> isas = available_isas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.back(), "scalar");
  {
    const WithEnvironment unset("STOOP_ISA", nullptr);
    EXPECT_EQ(active_isa(), isas.front());
  }
  const WithEnvironment forced("STOOP_ISA", "scalar");
  EXPECT_EQ(active_isa(), "scalar");
}

TEST(BuildInfo, IsFilled) {
  const BuildInfo info = build_info();
  EXPECT_FALSE(info.version.empty());
  EXPECT_FALSE(info.compiler.empty());
  EXPECT_FALSE(info.build_type.empty());
}

TEST(FmaPeak, IsPlausible) {
  const double single = measure_fma_peak<float>(1);
  const double half = measure_fma_peak<double>(1);
  EXPECT_GT(single, 0.1);
  EXPECT_LT(single, 2000.0);
  EXPECT_GT(half, 0.1);
  EXPECT_GT(measure_fma_peak<float>(2), 0.1);
  EXPECT_THROW(measure_fma_peak<float>(0), ValueError);
}

TEST(FmaPeak, EveryIsa) {
  for (const std::string& isa : available_isas()) {
    const WithEnvironment forced("STOOP_ISA", isa.c_str());
    const double gflops = measure_fma_peak<float>(1);
    EXPECT_GT(gflops, 0.1);
    RecordProperty(isa + "_gflops", std::to_string(gflops));
  }
}

TEST(MemoryBandwidth, IsPlausible) {
  for (const int threads : {1, 2}) {
    const double gbs = measure_memory_bandwidth(threads);
    EXPECT_GT(gbs, 0.1);
    EXPECT_LT(gbs, 5000.0);
  }
  EXPECT_THROW(measure_memory_bandwidth(0), ValueError);
  EXPECT_THROW(measure_memory_bandwidth(kMostThreads + 1), ValueError);
}

TEST(CoreLatency, IsPlausibleOrUnknown) {
  const double latency = measure_core_latency();
  RecordProperty("nanoseconds", std::to_string(latency));
  if (usable_cores() < 2) {
    EXPECT_TRUE(std::isnan(latency));
  } else if (!std::isnan(latency)) {
    EXPECT_GT(latency, 5.0);
    EXPECT_LT(latency, 20e3);
  }
}

TEST(CoreLatency, LeavesTheAffinityAlone) {
  const std::vector<int> before = affinity_cpus();
  measure_core_latency();
  EXPECT_EQ(affinity_cpus(), before);
}

#if defined(__linux__)
TEST(CoreLatency, IsUnknownOnOneCore) {
  double latency = 0.0;
  std::thread other([&] {  // the mask ends with the thread
    cpu_set_t mask;
    CPU_ZERO(&mask);
    CPU_SET(static_cast<std::size_t>(affinity_cpus().front()), &mask);
    ASSERT_EQ(pthread_setaffinity_np(pthread_self(), sizeof mask, &mask), 0);
    latency = measure_core_latency();
  });
  other.join();
  EXPECT_TRUE(std::isnan(latency));
}
#endif

// Both cores are kept busy by three threads each: the measurement ends all the same, with or without a figure.
TEST(CoreLatency, EndsOnABusyMachine) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (int i = 0; i < 3 * usable_cores() && i < 24; ++i)
    busy.emplace_back([&] {
      while (!stop) {
      }
    });
  const auto start = std::chrono::steady_clock::now();
  const double latency = measure_core_latency();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  stop = true;
  for (std::thread& thread : busy) thread.join();
  EXPECT_TRUE(std::isnan(latency) || latency > 5.0) << latency;
  EXPECT_LT(taken.count(), 10.0);
}

}  // namespace
}  // namespace stoop
