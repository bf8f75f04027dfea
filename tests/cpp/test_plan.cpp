// Plans: golden texts of every kind, and for random models what execution relies on: buffers that do not overlap while
// they are alive, the number of barriers, parameters cut into blocks without gap or overlap.
#include "plan/plan.hpp"
#include "plan/lower.hpp"
#include "plan/rules.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>

#include "base/memory.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

constexpr PlanKind kKinds[] = {PlanKind::inference, PlanKind::evaluation, PlanKind::training,
                               PlanKind::checked,   PlanKind::gradient,   PlanKind::curvature};

template <class T>
Plan plan_of(const Model<T>& model, PlanKind kind, LossKind loss, Index batch) {
  const Graph graph = build_graph(model.config(), kAlignment / static_cast<Index>(sizeof(T)));
  PlanRequest request;
  request.kind = kind;
  request.graph = &graph;
  request.loss = loss;
  request.class_targets = takes_classes(loss);
  request.batch = batch;
  request.element_size = sizeof(T);
  return build_plan(request);
}

// Activations of their own before the first and after an activated layer, one that is fused, and a layer without bias.
Model<float> small_model() {
  return Model<float>({.input_dim = 5,
                       .layers = {ReLU{}, Dense{.units = 40, .activation = ReLU{}}, Tanh{}, Dense{.units = 7},
                                  Sigmoid{}, Identity{}, Dense{.units = 3, .use_bias = false}}});
}

std::string text_of(PlanKind kind, LossKind loss) { return describe(plan_of(small_model(), kind, loss, 20)); }

TEST(PlanText, Inference) {
  EXPECT_EQ(text_of(PlanKind::inference, kind_of<MeanSquaredError>()), R"(inference of 20 rows, 7680 bytes
  x 5 (stride 16) external
  h1 5 (stride 16) at 3840, alive 0..1
  h2 40 (stride 48) at 0, alive 1..2
  h4 40 (stride 48) at 3840, alive 2..3
  h5 7 (stride 16) at 0, alive 3..4
  h7 3 (stride 16) external
  activation x -> h1 5x5 relu
  dense h1 -> h2 5x40 relu
  activation h2 -> h4 40x40 tanh
  dense h4 -> h5 40x7 sigmoid
  dense h5 -> h7 7x3
)");
}

TEST(PlanText, Evaluation) {
  EXPECT_EQ(text_of(PlanKind::evaluation, kind_of<MeanSquaredError>()), R"(evaluation of 20 rows, 7680 bytes
  x 5 (stride 16) external
  h1 5 (stride 16) at 3840, alive 0..1
  h2 40 (stride 48) at 0, alive 1..2
  h4 40 (stride 48) at 3840, alive 2..3
  h5 7 (stride 16) at 0, alive 3..4
  h7 3 (stride 16) at 1280, alive 4..5
  activation x -> h1 5x5 relu
  dense h1 -> h2 5x40 relu
  activation h2 -> h4 40x40 tanh
  dense h4 -> h5 40x7 sigmoid
  dense h5 -> h7 7x3
  loss h7 -> -
)");
}

TEST(PlanText, TrainingWithValuesAsTargets) {
  EXPECT_EQ(text_of(PlanKind::training, kind_of<MeanSquaredError>()), R"(training of 20 rows, 20480 bytes
  x 5 (stride 16) at 11520, alive 0..11
  h1 5 (stride 16) at 12800, alive 0..11
  h2 40 (stride 48) at 0, alive 0..11
  h4 40 (stride 48) at 3840, alive 0..11
  h5 7 (stride 16) at 14080, alive 0..11
  h7 3 (stride 16) at 15360, alive 0..11
  y 3 (stride 16) at 16640, alive 0..11
  d_out 3 (stride 16) at 17920, alive 0..11
  d6 7 (stride 16) at 19200, alive 0..11
  d4 40 (stride 48) at 7680, alive 0..11
  gather - -> x
  activation x -> h1 5x5 relu
  dense h1 -> h2 5x40 relu
  activation h2 -> h4 40x40 tanh
  dense h4 -> h5 40x7 sigmoid
  dense h5 -> h7 7x3
  gather_targets - -> y
  loss h7 -> d_out
  input_gradient d_out -> d6 with h5 7x3 sigmoid
  input_gradient d6 -> d4 with h4 40x7 tanh
  activation_gradient - -> d4 with h2 5x40 relu
= check_loss
  weight_gradient d_out -> - with h5 7x3 by 4/7 then update
  weight_gradient d6 -> - with h4 40x7 by 8/40 then update
  bias_gradient d6 -> - 40x7 by 7/7 then update
  weight_gradient d4 -> - with h1 5x40 by 4/5 then update
  bias_gradient d4 -> - 5x40 by 40/40 then update
)");
}

