// Products in bfloat16, each way this machine has: against a triple loop over rounded operands, and training with them.
// Both ways need not be there: what a machine lacks is skipped with the reason, and its refusal is tested instead.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>

#include <stoop/diagnose.hpp>
#include <stoop/error.hpp>
#include <stoop/runtime.hpp>

#include "cpu/cpu_features.hpp"
#include "gemm_product.hpp"
#include "test_environment.hpp"

namespace stoop {
namespace {

// To the nearest bfloat16, ties to even; NaN stays NaN.
float rounded(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (!std::isnan(x)) bits += 0x7fffu + (bits >> 16 & 1u);
  bits &= 0xffff0000u;
  std::memcpy(&x, &bits, sizeof bits);
  return x;
}

class Bfloat16 : public ::testing::TestWithParam<Bfloat16Isa> {
 protected:
  void SetUp() override {
    const std::vector<Bfloat16Isa> usable = supported_bfloat16();
    if (std::find(usable.begin(), usable.end(), GetParam()) == usable.end()) {
      GTEST_SKIP() << "this CPU has no " << name_of(GetParam());
    }
    const Bfloat16Table& table = bfloat16_table(GetParam());
    kernel_ = {.gemm = table.gemm, .scratch_elements = table.gemm_scratch_elements, .round = rounded};
  }
  void expect_right(const Case& c) {
    Product<float> product(c, kernel_);
    product.clear();
    product.run();
    product.expect_right();
    EXPECT_TRUE(product.scratch_end_is_untouched()) << c;
  }

