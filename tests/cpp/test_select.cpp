// The choice of an instruction set and of its table, and STOOP_ISA.
#include "cpu/select.hpp"

#include <gtest/gtest.h>

#include <stoop/error.hpp>

#include <algorithm>
#include <string>

#include "cpu/cpu_features.hpp"
#include "spec/optimizers.hpp"
#include "test_environment.hpp"

namespace stoop {
namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// The message select_isa() refuses STOOP_ISA=value with; empty when it does not.
std::string refusal_of(const char* value) {
  const WithEnvironment isa("STOOP_ISA", value);
  try {
    select_isa();
  } catch (const ValueError& error) {
    return error.what();
  }
  return {};
}

TEST(SupportedIsas, BestFirstAndScalarLast) {
  const std::vector<Isa> isas = supported_isas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.back(), Isa::scalar);
  for (const Isa isa : isas) EXPECT_TRUE(cpu_supports(isa)) << name_of(isa);
  const auto avx512 = std::find(isas.begin(), isas.end(), Isa::avx512);
  const auto avx2 = std::find(isas.begin(), isas.end(), Isa::avx2);
  EXPECT_TRUE(avx512 == isas.end() || avx512 < avx2);
}

TEST(SelectIsa, BestWhereUnsetOrEmpty) {
  for (const char* value : {static_cast<const char*>(nullptr), ""}) {
    const WithEnvironment isa("STOOP_ISA", value);
    EXPECT_EQ(select_isa(), supported_isas().front());
  }
}

TEST(SelectIsa, TheEnvironmentForcesEachSupportedOne) {
  for (const Isa isa : supported_isas()) {
    const WithEnvironment forced("STOOP_ISA", name_of(isa));
    EXPECT_EQ(select_isa(), isa);
  }
}

TEST(SelectIsa, UnknownNameListsTheValidOnes) {
  const std::string message = refusal_of("sse9");
  EXPECT_EQ(message.rfind("[STOOP_ISA] ", 0), 0u) << message;
  EXPECT_TRUE(contains(message, "\"sse9\"")) << message;
  for (const Isa isa : supported_isas()) EXPECT_TRUE(contains(message, name_of(isa))) << message;
  EXPECT_FALSE(refusal_of("AVX2").empty());
}

TEST(SelectIsa, KnownButUnusableSaysWhy) {
  for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::neon}) {
    const std::vector<Isa> usable = supported_isas();
    const std::string message = refusal_of(name_of(isa));
    if (std::find(usable.begin(), usable.end(), isa) != usable.end()) {
      EXPECT_TRUE(message.empty()) << message;
    } else if (cpu_supports(isa)) {
      EXPECT_TRUE(contains(message, "not compiled into this build")) << message;
    } else {
      EXPECT_TRUE(contains(message, "does not support")) << message;
    }
  }
}

template <class T>
void expect_complete(const OpTable<T>& table, Isa isa) {
  EXPECT_STREQ(table.name, name_of(isa));
  EXPECT_GE(table.gemm_col_tile, 1);
  EXPECT_GE(table.fma_loop_flops, 1);
  EXPECT_TRUE(table.gemm_scratch_elements && table.gemm && table.gemm_epilogue && table.regularize &&
              table.batch_norm_tangent && table.batch_norm_gradient_tangent && table.layer_norm_tangent &&
              table.layer_norm_gradient_tangent && table.layer_norm_gamma_tangent && table.column_sum &&
              table.fma_loop);
  for (int i = 0; i < kInputTypeCount; ++i) EXPECT_TRUE(table.gather[i]) << "input type " << i;
  for (int i = 0; i < kActivationCount; ++i) {
    EXPECT_TRUE(table.activation_forward[i] && table.activation_backward[i] && table.activation_tangent[i])
        << "activation " << i;
  }
  for (int i = 0; i < kLossCount; ++i) EXPECT_TRUE(table.loss[i] && table.loss_tangent[i]) << "loss " << i;
  int i = 0;
  for_each_alternative<Optimizer>(
      [&]<class Op>(TypeOf<Op>) { EXPECT_EQ(table.update[i++] == nullptr, Spec<Op>::kFullBatch) << Spec<Op>::kName; });
}

TEST(OpTable, EveryEntryOfEverySupportedIsaIsFilled) {
  for (const Isa isa : supported_isas()) {
    expect_complete(op_table<float>(isa), isa);
    expect_complete(op_table<double>(isa), isa);
  }
}

TEST(OpTable, AnUnusableOneIsRefused) {
  const std::vector<Isa> usable = supported_isas();
  for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::neon}) {
    if (std::find(usable.begin(), usable.end(), isa) != usable.end()) continue;
    EXPECT_THROW(op_table<float>(isa), ValueError) << name_of(isa);
  }
}

}  // namespace
}  // namespace stoop
