// Executors are kept by what their plan was made for, and forgotten when there are too many.
#include <gtest/gtest.h>

#include <stoop/model.hpp>

#include "run/plan_cache.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

class Cache : public ::testing::Test {
 protected:
  PlanRequest request(PlanKind kind, Index batch = 8) const {
    PlanRequest wanted;
    wanted.kind = kind;
    wanted.graph = &graph_;
    wanted.batch = batch;
    return wanted;
  }

  const Graph graph_ = build_graph({.input_dim = 3, .layers = {Dense{5}, Dropout{0.5}, BatchNorm{}, Dense{2}}}, 16);
  const Device<float> device_{.ops = table_under_test<float>()};
  PlanCache<float> cache_{device_};
};

TEST_F(Cache, KeepsAnExecutorForEachRequest) {
  std::vector<PlanRequest> requests(6, request(PlanKind::gradient));
  requests[1].kind = PlanKind::checked;
  requests[2].dropout = false;
  requests[3].batch_statistics = false;
  requests[4].backward = false;
  requests[5].class_targets = true;
  std::vector<const Executor<float>*> plans;
  for (const PlanRequest& each : requests) plans.push_back(&cache_.executor(each));
  for (std::size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(&cache_.executor(requests[i]), plans[i]) << i;
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(plans[i], plans[j]);
  }
}

TEST_F(Cache, GoesByAllThatAPlanIsMadeFor) {
  PlanRequest wanted = request(PlanKind::checked);
  const Executor<float>* const plan = &cache_.executor(wanted);
  wanted.limit_norm = true;
  EXPECT_NE(&cache_.executor(wanted), plan);
  wanted = request(PlanKind::gradient);
  const Executor<float>* const other = &cache_.executor(wanted);
  wanted.update_statistics = true;
  EXPECT_NE(&cache_.executor(wanted), other);
}

TEST_F(Cache, AnExecutorServesFewerRowsAndIsReplacedForMore) {
  const Executor<float>* const eight = &cache_.executor(request(PlanKind::checked));
  EXPECT_EQ(&cache_.executor(request(PlanKind::checked, 5)), eight);
  const Executor<float>* const nine = &cache_.executor(request(PlanKind::checked, 9));
  EXPECT_EQ(nine->most_rows(), 9);
  EXPECT_EQ(&cache_.executor(request(PlanKind::checked)), nine);
}

TEST_F(Cache, ForgetsTheOneThatWasNotUsedForLongest) {
  const auto of_loss = [&](int kind) {
    PlanRequest wanted = request(PlanKind::gradient);
    wanted.loss = static_cast<LossKind>(kind % 5);
    wanted.backward = kind < 5;
    return &cache_.executor(wanted);
  };
  constexpr int kMost = static_cast<int>(PlanCache<float>::kMost);
  std::vector<const Executor<float>*> plans;
  for (int i = 0; i < kMost; ++i) plans.push_back(of_loss(i));
  EXPECT_EQ(of_loss(0), plans[0]);  // now 1 is the oldest
  of_loss(kMost);
  EXPECT_EQ(of_loss(0), plans[0]);
  for (int i = 2; i < kMost; ++i) EXPECT_EQ(of_loss(i), plans[static_cast<std::size_t>(i)]) << i;
  for (int i = 0; i < kMost; ++i) EXPECT_NE(of_loss(kMost), of_loss(i));
}

}  // namespace
}  // namespace stoop
