// What execution relies on, for the plans of random models: buffers that do not overlap while they are alive, the number of
// barriers, parameters cut into blocks without gap or overlap.
#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>

#include "plan/rules.hpp"
#include "plan_of.hpp"

namespace stoop {
namespace {

constexpr PlanKind kKinds[] = {PlanKind::inference, PlanKind::evaluation, PlanKind::training, PlanKind::checked,
                               PlanKind::gradient,  PlanKind::curvature,  PlanKind::pieces,   PlanKind::apply};

class Choice {
 public:
  explicit Choice(std::uint32_t seed) : state_(seed * 2654435761u + 1u) {}
  Index below(Index n) {
    state_ = state_ * 1664525u + 1013904223u;
    return static_cast<Index>(state_ >> 10) % n;
  }

 private:
  std::uint32_t state_;
};

// With `any_layer` also normalisations, dropout and residual blocks, which need more barriers.
ModelConfig random_config(std::uint32_t seed, bool any_layer = false) {
  constexpr Index kWidths[] = {1, 2, 7, 16, 33, 64, 200, 1024};
  const Activation activations[] = {Identity{}, ReLU{}, LeakyReLU{}, Tanh{}, Sigmoid{}};
  Choice choice(seed);
  ModelConfig config;
  config.input_dim = kWidths[choice.below(8)];
  const Index layers = 1 + choice.below(6);
  for (Index i = 0; i < layers; ++i) {
    if (choice.below(3) == 0)
      std::visit([&](auto layer) { config.layers.push_back(layer); }, activations[choice.below(5)]);
    Dense dense{.units = kWidths[choice.below(8)], .activation = activations[choice.below(5)]};
    if (choice.below(3) == 0) dense.use_bias = false;
    config.layers.push_back(dense);
    if (!any_layer) continue;
    const Layer others[] = {BatchNorm{},
                            LayerNorm{},
                            Dropout{0.3},
                            Residual{{Dense{.units = dense.units}, Tanh{}}},
                            Residual{{BatchNorm{}, Dense{.units = 5}, GELU{}}},
                            SiLU{}};
    if (const Index pick = choice.below(8); pick < 6) config.layers.push_back(others[pick]);
  }
  return config;
}

// Calls test(model, plan) for every kind, loss and batch size of many models of either element type.
template <class Test>
void for_each_plan(Test test, bool any_layer = false) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    const ModelConfig config = random_config(seed, any_layer);
    const Model<float> f32(config);
    const Model<double> f64(config);
    for (const PlanKind kind : kKinds) {
      for (const LossKind loss : {kind_of<SoftmaxCrossEntropy>(), kind_of<MeanSquaredError>()}) {
        for (const Index batch : {1, 8, 13, 128}) {
          SCOPED_TRACE("model " + std::to_string(seed));
          test(f32.parameter_infos(), plan_of(f32, kind, loss, batch));
          test(f64.parameter_infos(), plan_of(f64, kind, loss, batch));
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

using Parameters = std::vector<ParameterInfo>;

TEST(Plan, BuffersAliveTogetherDoNotOverlap) {
  for_each_plan(
      [](const Parameters&, const Plan& plan) {
        const auto end_of = [&](const Buffer& b) {
          return b.offset + (b.rows > 0 ? b.rows : plan.batch) * b.stride * b.element_size;
        };
        for (const Buffer& a : plan.buffers) {
          if (a.external) continue;
          ASSERT_TRUE(a.offset >= 0 && a.offset % kAlignment == 0 && end_of(a) <= plan.arena_bytes) << describe(plan);
          ASSERT_TRUE(a.stride >= a.width && a.stride * a.element_size % kAlignment == 0) << describe(plan);
          for (const Buffer& b : plan.buffers) {
            if (&a == &b || b.external || a.first > b.last || b.first > a.last) continue;
            ASSERT_TRUE(end_of(a) <= b.offset || end_of(b) <= a.offset) << a.name << " and " << b.name << "\n"
                                                                        << describe(plan);
          }
        }
      },
      true);
}

// The steps cut by rows or columns are the units of time; steps that are cut by parameters come after the last of them.
TEST(Plan, EveryStepFindsItsBuffersAliveAndFilled) {
  for_each_plan(
      [](const Parameters&, const Plan& plan) {
        std::vector<bool> filled(plan.buffers.size(), false);
        int time = 0;
        const auto expect_alive = [&](int buffer, bool reads) {
          if (buffer == kNone) return;
          const Buffer& b = plan.buffers[static_cast<std::size_t>(buffer)];
          ASSERT_TRUE(b.first <= time && time <= b.last) << b.name << " at " << time << "\n" << describe(plan);
          ASSERT_TRUE(!reads || filled[static_cast<std::size_t>(buffer)]) << b.name << "\n" << describe(plan);
        };
        if (!trains(plan.kind)) filled[static_cast<std::size_t>(plan.input_buffer)] = true;
        for (const Step& step : plan.steps) {
          if (step.kind == StepKind::loss && trains(plan.kind)) expect_alive(plan.target_buffer, true);
          const std::span<const Touch> touches = rule_of(step.kind).touches();
          for (const Touch& touch : touches) expect_alive(step.*touch.operand, touch.use != Use::write);
          for (const Touch& touch : touches) {
            const int buffer = step.*touch.operand;
            if (touch.use != Use::read && buffer != kNone) filled[static_cast<std::size_t>(buffer)] = true;
          }
          if (step.cut == Cut::rows || step.cut == Cut::columns) ++time;
        }
      },
      true);
}

TEST(Plan, StepsHaveNoOperandThatTheirRuleDoesNotName) {
  constexpr int Operands::* kOperands[] = {&Operands::x,          &Operands::other,     &Operands::grad,
                                           &Operands::saved,      &Operands::out,       &Operands::mask,
                                           &Operands::sums,       &Operands::x_tangent, &Operands::grad_tangent,
                                           &Operands::statistics, &Operands::partials,  &Operands::statistics_tangent};
  static_assert(sizeof(kOperands) / sizeof(kOperands[0]) == sizeof(Operands) / sizeof(int));
  for_each_plan(
      [&](const Parameters&, const Plan& plan) {
        for (const Step& step : plan.steps) {
          const StepRule& rule = rule_of(step.kind);
          for (const auto operand : kOperands) {
            const std::span<const Touch> touches = rule.touches();
            const bool named = std::any_of(touches.begin(), touches.end(),
                                           [&](const Touch& touch) { return touch.operand == operand; });
            ASSERT_TRUE(named || step.*operand == kNone) << rule.name << "\n" << describe(plan);
          }
        }
      },
      true);
}

// With the one at the end of each step, which is the executor's, training has two barriers a step where all products
// are cut by rows.
TEST(Plan, Barriers) {
  for_each_plan([](const Parameters&, const Plan& plan) {
    if (std::any_of(plan.steps.begin(), plan.steps.end(), [](const Step& s) { return s.cut == Cut::columns; })) return;
    const auto barriers = std::count_if(plan.steps.begin(), plan.steps.end(), [](const Step& s) { return s.barrier; });
    const int expected = !trains(plan.kind) ? 0 : plan.kind == PlanKind::checked ? 2 : 1;
    ASSERT_EQ(barriers, expected) << describe(plan);
    if (plan.kind == PlanKind::apply) return;  // all of whose steps are cut by parameters
    // Steps cut by rows run up to the barrier without another; steps cut by parameters come after it.
    bool behind = false;
    for (const Step& step : plan.steps) {
      behind = behind || step.barrier;
      ASSERT_EQ(step.cut == Cut::rows, !behind) << describe(plan);
    }
  });
}

// A plan of `pieces` may compute it, and nothing else of it is left out of a run without.
TEST(Plan, TheInputOfTheFirstDenseHasNoGradient) {
  for_each_plan([](const Parameters& parameters, const Plan& plan) {
    if (plan.kind == PlanKind::apply) return;
    Index denses = 0, input_gradients = 0;
    for (const Step& step : plan.steps) {
      denses += step.kind == StepKind::dense;
      const bool of_input = step.parameter == parameters.front().offset || step.kind == StepKind::give_input_gradient;
      ASSERT_TRUE(of_input || !step.for_input) << describe(plan);
      if (step.for_input) continue;
      input_gradients += step.kind == StepKind::input_gradient;
      ASSERT_FALSE(step.kind == StepKind::input_gradient && step.parameter == parameters.front().offset)
          << describe(plan);
    }
    // A product and its two tangents, of which the first dense has but one forward.
    const Index without = plan.kind == PlanKind::curvature ? 2 : 1;
    ASSERT_EQ(input_gradients, trains(plan.kind) ? denses - without : 0) << describe(plan);
  });
}

struct Range {
  Index begin, end;
  bool operator==(const Range&) const = default;
};

// The ranges in order, with those that touch joined. None may overlap another.
std::vector<Range> joined(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](Range a, Range b) { return a.begin < b.begin; });
  std::vector<Range> result;
  for (const Range& range : ranges) {
    if (result.empty() || result.back().end != range.begin) {
      EXPECT_TRUE(result.empty() || result.back().end < range.begin) << range.begin;
      result.push_back(range);
    } else {
      result.back().end = range.end;
    }
  }
  return result;
}

// The blocks of the steps that `wanted` picks cover each parameter element once, and none of the padding.
template <class Wanted>
void expect_covered(const Parameters& parameters, const Plan& plan, Wanted wanted) {
  std::vector<Range> blocks, elements;
  std::vector<int> slots(static_cast<std::size_t>(plan.sum_slots), 0);
  for (const Step& step : plan.steps) {
    if (!wanted(step)) continue;
    for (Index b = 0; b < block_count(step.work.extent, step.block); ++b) {
      ++slots.at(static_cast<std::size_t>(step.first_sum + b));
      const Index begin = b * step.block, end = std::min(begin + step.block, step.work.extent);
      const Index width = step.work.row_elements;
      ASSERT_LE((end - begin) * width, plan.block_elements);
      ASSERT_LT(begin, end);
      blocks.push_back({step.parameter + begin * width, step.parameter + end * width});
    }
  }
  ASSERT_TRUE(std::all_of(slots.begin(), slots.end(), [](int n) { return n == 1; })) << describe(plan);
  for (const ParameterInfo& info : parameters) elements.push_back({info.offset, info.offset + info.rows * info.cols});
  ASSERT_EQ(joined(blocks), joined(elements)) << describe(plan);
}

TEST(Plan, ParameterBlocksTileEveryParameter) {
  for_each_plan(
      [](const Parameters& parameters, const Plan& plan) {
        if (!trains(plan.kind) || plan.kind == PlanKind::curvature) return;  // whose weights take two steps
        const auto updates = [](const Step& s) { return s.cut == Cut::parameter && s.work.after == After::update; };
        const auto regularizes = [](const Step& s) {
          return s.cut == Cut::parameter && s.work.after == After::regularize;
        };
        if (plan.kind == PlanKind::pieces) return;  // whose gradients nothing follows
        if (plan.kind != PlanKind::gradient) expect_covered(parameters, plan, updates);
        if (plan.kind != PlanKind::training) expect_covered(parameters, plan, regularizes);
        for (const Step& step : plan.steps) {
          ASSERT_TRUE(step.kind != StepKind::weight_gradient || step.work.regularized);
          ASSERT_TRUE(step.kind != StepKind::bias_gradient || !step.work.regularized);
        }
      },
      true);
}

// There is one for each batch normalisation, after the barrier, whatever is trained. A plan that updates nothing has none.
TEST(Plan, StatisticsFollowThoughLayersAreFrozen) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    for (const Index frozen : {0, 1, 1000}) {
      ModelConfig config = random_config(seed, true);
      config.layers.insert(config.layers.begin(), BatchNorm{});
      for (std::size_t i = 0; i < config.layers.size() && i < static_cast<std::size_t>(frozen); ++i) {
        std::visit([](auto& layer) { layer.trainable = false; }, config.layers[i]);
      }
      const Model<float> model(config);
      for (const PlanKind kind : kKinds) {
        if (kind == PlanKind::apply) continue;
        const Plan plan = plan_of(model, kind, kind_of<MeanSquaredError>(), 13);
        std::vector<int> pending;
        bool behind = false;
        for (const Step& step : plan.steps) {
          behind = behind || step.kind == StepKind::check_loss || step.kind == StepKind::check_statistics;
          if (step.kind == StepKind::batch_norm && step.statistics != kNone) pending.push_back(step.statistics);
          if (step.kind != StepKind::update_statistics) continue;
          ASSERT_TRUE(behind) << describe(plan);
          ASSERT_EQ(std::erase(pending, step.statistics), 1u) << describe(plan);
        }
        ASSERT_EQ(pending.empty(), kind != PlanKind::gradient && kind != PlanKind::curvature) << describe(plan);
      }
    }
  }
}

// How parameters are cut decides the order of sums, so it must not follow from how many rows there happen to be.
TEST(Plan, TheCutDoesNotDependOnTheBatch) {
  const Model<float> model(random_config(5));
  const Plan small = plan_of(model, PlanKind::training, kind_of<MeanSquaredError>(), 1);
  const Plan large = plan_of(model, PlanKind::training, kind_of<MeanSquaredError>(), 1000);
  ASSERT_EQ(small.steps.size(), large.steps.size());
  for (std::size_t i = 0; i < small.steps.size(); ++i) EXPECT_EQ(small.steps[i].block, large.steps[i].block);
}

}  // namespace
}  // namespace stoop