// The steps up to check_loss, buffers included, which all kinds of training with classes share.
const char* const kUpToLoss = R"( of 20 rows, 19200 bytes
  x 5 (stride 16) at 11520, alive 0..10
  h1 5 (stride 16) at 12800, alive 0..10
  h2 40 (stride 48) at 0, alive 0..10
  h4 40 (stride 48) at 3840, alive 0..10
  h5 7 (stride 16) at 14080, alive 0..10
  h7 3 (stride 16) at 15360, alive 0..10
  d_out 3 (stride 16) at 16640, alive 0..10
  d6 7 (stride 16) at 17920, alive 0..10
  d4 40 (stride 48) at 7680, alive 0..10
  gather - -> x
  activation x -> h1 5x5 relu
  dense h1 -> h2 5x40 relu
  activation h2 -> h4 40x40 tanh
  dense h4 -> h5 40x7 sigmoid
  dense h5 -> h7 7x3
  loss h7 -> d_out
  input_gradient d_out -> d6 with h5 7x3 sigmoid
  input_gradient d6 -> d4 with h4 40x7 tanh
  activation_gradient - -> d4 with h2 5x40 relu
= check_loss
)";

const char* const kGradients = R"(  weight_gradient d_out -> - with h5 7x3 by 4/7 then regularize
  weight_gradient d6 -> - with h4 40x7 by 8/40 then regularize
  bias_gradient d6 -> - 40x7 by 7/7 then regularize
  weight_gradient d4 -> - with h1 5x40 by 4/5 then regularize
  bias_gradient d4 -> - 5x40 by 40/40 then regularize
)";

TEST(PlanText, Gradient) {
  EXPECT_EQ(text_of(PlanKind::gradient, kind_of<SoftmaxCrossEntropy>()),
            std::string("gradient") + kUpToLoss + kGradients);
}

TEST(PlanText, CheckedTraining) {
  EXPECT_EQ(text_of(PlanKind::checked, kind_of<SoftmaxCrossEntropy>()),
            std::string("checked") + kUpToLoss + kGradients + R"(= check_gradient
  update_parameter - -> - 7x3 by 4/7 then update
  update_parameter - -> - 40x7 by 8/40 then update
  update_parameter - -> - 40x7 by 7/7 then update
  update_parameter - -> - 5x40 by 4/5 then update
  update_parameter - -> - 5x40 by 40/40 then update
)");
}

TEST(PlanText, OneLayer) {
  const Model<double> model({.input_dim = 512, .layers = {Dense{.units = 2, .activation = Tanh{}}}});
  EXPECT_EQ(describe(plan_of(model, PlanKind::training, kind_of<MeanSquaredError>(), 9)),
            R"(training of 9 rows, 39168 bytes
  x 512 (stride 520) at 0, alive 0..5
  h1 2 (stride 8) at 37440, alive 0..5
  y 2 (stride 8) at 38016, alive 0..5
  d_out 2 (stride 8) at 38592, alive 0..5
  gather - -> x
  dense x -> h1 512x2 tanh
  gather_targets - -> y
  loss h1 -> d_out
  activation_gradient - -> d_out with h1 512x2 tanh
= check_loss
  weight_gradient d_out -> - with x 512x2 by 32/512 then update
  bias_gradient d_out -> - 512x2 by 2/2 then update
)");
}

std::string steps_of(const Plan& plan) {
  const std::string text = describe(plan);
  return text.substr(text.find("  gather"));
}

// No gradient goes to the batch normalisation, but its running statistics follow the batch.
TEST(PlanText, FrozenBatchNormFirst) {
  const Model<double> model({.input_dim = 3, .layers = {BatchNorm{.trainable = false}, Dense{2}}});
  EXPECT_EQ(steps_of(plan_of(model, PlanKind::training, kind_of<MeanSquaredError>(), 9)), R"(  gather - -> x
  batch_moments x -> - 3x3
= batch_norm x -> h1 3x3
  dense h1 -> h2 3x2
  gather_targets - -> y
  loss h2 -> d_out
= check_loss
  weight_gradient d_out -> - with h1 3x2 by 3/3 then update
  bias_gradient d_out -> - 3x2 by 2/2 then update
  update_statistics - -> - 3x3 by 3/3
)");
}

