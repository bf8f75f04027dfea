// STOOP_GEMM=auto: the classes of products and their borders, the measured tables, and the providers in the steps of
// plans.
#include "plan/product_choice.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "cpu/gemm_blas.hpp"
#include "cpu/select.hpp"
#include "base/memory.hpp"
#include "plan/plan.hpp"
#include "test_environment.hpp"

namespace stoop {
namespace {

constexpr GemmForm kForms[] = {GemmForm::nn, GemmForm::nt, GemmForm::tn};

TEST(ProductClass, FormsThenColumnsThenWork) {
  const std::pair<Index, std::size_t> columns[] = {{1, 0},  {8, 0},  {9, 1},  {16, 1},
                                                   {17, 2}, {64, 2}, {65, 3}, {4096, 3}};
  const std::pair<double, std::size_t> works[] = {{0.0, 0}, {1999999.0, 0}, {2e6, 1}, {31999999.0, 1}, {32e6, 2}};
  std::size_t form_place = 0;
  for (const GemmForm form : kForms) {
    for (const auto& [n, column_place] : columns) {
      for (const auto& [flops, work_place] : works) {
        EXPECT_EQ(product_class(form, n, flops), form_place * 12 + column_place * 3 + work_place)
            << "form " << form_place << ", columns " << n << ", FLOPs " << flops;
      }
    }
    ++form_place;
  }
}

TEST(ProductClass, OfALayer) {
  // 2 * 128 * 784 * 10 = 2.0e6 FLOPs: 10 columns forward and in the weight's gradient, 784 in that of the input.
  EXPECT_EQ(product_class(GemmForm::nn, 128, 784, 10), 0u + 3 + 1);
  EXPECT_EQ(product_class(GemmForm::nt, 128, 784, 10), 12u + 9 + 1);
  EXPECT_EQ(product_class(GemmForm::tn, 128, 784, 10), 24u + 3 + 1);
  EXPECT_EQ(product_class(GemmForm::nn, 64, 64, 64), 0u + 6 + 0);
  EXPECT_EQ(product_class(GemmForm::nn, 512, 2048, 2048), 0u + 9 + 2);
}

TEST(ProductTable, TheBlasOnlyWhereItWinsByFivePercent) {
  for (const char* isa : {"avx512", "avx2"}) {
    const ProductTable* table = product_table(isa);
    ASSERT_NE(table, nullptr) << isa;
    for (const ProductChoice& choice : *table) {
      EXPECT_GT(choice.speed, 0.0) << isa;
      const bool wins = choice.speed * kLeastGain <= 1.0;
      EXPECT_EQ(choice.provider, wins ? GemmProvider::blas : GemmProvider::native) << isa << ", " << choice.speed;
    }
  }
  EXPECT_NE(product_table("avx512"), product_table("avx2"));
  for (const char* isa : {"scalar", "neon", ""}) EXPECT_EQ(product_table(isa), nullptr) << isa;
}

// ---- plans ----

// The BLAS in every second class, so that neighbours differ; in one form in the others, so that this form differs from
// the other two.
ProductTable striped(GemmForm other) {
  ProductTable table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    const bool first = i / (kColumnClasses * kWorkClasses) == static_cast<std::size_t>(other);
    table[i] = {1.0, (i % 2 == 0) == first ? GemmProvider::blas : GemmProvider::native};
  }
  return table;
}

struct Settings {
  PlanKind kind = PlanKind::training;
  GemmProvider provider = GemmProvider::automatic;
  const ProductTable* table = nullptr;
  Index batch = 128;
  Index element_size = sizeof(float);
};

// Layers of every class of columns; a batch normalisation and a dropout between them.
Plan plan_of(const Settings& settings) {
  const ModelConfig config{
      .input_dim = 40,
      .layers = {Dense{.units = 300, .activation = ReLU{}}, BatchNorm{}, Dropout{.rate = 0.5},
                 Dense{.units = 1000, .activation = Tanh{}}, Dense{.units = 17}, LayerNorm{}, Dense{.units = 10}}};
  const Graph graph = build_graph(config, kAlignment / settings.element_size);
  PlanRequest request;
  request.kind = settings.kind;
  request.graph = &graph;
  request.batch = settings.batch;
  request.element_size = settings.element_size;
  request.provider = settings.provider;
  request.table = settings.table;
  return build_plan(request);
}

// What the table says of a step, found without product_class: by the definition of the classes.
GemmProvider expected(const ProductTable& table, const Step& step, Index batch) {
  const bool back = step.kind == StepKind::input_gradient;
  const std::size_t form = step.kind == StepKind::dense ? 0 : back ? 1 : 2;
  const Index columns = back ? step.in_features : step.out_features;
  const Index flops = 2 * batch * step.in_features * step.out_features;
  const std::size_t width = columns > 64 ? 3 : columns > 16 ? 2 : columns > 8 ? 1 : 0;
  const std::size_t work = flops >= 32'000'000 ? 2 : flops >= 2'000'000 ? 1 : 0;
  return table[form * 12 + width * 3 + work].provider;
}

bool is_product(const Step& step) {
  return step.kind == StepKind::dense || step.kind == StepKind::input_gradient ||
         step.kind == StepKind::weight_gradient;
}

void expect_provider_everywhere(const Plan& plan, GemmProvider provider, const char* what) {
  for (const Step& step : plan.steps) EXPECT_EQ(step.provider, provider) << what << "\n" << describe(plan);
}

TEST(PlanProviders, AutomaticIsWhatTheTableSays) {
  constexpr PlanKind kKinds[] = {PlanKind::inference, PlanKind::evaluation, PlanKind::training, PlanKind::checked,
                                 PlanKind::gradient,  PlanKind::curvature,  PlanKind::pieces};
  for (const GemmForm other : kForms) {
    const ProductTable table = striped(other);
    for (const PlanKind kind : kKinds) {
      const Plan plan = plan_of({.kind = kind, .table = &table});
      int counts[2] = {0, 0};
      for (const Step& step : plan.steps) {
        const GemmProvider wanted = is_product(step) ? expected(table, step, plan.batch) : GemmProvider::native;
        EXPECT_EQ(step.provider, wanted) << step.in_features << "x" << step.out_features << " of\n" << describe(plan);
        if (is_product(step)) ++counts[static_cast<int>(step.provider)];
      }
      EXPECT_GT(counts[0], 0);
      EXPECT_GT(counts[1], 0);
    }
  }
}

TEST(PlanProviders, NativeWhereTheTableSaysNothing) {
  ProductTable table{};
  for (ProductChoice& choice : table) choice = {0.5, GemmProvider::blas};
  expect_provider_everywhere(plan_of({}), GemmProvider::native, "no table");
  expect_provider_everywhere(plan_of({.table = &table, .batch = kLeastRows - 1}), GemmProvider::native, "few rows");
  expect_provider_everywhere(plan_of({.table = &table, .element_size = sizeof(double)}), GemmProvider::native,
                             "float64");
  const Plan least = plan_of({.table = &table, .batch = kLeastRows});
  for (const Step& step : least.steps) EXPECT_EQ(step.provider == GemmProvider::blas, is_product(step));
}

TEST(PlanProviders, TheTableIsForAutomaticAlone) {
  const ProductTable table = striped(GemmForm::nn);
  for (const GemmProvider provider : {GemmProvider::native, GemmProvider::blas, GemmProvider::bfloat16}) {
    expect_provider_everywhere(plan_of({.provider = provider, .table = &table}), provider, "asked for by name");
  }
}

TEST(PlanProviders, NativeByDefault) {
  const WithEnvironment unset("STOOP_GEMM", nullptr);
  EXPECT_EQ(select_gemm_provider(), GemmProvider::native);
  EXPECT_EQ(PlanRequest{}.provider, GemmProvider::native);
  EXPECT_EQ(active_table<float>().gemm_blas, nullptr);
}

TEST(PlanProviders, AutoNeedsABlas) {
  const WithEnvironment automatic("STOOP_GEMM", "auto");
  const bool loaded = blas_available();
  EXPECT_EQ(select_gemm_provider(), loaded ? GemmProvider::automatic : GemmProvider::native);
  EXPECT_EQ(active_table<float>().gemm_blas != nullptr, loaded);
}

}  // namespace
}  // namespace stoop
