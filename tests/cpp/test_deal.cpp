// Which share of a team gets what: no block is lost or given twice, the steps of a parameter stay together, and the work is
// even. The model of teams in bench/cpp counts by the same deal.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "../../bench/cpp/team_load.hpp"
#include "plan_of.hpp"
#include "run/deal.hpp"

namespace stoop {
namespace {

constexpr int kTeams[] = {1, 2, 3, 7, 16, 128};

Model<float> network(Index inputs, const std::vector<Index>& widths, bool batch_norm = false) {
  ModelConfig config;
  config.input_dim = inputs;
  for (const Index units : widths) {
    config.layers.push_back(Dense{.units = units, .activation = ReLU{}});
    if (batch_norm) config.layers.push_back(BatchNorm{});
  }
  config.layers.push_back(Dense{3});
  return Model<float>(config);
}

Plan plan_for(const Model<float>& model, Index batch, PlanKind kind = PlanKind::training) {
  return plan_of(model, kind, kind_of<SoftmaxCrossEntropy>(), batch);
}

std::vector<Model<float>> networks() {
  std::vector<Model<float>> models;
  models.push_back(network(2, {16}));
  models.push_back(network(33, {77, 41}));
  models.push_back(network(100, std::vector<Index>(9, 100), true));
  models.push_back(network(700, {900, 5}));
  return models;
}

TEST(Deal, GivesEachBlockOfAParameterToOneShare) {
  for (const Model<float>& model : networks()) {
    for (const PlanKind kind :
         {PlanKind::training, PlanKind::checked, PlanKind::curvature, PlanKind::pieces, PlanKind::apply}) {
      const Plan plan = plan_for(model, 50, kind);
      Deal deal(plan);
      for (const int shares : kTeams) {
        deal.deal_to(shares);
        std::map<Index, std::vector<Index>> begins;  // by parameter
        for (std::size_t i = 0; i < plan.steps.size(); ++i) {
          const Step& step = plan.steps[i];
          if (step.cut != Cut::parameter) continue;
          std::vector<Index> found;
          Index next = 0;
          for (int share = 0; share < shares; ++share) {
            const Range blocks = deal.blocks_of(i, share);
            EXPECT_EQ(blocks.begin, next);
            EXPECT_LE(blocks.begin, blocks.end);
            next = blocks.end;
            found.push_back(blocks.begin);
          }
          EXPECT_EQ(next, block_count(step.work.extent, step.block));
          // The statistics that a batch normalisation keeps are no part of its gamma.
          if (step.parameter == kNone || step.kind == StepKind::update_statistics) continue;
          // Otherwise two shares would write to one block without a barrier between them.
          const auto [known, is_new] = begins.try_emplace(step.parameter, found);
          EXPECT_EQ(known->second, found) << rule_of(step.kind).name;
        }
      }
    }
  }
}

TEST(Deal, GivesEachRowAndColumnToOneShare) {
  for (const Model<float>& model : networks()) {
    const Plan plan = plan_for(model, 50);
    Deal deal(plan);
    for (const int shares : kTeams) {
      deal.deal_to(shares);
      for (const Step& step : plan.steps) {
        if (step.cut != Cut::rows && step.cut != Cut::columns) continue;
        Index next = 0;
        for (int share = 0; share < shares; ++share) {
          const Slice slice = deal.slice_of(step, 50, share);
          EXPECT_EQ(step.cut == Cut::rows ? slice.row : slice.column, next);
          next = step.cut == Cut::rows ? slice.row_end : slice.column_end;
        }
        EXPECT_EQ(next, step.cut == Cut::rows ? 50 : step.columns);
      }
    }
  }
}

// The blocks that are left over when each parameter is dealt evenly once all went to the same shares.
TEST(Deal, SpreadsWhatIsLeftOver) {
  const Plan plan = plan_for(network(256, {256, 256, 256}), 4);
  Deal deal(plan);
  deal.deal_to(48);  // three weights of 16 blocks
  std::vector<Index> blocks(48);
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    if (plan.steps[i].kind != StepKind::weight_gradient || plan.steps[i].out_features != 256) continue;
    for (int share = 0; share < 48; ++share) {
      const Range range = deal.blocks_of(i, share);
      blocks[static_cast<std::size_t>(share)] += range.end - range.begin;
    }
  }
  EXPECT_EQ(blocks, std::vector<Index>(48, 1));
}

// Then it reads the gradients of few layers.
TEST(Deal, GivesAShareFewOfManyLayers) {
  const Plan plan = plan_for(network(64, std::vector<Index>(16, 64)), 256);
  Deal deal(plan);
  deal.deal_to(2);
  for (int share = 0; share < 2; ++share) {
    int layers = 0;
    for (std::size_t i = 0; i < plan.steps.size(); ++i) {
      if (plan.steps[i].kind != StepKind::weight_gradient) continue;
      const Range range = deal.blocks_of(i, share);
      layers += range.begin < range.end ? 1 : 0;
    }
    EXPECT_LE(layers, 10);
  }
}

// 2-16-3, batch 32: docs/architecture.md shows the plan. One operation takes a second, and moving takes no time.
TEST(TeamLoad, AgreesWithACountByHand) {
  const Plan plan = plan_for(network(2, {16}), 32);
  Deal deal(plan);
  const auto load = [&](int shares) {
    deal.deal_to(shares);
    CostTerms terms;
    terms.rows = 32;
    return bench::TeamLoad(plan, deal, terms, {.flops = 1.0, .bytes = 1e30}).phases();
  };
  const double forward = 2.0 * 32 * (2 * 16 + 16 * 3), input_gradient = 2.0 * 32 * 16 * 3;

  const auto alone = load(1);
  ASSERT_EQ(alone.size(), 2u);
  EXPECT_NEAR(alone[0].longest(), forward + input_gradient, 1e-6);
  EXPECT_NEAR(alone[1].longest(), forward, 1e-6);  // both weight gradients
  EXPECT_EQ(alone[0].foreign[0] + alone[1].foreign[0], 0.0);

  // Four blocks of rows: one of three shares has two.
  const auto three = load(3);
  EXPECT_NEAR(three[0].longest(), (forward + input_gradient) / 2, 1e-6);
  EXPECT_NEAR(three[0].mean(), (forward + input_gradient) / 3, 1e-6);
  EXPECT_EQ(load(8)[0].idle(), 4);

  // Half of both weights comes from the other share. It writes its half of x, h1, h3, d_out and d2, which the other has read.
  const auto two = load(2);
  const double weights = 4.0 * (2 * 16 + 16 * 3), values = 4.0 * 32 * (2 + 16 + 3 + 3 + 16);
  EXPECT_NEAR(two[0].foreign[0], weights / 2 + values / 2, 1e-6);
}

}  // namespace
}  // namespace stoop