// A dropout is done with the product before it (+), backward with the one after it. It overwrites what it drops, unless
// the derivative needs more than a sign; of two in a row the second stands apart.
TEST(PlanText, DropoutBetweenDenses) {
  const Model<float> model(
      {.input_dim = 2,
       .layers = {Dense{16, ReLU{}}, Dropout{0.5}, Dense{8, Tanh{}}, Dropout{0.5}, Dense{4}, Dropout{0.1}, Dropout{0.2},
                  BatchNorm{}, Dense{7}, GELU{}, Dropout{0.5}, Dense{3}}});
  const std::string steps = steps_of(plan_of(model, PlanKind::gradient, kind_of<SoftmaxCrossEntropy>(), 20));
  EXPECT_EQ(steps.substr(0, steps.find("= check_loss")), R"(  gather - -> x
  dense x -> h1 2x16 relu
+ dropout h1 -> h1 16x16
  dense h1 -> h4 16x8 tanh
+ dropout h4 -> h6 8x8
  dense h6 -> h7 8x4
+ dropout h7 -> h7 4x4
  dropout h7 -> h7 4x4
  batch_moments h7 -> - 4x4
= batch_norm h7 -> h10 4x4
  dense h10 -> h11 4x7
  activation h11 -> h12 7x7 gelu
  dropout h12 -> h12 7x7
  dense h12 -> h14 7x3
  loss h14 -> d_out
  input_gradient d_out -> d13 7x3
+ dropout_gradient - -> d13 7x7
  activation_gradient - -> d13 with h11 7x7 gelu
= input_gradient d13 -> d10 4x7
+ batch_sums h7 -> - with d10 4x4
= batch_norm_gradient h7 -> d10 4x4
  dropout_gradient - -> d10 4x4
  dropout_gradient - -> d10 4x4
  input_gradient d10 -> d6 with h4 8x4 tanh
+ dropout_gradient - -> d6 8x8
  input_gradient d6 -> d3 with h1 16x8 relu
+ dropout_gradient - -> d3 16x16
)");
}

// The sums of a batch normalisation are taken with the products (+), one barrier each for those of all rows; one more
// for the statistics of the last, which the thread with the first rows has written.
TEST(PlanText, BatchNormBetweenDenses) {
  const Model<float> model(
      {.input_dim = 2,
       .layers = {Dense{16}, BatchNorm{}, ReLU{}, Dropout{0.5}, Dense{16}, BatchNorm{}, LeakyReLU{}, Dense{3}}});
  const Plan plan = plan_of(model, PlanKind::training, kind_of<SoftmaxCrossEntropy>(), 300);
  EXPECT_EQ(steps_of(plan), R"(  gather - -> x
  dense x -> h1 2x16
+ batch_moments h1 -> - 16x16
= batch_norm h1 -> h2 16x16 relu
  dropout h2 -> h2 16x16
  dense h2 -> h5 16x16
+ batch_moments h5 -> - 16x16
= batch_norm h5 -> h6 16x16 leaky_relu
  dense h6 -> h8 16x3
  loss h8 -> d_out
= input_gradient d_out -> d7 16x3
+ batch_sums h5 -> - with d7 16x16 leaky_relu
= batch_norm_gradient h5 -> d7 16x16 leaky_relu
  input_gradient d7 -> d4 16x16
+ dropout_gradient - -> d4 16x16
+ batch_sums h1 -> - with d4 16x16 relu
= batch_norm_gradient h1 -> d4 16x16 relu
= check_loss
  weight_gradient d_out -> - with h6 16x3 by 4/16 then update
  bias_gradient d_out -> - 16x3 by 3/3 then update
  stored_gradient sums6 -> - 16x16 by 16/16 then update
  stored_gradient sums6 -> - 16x16 by 16/16 then update
  weight_gradient d7 -> - with h2 16x16 by 4/16 then update
  stored_gradient sums2 -> - 16x16 by 16/16 then update
  stored_gradient sums2 -> - 16x16 by 16/16 then update
  weight_gradient d4 -> - with x 2x16 by 2/2 then update
  update_statistics - -> - 16x16 by 16/16
  update_statistics - -> - 16x16 by 16/16
)");
  for (const Buffer& buffer : plan.buffers) {  // 300 rows are 13 groups of 24, but 128 would be 16 of 8
    const Index sums = buffer.name.starts_with("moments") ? kMomentSums : kGradientSums;
    const bool is_sums = buffer.name.starts_with("moments") || buffer.name.starts_with("gradients");
    EXPECT_TRUE(!is_sums || buffer.rows == 16 * sums) << buffer.name << " " << buffer.rows;
  }
}

