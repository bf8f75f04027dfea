// The time of the steps of a plan: costs, the clock, and that nothing remains of a measurement.
#include <stoop/profile.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "plan/costs.hpp"
#include "plan_of.hpp"
#include "run/step_clock.hpp"

namespace stoop {
namespace {

using Time = StepClock::Clock;

void spend(double seconds) {
  const Time::time_point start = Time::now();
  while (std::chrono::duration<double>(Time::now() - start).count() < seconds) continue;
}

TEST(StepClock, AllTimeSinceTheStartIsCountedOnce) {
  StepClock clock(2);
  const Time::time_point start = Time::now();
  clock.start();
  spend(1e-3);
  clock.resume(3);
  for (int i = 0; i < 2; ++i) {
    spend(2e-3);
    clock.stamp(0);
    spend(1e-3);
    clock.stamp(1);
  }
  const double all = std::chrono::duration<double>(Time::now() - start).count();
  EXPECT_EQ(clock.shares(), 3);
  EXPECT_GE(clock.waited(), 0.9e-3);
  EXPECT_GE(clock.seconds(0), 3.9e-3);
  EXPECT_GE(clock.seconds(1), 1.9e-3);
  EXPECT_LE(clock.waited() + clock.seconds(0) + clock.seconds(1), all);
  clock.start();
  EXPECT_EQ(clock.seconds(0), 0.0);
}

Model<float> small_model() {
  return Model<float>({.input_dim = 5, .layers = {Dense{.units = 40, .activation = ReLU{}}, Dense{.units = 3}}});
}

StepCost cost_of_kind(const Plan& plan, StepKind kind, const CostTerms& terms) {
  for (const Step& step : plan.steps) {
    if (step.kind == kind) return cost_of(plan, step, terms);
  }
  ADD_FAILURE() << "no such step";
  return {};
}

TEST(Costs, AreCountedFromTheOperands) {
  const Plan plan = plan_of(small_model(), PlanKind::training, kind_of<SoftmaxCrossEntropy>(), 20);
  const CostTerms terms{.rows = 20, .element_size = 4, .input_row = 40, .target_row = 4, .update_elements = 6};
  const StepCost gather = cost_of_kind(plan, StepKind::gather, terms);
  EXPECT_EQ(gather.flops, 0.0);
  EXPECT_EQ(gather.bytes, 20 * (40 + 5 * 4));
  const StepCost dense = cost_of_kind(plan, StepKind::dense, terms);
  EXPECT_EQ(dense.flops, 2.0 * 20 * 5 * 40);
  EXPECT_EQ(dense.bytes, 4 * (20 * (5 + 40) + 5 * 40 + 40));
  const StepCost loss = cost_of_kind(plan, StepKind::loss, terms);
  EXPECT_EQ(loss.bytes, 20 * (4 * (3 + 3) + 4));
  const StepCost weight = cost_of_kind(plan, StepKind::weight_gradient, terms);  // of the last layer
  EXPECT_EQ(weight.flops, 2.0 * 20 * 40 * 3);
  EXPECT_EQ(weight.bytes, 4 * (20 * (40 + 3) + 6 * 40 * 3));
  const StepCost bias = cost_of_kind(plan, StepKind::bias_gradient, terms);
  EXPECT_EQ(bias.flops, 0.0);
  EXPECT_EQ(bias.bytes, 4 * (20 * 3 + 6 * 3));
  EXPECT_EQ(cost_of_kind(plan, StepKind::check_loss, terms).bytes, 0.0);
}

class ProfileOfATrainer : public ::testing::Test {
 protected:
  ProfileOfATrainer() : y_(64), x_(64 * 5) {
    for (std::size_t i = 0; i < y_.size(); ++i) y_[i] = static_cast<std::int32_t>(i % 3);
    for (std::size_t i = 0; i < x_.size(); ++i) x_[i] = static_cast<float>(i % 7) - 3.0F;
  }
  MatrixView<const float> x() const { return matrix(x_.data(), 64, 5); }

  Model<float> model_ = small_model();
  std::vector<std::int32_t> y_;
  std::vector<float> x_;
};

TEST_F(ProfileOfATrainer, HasARowForEachStepAndChangesNothing) {
  Trainer<float> trainer(model_, {.accumulate = 2, .ema = 0.9});
  trainer.fit(x(), y_, {.epochs = 1, .batch_size = 16});
  const std::vector<float> before(model_.parameter_block().begin(), model_.parameter_block().end());
  const TrainingState<float> state = trainer.state();
  const Profile found = profile(trainer, x(), y_, 16);
  const std::vector<float> after(model_.parameter_block().begin(), model_.parameter_block().end());
  EXPECT_EQ(before, after);
  const TrainingState<float> now = trainer.state();
  EXPECT_EQ(now.optimizer, state.optimizer);
  EXPECT_EQ(now.average, state.average);
  EXPECT_EQ(now.steps, state.steps);
  EXPECT_GE(found.threads, 1);
  EXPECT_GT(found.seconds, 0.0);
  ASSERT_FALSE(found.steps.empty());
  EXPECT_EQ(found.steps.front().name, "gather");
  EXPECT_EQ(found.steps[1].name, "dense 0.weight 5x40 relu");
  EXPECT_EQ(found.steps.back().name, "waiting");
  for (const StepTime& step : found.steps) EXPECT_GE(step.seconds, 0.0) << step.name;
}

TEST_F(ProfileOfATrainer, RefusesWhatHasNoMiniBatches) {
  Trainer<float> trainer(model_, {.optimizer = LBFGS{}});
  EXPECT_THROW(profile(trainer, x(), y_, 16), ValueError);
  Trainer<float> other(model_, {});
  EXPECT_THROW(profile(other, x(), y_, 0), ValueError);
}

TEST_F(ProfileOfATrainer, EndsWhenItIsTold) {
  Trainer<float> trainer(model_, {});
  EXPECT_THROW(profile(trainer, x(), y_, 16, [] { return false; }), Interrupted);
}

}  // namespace
}  // namespace stoop
