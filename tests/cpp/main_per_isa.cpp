// The main program of the kernel tests, which ctest runs once per instruction set with STOOP_ISA set.
// An instruction set that this CPU or build lacks is skipped with the reason; one that it has must be the one that runs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include <stoop/runtime.hpp>

namespace {

class ForcedIsa : public ::testing::Environment {
 public:
  void SetUp() override {
    const char* wanted = std::getenv("STOOP_ISA");
    if (wanted == nullptr) return;
    const auto available = stoop::available_isas();
    if (std::find(available.begin(), available.end(), wanted) == available.end()) {
      GTEST_SKIP() << "STOOP_ISA=" << wanted << " is not available on this machine";
    }
    ASSERT_EQ(stoop::active_isa(), wanted) << "STOOP_ISA was not obeyed";
  }
};

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::AddGlobalTestEnvironment(new ForcedIsa);  // gtest deletes it
  return RUN_ALL_TESTS();
}
