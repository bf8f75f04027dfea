// Models of very many layers: what is done once per layer must not look at all the others. The places of buffers and the
// barriers are those of the plain rules that look at everything, which stand here.
#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include <stoop/error.hpp>
#include <stoop/model.hpp>

#include "io/config_json.hpp"
#include "base/memory.hpp"
#include "graph/graph.hpp"
#include "plan/hazards.hpp"
#include "plan/plan.hpp"

namespace stoop {
namespace {

// The largest first, each at the lowest offset where no buffer that is alive at the same time lies.
std::vector<Index> plain_layout(const std::vector<Buffer>& buffers) {
  std::vector<std::size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return buffers[a].stride > buffers[b].stride; });
  std::vector<Index> offsets(buffers.size(), -1);
  for (const std::size_t i : order) {
    std::vector<std::pair<Index, Index>> taken;  // by buffers that are alive together with this one
    for (std::size_t j = 0; j < buffers.size(); ++j) {
      const bool together = buffers[i].first <= buffers[j].last && buffers[j].first <= buffers[i].last;
      if (offsets[j] >= 0 && together) taken.emplace_back(offsets[j], offsets[j] + buffers[j].stride);
    }
    std::sort(taken.begin(), taken.end());
    Index offset = 0;
    for (const auto& [begin, end] : taken) {
      if (offset + buffers[i].stride <= begin) break;
      offset = std::max(offset, end);
    }
    offsets[i] = offset;
  }
  return offsets;
}

TEST(LongModels, BuffersLieWhereThePlainRulePutsThem) {
  std::mt19937 random(1);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int trial = 0; trial < 300; ++trial) {
    const int count = 1 + below(60), most = 1 + below(80), longest = 1 + below(trial % 3 == 0 ? 80 : 6);
    std::vector<Buffer> buffers;
    for (int i = 0; i < count; ++i) {
      const int first = below(most);
      buffers.push_back({"b", 1, 1, kAlignment * (1 + below(5)), first, first + below(longest)});
    }
    const std::vector<Index> expected = plain_layout(buffers);
    Index end = 0;
    const Index total = layout_arena(buffers, 1);
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      EXPECT_EQ(buffers[i].offset, expected[i]) << trial << ": " << i;
      end = std::max(end, expected[i] + buffers[i].stride);
    }
    EXPECT_EQ(total, end);
  }
}

// Whether two accesses to one buffer, of which one writes, reach beyond a thread's share.
bool conflict(const Access& now, const Access& before) {
  if (now.buffer != before.buffer || (!now.write && !before.write)) return false;
  return now.reach == Reach::all || now.reach != before.reach;
}

TEST(LongModels, BarriersStandWhereThePlainRulePutsThem) {
  std::mt19937 random(1);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int trial = 0; trial < 100; ++trial) {
    Hazards hazards;
    std::vector<Access> before;
    const int most = 1 + below(12);
    for (int step = 0; step < 60; ++step) {
      std::vector<Access> accesses;
      for (int i = below(4); i >= 0; --i) {
        const int reach = below(8);
        accesses.push_back({below(most), reach > 1 ? Reach::rows : static_cast<Reach>(reach + 1), below(2) == 0});
      }
      bool expected = false;
      for (const Access& now : accesses) {
        for (const Access& earlier : before) expected = expected || conflict(now, earlier);
      }
      if (expected) before.clear();
      before.insert(before.end(), accesses.begin(), accesses.end());
      EXPECT_EQ(hazards.needs_barrier(accesses), expected) << trial << ": " << step;
    }
  }
}

TEST(LongModels, ConsumersAreCounted) {
  const Graph graph = build_graph({.input_dim = 2, .layers = {Dense{2}, Residual{{Dense{3}, Tanh{}}}, ReLU{}}}, 1);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    int expected = 0;
    for (const Node& node : graph.nodes) {
      expected += (node.input == static_cast<int>(i) ? 1 : 0) + (node.other == static_cast<int>(i) ? 1 : 0);
    }
    EXPECT_EQ(graph.nodes[i].consumers, expected) << i;
  }
}

// ---- limits ----

ModelConfig nested(int depth) {
  Layer layer = Dense{2};
  for (int i = 0; i < depth; ++i) layer = Residual{{std::move(layer)}};
  return {.input_dim = 2, .layers = {Dense{2}, std::move(layer)}};
}

std::string message_of(const ModelConfig& config) {
  try {
    const Model<float> model(config);
  } catch (const ValueError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Limits, WhatIsBuiltCanBeRead) {
  const ModelConfig config = nested(kMostNestedResiduals);
  EXPECT_EQ(message_of(config), "nothing was thrown");
  EXPECT_EQ(to_json(model_config_from_json(to_json(config))), to_json(config));
  const ModelConfig many{.input_dim = 1, .layers = std::vector<Layer>(static_cast<std::size_t>(kMostLayers), Dense{1})};
  EXPECT_EQ(model_config_from_json(to_json(many)).layers.size(), many.layers.size());
}

TEST(Limits, BlocksNestedTooDeepAreNamed) {
  for (const int depth : {kMostNestedResiduals + 1, 30, 1000}) {
    EXPECT_EQ(message_of(nested(depth)), "[Model] layer 1 nests Residual " + std::to_string(depth) +
                                             " deep; expected at most 6; put the inner layers one after another.");
  }
}

TEST(Limits, TooManyLayersAreNamed) {
  const ModelConfig config{.input_dim = 1,
                           .layers = std::vector<Layer>(static_cast<std::size_t>(kMostLayers) + 1, ReLU{})};
  EXPECT_NE(message_of(config).find("100001 layers; expected at most 100000"), std::string::npos);
}

}  // namespace
}  // namespace stoop