// A weight larger than the rows that go in and out is not read by every thread; what follows takes the cut along.
TEST(PlanText, LargeWeightsByColumns) {
  const Model<float> model(
      {.input_dim = 256, .layers = {Dense{256}, BatchNorm{}, Tanh{}, Dense{256}, ReLU{}, Dense{3}}});
  EXPECT_EQ(steps_of(plan_of(model, PlanKind::gradient, kind_of<SoftmaxCrossEntropy>(), 120)), R"(  gather - -> x
= dense by columns x -> h1 256x256
+ batch_moments by columns h1 -> - 256x256
  batch_norm by columns h1 -> h2 256x256
  activation by columns h2 -> h3 256x256 tanh
= dense by columns h3 -> h4 256x256 relu
= dense h4 -> h6 256x3
  loss h6 -> d_out
  input_gradient d_out -> d5 with h4 256x3 relu
= input_gradient by columns d5 -> d3 with h3 256x256 tanh
  batch_sums by columns h1 -> - with d3 256x256
  batch_norm_gradient by columns h1 -> d3 256x256
= check_loss
  weight_gradient d_out -> - with h4 256x3 by 16/256 then regularize
  bias_gradient d_out -> - 256x3 by 3/3 then regularize
  weight_gradient d5 -> - with h3 256x256 by 16/256 then regularize
  bias_gradient d5 -> - 256x256 by 64/256 then regularize
  stored_gradient sums2 -> - 256x256 by 64/256 then regularize
  stored_gradient sums2 -> - 256x256 by 64/256 then regularize
  weight_gradient d3 -> - with x 256x256 by 16/256 then regularize
)");
  const Plan many = plan_of(model, PlanKind::gradient, kind_of<SoftmaxCrossEntropy>(), 128);
  EXPECT_TRUE(std::none_of(many.steps.begin(), many.steps.end(), [](const Step& s) { return s.cut == Cut::columns; }));
}

// ---- properties over random models ----

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
    // Steps cut by rows run up to the barrier without another; steps cut by parameters come after it.
    bool behind = false;
    for (const Step& step : plan.steps) {
      behind = behind || step.barrier;
      ASSERT_EQ(step.cut == Cut::rows, !behind) << describe(plan);
    }
  });
}

TEST(Plan, TheInputOfTheFirstDenseHasNoGradient) {
  for_each_plan([](const Parameters& parameters, const Plan& plan) {
    Index denses = 0, input_gradients = 0;
    for (const Step& step : plan.steps) {
      denses += step.kind == StepKind::dense;
      input_gradients += step.kind == StepKind::input_gradient;
      ASSERT_FALSE(step.kind == StepKind::input_gradient && step.parameter == parameters.front().offset)
          << describe(plan);
    }
    // A product and its two tangents, of which the first dense has but one forward.
    const Index without = plan.kind == PlanKind::curvature ? 2 : 1;
    ASSERT_EQ(input_gradients, trains(plan.kind) ? denses - without : 0) << describe(plan);
  });
}

// The blocks of the steps that `wanted` picks cover each parameter element once, and none of the padding.
template <class Wanted>
void expect_covered(const Parameters& parameters, const Plan& plan, Wanted wanted) {
  const ParameterInfo& last = parameters.back();
  std::vector<int> times(static_cast<std::size_t>(last.offset + last.rows * last.cols), 0);
  std::vector<int> slots(static_cast<std::size_t>(plan.sum_slots), 0);
  for (const Step& step : plan.steps) {
    if (!wanted(step)) continue;
    const Index offset = step.parameter;
    for (Index b = 0; b < block_count(step.work.extent, step.block); ++b) {
      ++slots.at(static_cast<std::size_t>(step.first_sum + b));
      const Index begin = b * step.block, end = std::min(begin + step.block, step.work.extent);
      ASSERT_LE((end - begin) * step.work.row_elements, plan.block_elements);
      ASSERT_LT(begin, end);
      for (Index i = begin * step.work.row_elements; i < end * step.work.row_elements; ++i)
        ++times.at(static_cast<std::size_t>(offset + i));
    }
  }
  ASSERT_TRUE(std::all_of(slots.begin(), slots.end(), [](int n) { return n == 1; })) << describe(plan);
  for (const ParameterInfo& info : parameters) {
    for (Index i = info.offset; i < info.offset + info.rows * info.cols; ++i) --times[static_cast<std::size_t>(i)];
  }
  ASSERT_TRUE(std::all_of(times.begin(), times.end(), [](int n) { return n == 0; })) << describe(plan);
}

TEST(Plan, ParameterBlocksTileEveryParameter) {
  for_each_plan(
      [](const Parameters& parameters, const Plan& plan) {
        if (!trains(plan.kind) || plan.kind == PlanKind::curvature) return;  // whose weights take two steps
        const auto updates = [](const Step& s) { return s.cut == Cut::parameter && s.work.after == After::update; };
        const auto regularizes = [](const Step& s) {
          return s.cut == Cut::parameter && s.work.after == After::regularize;
        };
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
      for (const PlanKind kind : kKinds) {
        const Plan plan = plan_of(Model<float>(config), kind, kind_of<MeanSquaredError>(), 13);
        std::vector<int> pending;
        bool behind = false;
        for (const Step& step : plan.steps) {
          behind = behind || step.kind == StepKind::check_loss;
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