  GemmKernel<float> kernel_;
};
INSTANTIATE_TEST_SUITE_P(Each, Bfloat16, ::testing::Values(Bfloat16Isa::amx_bf16, Bfloat16Isa::avx512_bf16),
                         [](const auto& way) { return std::string(name_of(way.param)); });

TEST_P(Bfloat16, MatchesATripleLoopAroundTileEdges) {
  for (const GemmForm form : kForms) {
    for (const Index m : {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65}) {
      for (const Index n : {1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 97}) {
        for (const Index k : {1, 2, 3, 31, 32, 33, 63, 65}) {
          expect_right({form, m, n, k});
          expect_right({form, m, n, k, 5, 1});
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// A run of k has 512 p's, one of rows 512 rows.
TEST_P(Bfloat16, SeveralRunsOfRowsAndOfK) {
  for (const GemmForm form : kForms) {
    for (const Index k : {511, 512, 513, 1024, 1025, 1601}) {
      expect_right({form, 9, 50, k});
      expect_right({form, 33, 97, k, 3, 1});
      if (HasFatalFailure()) return;
    }
    expect_right({form, 512, 35, 40});
    expect_right({form, 513, 35, 520, 3, 1});
    expect_right({form, 1030, 33, 11});
    if (HasFatalFailure()) return;
  }
}

TEST_P(Bfloat16, NothingIsWrittenWithoutRowsOrColumns) {
  for (const GemmForm form : kForms) {
    for (const Case& c : {Case{form, 0, 5, 3}, Case{form, 5, 0, 3, 4}, Case{form, 0, 0, 300}}) expect_right(c);
  }
}

TEST_P(Bfloat16, EveryEpilogue) {
  for (const GemmForm form : kForms) {
    for (const ActivationKind kind : kActivations) {
      for (const Case& c : {Case{form, 5, 7, 3}, Case{form, 45, 65, 600, 3, 1}, Case{form, 520, 18, 40}}) {
        Product<float> plain(c, kernel_), biased(c, kernel_), gated(c, kernel_);
        plain.use_activation(kind, false);
        biased.use_activation(kind, true);
        gated.use_gate(kind);
        for (Product<float>* product : {&plain, &biased, &gated}) {
          product->clear();
          product->run();
          product->expect_right();
        }
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(Bfloat16, SumsOfABatchNormalisation) {
  for (const GemmForm form : {GemmForm::nn, GemmForm::nt}) {
    for (const Case& c : {Case{form, 1, 1, 1}, Case{form, 13, 65, 300, 3, 1}, Case{form, 600, 150, 700}}) {
      for (const bool dropped : {false, true}) expect_sums_in_epilogue(c, dropped, kernel_);
    }
  }
}

TEST_P(Bfloat16, Dropout) {
  for (const GemmForm form : kForms) {
    for (const Case& c : {Case{form, 1, 1, 1}, Case{form, 13, 65, 600, 3, 1}, Case{form, 520, 150, 40}}) {
      expect_dropouts_in_epilogue(c, kernel_);
    }
  }
}

TEST_P(Bfloat16, BitsDoNotDependOnTheSlice) {
  for (const GemmForm form : kForms) {
    for (const Case& c : {Case{form, 41, 53, 70}, Case{form, 67, 103, 1100, 200}, Case{form, 515, 3, 2}}) {
      Product<float> plain(c, kernel_), activated(c, kernel_), gated(c, kernel_);
      activated.use_activation(kind_of<Tanh>(), true);
      gated.use_gate(kind_of<Sigmoid>());
      for (Product<float>* product : {&plain, &activated, &gated}) expect_slice_invariant(*product, c);
      if (HasFatalFailure()) return;
    }
  }
}

// A call that may rely on the copy of b in the scratch gives the same bits, and where the copy is kept does not look at
// b. Few panels are kept; the second case has too many.
TEST_P(Bfloat16, ACopyOfBServesFurtherCalls) {
  for (const GemmForm form : kForms) {
    for (const bool kept : {true, false}) {
      const Case c = kept ? Case{form, 75, 131, 600, 3, 1} : Case{form, 19, 4100, 600};
      Product<float> product(c, kernel_);
      product.use_activation(kind_of<Tanh>(), true);
      product.clear();
      product.run();
      const std::vector<float> whole = product.memory();
      product.clear();
      product.run_rows(0, 9);
      if (kept) product.b(0, 0) = product.b(599, 130) = kNaN<float>;
      product.set_same_b();
      product.run_rows(9, 17);
      product.run_rows(17, c.m);
      EXPECT_TRUE(same_bits<float>(whole, product.memory())) << c;
      EXPECT_TRUE(product.scratch_end_is_untouched()) << c;
    }
  }
}

// With more panels a copy is kept for further calls in form tn, and for several runs of rows of one call in any form. The
// latter is not the copy that a call of one run of rows has left.
TEST_P(Bfloat16, ALargeCopyOfBServesFurtherCallsInFormTn) {
  for (const GemmForm form : kForms) {
    const Case c{form, 600, 300, 1100};
    Product<float> product(c, kernel_);
    product.clear();
    product.run();
    const std::vector<float> whole = product.memory();
    product.clear();
    product.run_rows(0, 9);
    if (form == GemmForm::tn) product.b(0, 0) = product.b(1099, 299) = kNaN<float>;
    product.set_same_b();
    product.run_rows(9, 17);
    product.run_rows(17, c.m);
    EXPECT_TRUE(same_bits<float>(whole, product.memory())) << c;
    EXPECT_TRUE(product.scratch_end_is_untouched()) << c;
  }
}

// A thread's scratch is made for the largest batch, and smaller ones come as well.
TEST_P(Bfloat16, ScratchForALargerProductIsEnoughForASmaller) {
  for (const Index n : {1, 48, 700, 2048, 5000}) {
    Index before = 0;
    for (const Index k : {1, 64, 512, 513, 2048, 4096, 100'000}) {
      const Index elements = kernel_.scratch_elements(64, n, k);
      EXPECT_GE(elements, before) << n << ", " << k;
      EXPECT_GE(elements, kernel_.scratch_elements(64, n / 2, k)) << n << ", " << k;
      EXPECT_GE(elements, kernel_.scratch_elements(9, n, k)) << n << ", " << k;
      before = elements;
    }
  }
}

// 1 + 2^-8 lies between 1 and 1 + 2^-7: the tie goes to the even mantissa. One more bit goes up.
TEST_P(Bfloat16, RoundsToTheNearestTiesToEven) {
  const float up = 0x1.02p0f, tie = 0x1.01p0f, above = 0x1.010002p0f, odd_tie = 0x1.03p0f;
  const float cases[][2] = {
      {tie, 1.0f}, {above, up},   {odd_tie, 0x1.04p0f},    {-tie, -1.0f},
      {up, up},    {-above, -up}, {3e38f, rounded(3e38f)}, {std::numeric_limits<float>::max(), kInfinity<float>}};
  for (const GemmForm form : kForms) {
    for (const auto& [given, want] : cases) {
      for (const bool in_a : {true, false}) {
        Product<float> product({form, 1, 1, 1}, kernel_);
        product.a(0, 0) = in_a ? given : 1.0f;
        product.b(0, 0) = in_a ? 1.0f : given;
        product.run();
        EXPECT_EQ(product.c(0, 0), want) << given;
      }
    }
  }
}

TEST_P(Bfloat16, NaNAndInfinityStayInTheirRowsAndColumns) {
  for (const GemmForm form : kForms) {
    for (const float bad : {kNaN<float>, kInfinity<float>}) {
      Product<float> product({form, 5, 37, 301}, kernel_);
      product.use_activation(kind_of<ReLU>(), true);
      product.a(2, 300) = bad;
      product.b(300, 7) = kNaN<float>;
      for (Index j = 0; j < 37; ++j) {
        if (j != 7) product.b(300, j) = 1.0f;
      }
      product.run();
      for (Index i = 0; i < 5; ++i) {
        for (Index j = 0; j < 37; ++j) {
          EXPECT_EQ(std::isfinite(product.c(i, j)), i != 2 && j != 7) << i << ", " << j;
          EXPECT_EQ(std::isnan(product.c(i, j)), (i == 2 && std::isnan(bad)) || j == 7) << i << ", " << j;
        }
      }
    }
  }
}

TEST_P(Bfloat16, TheLoopOfThePeakRuns) {
  alignas(64) float sink[64] = {};
  bfloat16_table(GetParam()).dot_loop(3, sink);
  EXPECT_TRUE(std::isfinite(sink[0]));
  EXPECT_GE(bfloat16_table(GetParam()).dot_loop_flops, 1);
}

// ---- trainers ----

const std::vector<Layer> kLayers = {Dense{.units = 37, .activation = Tanh{}}, BatchNorm{}, ReLU{}, Dense{.units = 5}};

// Two epochs; every element of the gradient and of the parameters after it.
std::vector<float> trained(const TrainerConfig& config, const std::vector<Layer>& layers = kLayers) {
  const Samples<float> samples(203, 19, 5);
  Model<float> model({.input_dim = 19, .layers = layers, .seed = 3});
  Trainer<float> trainer(model, config);
  const Targets<float> y = samples.y(config.loss);
  trainer.fit(samples.x(), y, {.epochs = 2, .batch_size = 64});
  std::vector<float> out(model.parameter_block().size());
  trainer.loss_and_grad(samples.x(), y, out);
  trainer.step(samples.x(), y);
  const std::vector<float> parameters = parameters_of(model);
  out.insert(out.end(), parameters.begin(), parameters.end());
  return out;
}

TEST_P(Bfloat16, TrainingHasTheSameBitsForAnyNumberOfThreads) {
  const WithEnvironment way("STOOP_BFLOAT16", name_of(GetParam()));
  for (const std::optional<double> clip_norm : {std::optional<double>(), std::optional<double>(0.5)}) {
    TrainerConfig config{.optimizer = SGD{.learning_rate = 0.1, .momentum = 0.9},
                         .clip_norm = clip_norm,
                         .precision = Precision::bfloat16,
                         .num_threads = 1};
    const std::vector<float> alone = trained(config);
    for (config.num_threads = 2; config.num_threads <= 3; ++config.num_threads) {
      EXPECT_TRUE(same_bits<float>(alone, trained(config))) << config.num_threads << " threads";
    }
    config.precision = Precision::float32;
    EXPECT_FALSE(same_bits<float>(alone, trained(config))) << "nothing was rounded";
  }
}

// One Dense: the gradient of its weight is x^T @ d, of rounded x and d; d is that of the loss at rounded products.
TEST_P(Bfloat16, TheGradientIsThatOfRoundedOperands) {
  const WithEnvironment way("STOOP_BFLOAT16", name_of(GetParam()));
  const Samples<float> samples(33, 7, 4);
  const Loss loss = MeanSquaredError{};
  Model<float> model({.input_dim = 7, .layers = {Dense{.units = 4}}});
  Trainer<float> trainer(model, {.loss = loss, .precision = Precision::bfloat16});
  std::vector<float> gradient(model.parameter_block().size());
  trainer.loss_and_grad(samples.x(), samples.y(loss), gradient);
  const auto at = [](Index i, Index cols, Index j) { return static_cast<std::size_t>(i * cols + j); };
  const std::vector<float> parameters = parameters_of(model);
  double weight[7][4] = {};
  for (Index i = 0; i < 33; ++i) {
    for (Index j = 0; j < 4; ++j) {
      double out = 0.0;
      for (Index p = 0; p < 7; ++p) {
        out += static_cast<double>(rounded(samples.features[at(i, 7, p)])) * rounded(parameters[at(p, 4, j)]);
      }
      const float d = static_cast<float>(2.0 * (out - samples.values[at(i, 4, j)]) / (33 * 4));
      for (Index p = 0; p < 7; ++p) {
        weight[p][j] += static_cast<double>(rounded(samples.features[at(i, 7, p)])) * rounded(d);
      }
    }
  }
  // d may fall on either side of a tie: one of 33 terms may differ by 2^-8 of it.
  for (Index p = 0; p < 7; ++p) {
    for (Index j = 0; j < 4; ++j) EXPECT_NEAR(gradient[at(p, 4, j)], weight[p][j], 2e-4) << p << ", " << j;
  }
}

TEST_P(Bfloat16, EvaluationAndCurvatureAreThoseOfFloat32) {
  const WithEnvironment way("STOOP_BFLOAT16", name_of(GetParam()));
  const Samples<float> samples(203, 19, 5);
  const Targets<float> y(samples.classes);
  Model<float> model({.input_dim = 19, .layers = kLayers});
  Trainer<float> half(model, {.precision = Precision::bfloat16}), full(model, {});
  EXPECT_EQ(half.evaluate(samples.x(), y).loss, full.evaluate(samples.x(), y).loss);
  EXPECT_NE(half.loss_and_grad(samples.x(), y, {}), full.loss_and_grad(samples.x(), y, {}));
  const std::size_t size = model.parameter_block().size();
  const std::vector<float> direction = numbers<float>(static_cast<Index>(size), 1);
  std::vector<float> product(size), want(size);
  half.hessian_vector_product(samples.x(), y, direction, product);
  full.hessian_vector_product(samples.x(), y, direction, want);
  EXPECT_TRUE(same_bits<float>(product, want));
  EXPECT_THROW(critical_point(half, samples.x(), y, {}), ValueError);
  EXPECT_THROW(Trainer<float>(model, {.optimizer = LBFGS{}, .precision = Precision::bfloat16}), ValueError);
}

// ---- the choice, and its refusals ----

std::string refusal_of(const TrainerConfig& config) {
  Model<float> model({.input_dim = 3, .layers = {Dense{.units = 2}}});
  try {
    Trainer<float> trainer(model, config);
  } catch (const ValueError& error) {
    return error.what();
  }
  return {};
}

TEST(Precision, OfTheOtherElementTypeIsRefused) {
  Model<double> model({.input_dim = 3, .layers = {Dense{.units = 2}}});
  Trainer<double>(model, {.precision = Precision::float32});
  Trainer<double>(model, {.precision = Precision::float64});
  EXPECT_THROW(Trainer<double>(model, {.precision = Precision::bfloat16}), ValueError);
  EXPECT_NE(refusal_of({.precision = Precision::float64}).find("a model of float32"), std::string::npos);
}

TEST(Precision, Bfloat16IsThereWhereItsKernelsAreOrSaysWhatIsMissing) {
  const std::string message = refusal_of({.precision = Precision::bfloat16});
  if (!supported_bfloat16().empty()) {
    EXPECT_EQ(message, "");
    EXPECT_EQ(active_bfloat16(), available_bfloat16().front());
    return;
  }
  EXPECT_EQ(message.rfind("[precision bfloat16] ", 0), 0u) << message;
  EXPECT_NE(message.find("AVX512-BF16"), std::string::npos) << message;
  EXPECT_EQ(active_bfloat16(), "");
}

// On every machine: kernels other than those of avx512 have no products in bfloat16 beside them.
TEST(Precision, Bfloat16GoesWithAvx512Alone) {
  for (const Isa isa : supported_isas()) {
    if (isa == Isa::avx512) continue;
    const WithEnvironment forced("STOOP_ISA", name_of(isa));
    EXPECT_TRUE(supported_bfloat16().empty()) << name_of(isa);
    EXPECT_TRUE(available_bfloat16().empty());
    const std::string message = refusal_of({.precision = Precision::bfloat16});
    EXPECT_EQ(message.rfind("[precision bfloat16] ", 0), 0u) << message;
    if (cpu_supports(Bfloat16Isa::avx512_bf16)) {
      EXPECT_NE(message.find(name_of(isa)), std::string::npos) << message;
      EXPECT_NE(message.find("STOOP_ISA"), std::string::npos) << message;
    }
  }
}

TEST(Precision, TheEnvironmentForcesEachWayAndRefusesOthers) {
  for (const Bfloat16Isa isa : supported_bfloat16()) {
    const WithEnvironment forced("STOOP_BFLOAT16", name_of(isa));
    EXPECT_EQ(select_bfloat16(), isa);
    EXPECT_EQ(active_bfloat16(), name_of(isa));
    EXPECT_STREQ(bfloat16_table(isa).name, name_of(isa));
  }
  const WithEnvironment wrong("STOOP_BFLOAT16", "amx");
  const std::string message = refusal_of({.precision = Precision::bfloat16});
  const bool available = !supported_bfloat16().empty();
  EXPECT_EQ(message.rfind(available ? "[STOOP_BFLOAT16] " : "[precision bfloat16] ", 0), 0u) << message;
}

}  // namespace
}  // namespace stoop
