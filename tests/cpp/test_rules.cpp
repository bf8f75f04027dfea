// Rules of the kinds of steps, and what scheduling makes of the operations that lowering gives it.
#include "plan/rules.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <string>

#include <stoop/model.hpp>

#include "base/memory.hpp"
#include "plan/lower.hpp"
#include "plan/tangent.hpp"

namespace stoop {
namespace {

TEST(Rules, EveryKindHasANameOfItsOwn) {
  std::set<std::string> names;
  for (std::size_t kind = 0; kind < kStepKinds; ++kind) names.insert(rule_of(static_cast<StepKind>(kind)).name);
  EXPECT_EQ(names.size(), kStepKinds);
}

TEST(Rules, AStepWithoutATangentIsNamed) {
  std::vector<Buffer> buffers;
  const Graph graph;
  Tangents tangents(buffers, graph);
  Operation operation;
  operation.kind = StepKind::limit_norm;
  try {
    rule_of(operation.kind).tangent(tangents, operation);
    FAIL() << "nothing was thrown";
  } catch (const std::logic_error& error) {
    EXPECT_STREQ(error.what(), "the step 'limit_norm' has no tangent");
  }
}

struct Drawn {
  explicit Drawn(std::vector<Layer> layers, PlanKind kind = PlanKind::gradient)
      : graph(build_graph({.input_dim = 4, .layers = std::move(layers)}, kAlignment / Index{sizeof(float)})) {
    request.kind = kind;
    request.graph = &graph;
    request.batch = 20;
  }

  Graph graph;
  PlanRequest request;
};

// What lowering emits is in an order that any device may follow: the derivative of an activation is an operation of its
// own, and scheduling makes it a part of the product before it.
TEST(Schedule, TheDerivativeOfAnActivationJoinsTheProductBeforeIt) {
  const Drawn drawn({Dense{.units = 8, .activation = Tanh{}}, Dense{.units = 3}});
  const auto is_derivative = [](const Operation& o) { return o.kind == StepKind::activation_gradient; };
  const std::vector<Operation> operations = lower(drawn.request).operations;
  EXPECT_EQ(std::count_if(operations.begin(), operations.end(), is_derivative), 1);
  const Plan plan = build_plan(drawn.request);
  EXPECT_EQ(std::count_if(plan.steps.begin(), plan.steps.end(), is_derivative), 0);
  for (const Step& step : plan.steps) {
    EXPECT_EQ(step.saved != kNone, step.kind == StepKind::input_gradient) << describe(plan);
  }
}

// A product says by position which steps it does in its epilogue. In a first residual block the skipped side needs no
// gradient, so the dropout and the batch normalisation at its end directly follow the product after the block.
TEST(Schedule, ProductsNameTheStepsOfTheirEpilogues) {
  const Drawn drawn({Residual{{Dense{.units = 4}, BatchNorm{}, Dropout{0.5}}}, Dense{.units = 3}});
  const Plan plan = build_plan(drawn.request);
  int dropouts = 0, sums = 0, taken = 0;
  for (const Step& step : plan.steps) {
    taken += step.taken ? 1 : 0;
    for (const int place : {step.dropout_step, step.sums_step}) {
      if (place == kNone) continue;
      const Step& other = plan.steps[static_cast<std::size_t>(place)];
      EXPECT_TRUE(rule_of(step.kind).product.has_value() && other.taken && other.cut == step.cut) << describe(plan);
      EXPECT_EQ(other.mask != kNone, place == step.dropout_step) << describe(plan);
    }
    dropouts += step.dropout_step != kNone;
    sums += step.sums_step != kNone;
  }
  EXPECT_EQ(dropouts, 1) << describe(plan);  // backward; forward the normalisation stands between
  EXPECT_EQ(sums, 2) << describe(plan);      // of values and of gradients
  EXPECT_EQ(taken, 3) << describe(plan);
}

}  // namespace
}  // namespace stoop
