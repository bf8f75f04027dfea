// Data that were checked once serve many trainers, and are checked again only for what another one asks beyond that.
#include <gtest/gtest.h>

#include <stoop/error.hpp>

#include "data/dataset.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

TEST(Dataset, RefusesWhatItsNeedsRefuse) {
  const Samples<float> samples(10, 4, 3);
  const auto make = [&](const Targets<float>& y, const DataNeeds& needs) {
    return Dataset<float>("test", samples.x(), y, needs);
  };
  EXPECT_NO_THROW(make(samples.classes, {4, 3, kind_of<SoftmaxCrossEntropy>()}));
  EXPECT_THROW(make(samples.classes, {5, 3, kind_of<SoftmaxCrossEntropy>()}), ValueError);
  EXPECT_THROW(make(samples.classes, {4, 2, kind_of<SoftmaxCrossEntropy>()}), ValueError);
  EXPECT_THROW(make(samples.classes, {4, 3, kind_of<MeanSquaredError>()}), TypeError);
  Targets<float> weighted(samples.classes);
  const std::vector<float> weights(10, -1.0f);
  weighted.weights = weights;
  EXPECT_THROW(make(weighted, {4, 3, kind_of<SoftmaxCrossEntropy>()}), ValueError);
}

TEST(Dataset, ChecksForAnotherTrainerOnlyWhatThatAsksBeyond) {
  const Samples<double> samples(10, 4, 3);
  const Targets<double> values = samples.y(MeanSquaredError{});
  const DataNeeds needs{4, 3, kind_of<MeanSquaredError>()};
  const Dataset<double> data("test", samples.x(), values, needs);
  const_cast<double&>(samples.features[2]) = kNaN<double>;  // would be noticed by a second check
  const auto check = [&](const DataNeeds& others) { return Dataset<double>("test", data, values, others); };
  EXPECT_EQ(check({4, 3, kind_of<Huber>()}).needs().loss, kind_of<Huber>());
  EXPECT_THROW(check({4, 2, kind_of<MeanSquaredError>()}), ValueError);
  EXPECT_THROW(check({3, 3, kind_of<MeanSquaredError>()}), ValueError);
  const_cast<double&>(samples.values[2]) = kNaN<double>;
  EXPECT_THROW(check({4, 3, kind_of<Huber>()}), ValueError);
}

// Values of a mapped matrix are left to whoever reads its rows, unless they are asked for now.
TEST(Dataset, ReadsAllOfAMappedMatrixOnlyWhenAsked) {
  Samples<float> samples(10, 4, 3);
  samples.features[7] = kNaN<float>;
  InputView x = samples.x();
  x.mapped = true;
  const DataNeeds needs{4, 3, kind_of<SoftmaxCrossEntropy>()};
  EXPECT_NO_THROW(Dataset<float>("test", x, Targets<float>(samples.classes), needs));
  EXPECT_THROW(Dataset<float>("test", x, Targets<float>(samples.classes), needs, nullptr, true), ValueError);
}

TEST(Dataset, GivesRowsAsARunReadsThem) {
  const Samples<float> samples(10, 4, 3);
  Targets<float> y(samples.classes);
  const std::vector<float> weights(10, 3.0f);
  y.weights = weights;
  const Dataset<float> data("test", samples.x(), y, {4, 3, kind_of<SoftmaxCrossEntropy>()});
  const SampleRows<float> rows = data.as_they_lie();
  EXPECT_EQ(rows.x.stride, 4);
  EXPECT_EQ(rows.classes, samples.classes.data());
  EXPECT_EQ(rows.order, nullptr);
  EXPECT_EQ(rows.weights[9], 0.75);
}

TEST(Dataset, TakesAWeightForEachTarget) {
  Samples<float> samples(4, 2, 3);
  samples.values[4] = kNaN<float>;  // row 1, column 1
  const DataNeeds needs{2, 3, kind_of<MeanSquaredError>()};
  std::vector<float> weights = {4, 4, 4, 2, 0, 1, 0, 0, 0, 1, 1, 4};
  Targets<float> y = samples.y(MeanSquaredError{});
  y.element_weights = matrix<const float>(weights.data(), 4, 3);
  const Dataset<float> data("test", samples.x(), y, needs);
  const SampleRows<float> rows = data.as_they_lie();
  EXPECT_EQ(data.weight_exponent(), 3);  // 4 = 0.5 * 2^3
  EXPECT_EQ(rows.weights[0], 0.5);
  EXPECT_EQ(rows.weights[1], 1.0 / 8);
  EXPECT_EQ(rows.element_weights.data[3], 0.25f);
  EXPECT_DOUBLE_EQ(data.counted(nullptr, 4), 8.0 / 3);
  const std::int32_t order[] = {2, 1};
  EXPECT_DOUBLE_EQ(data.counted(order, 2), 2.0 / 3);
  EXPECT_THROW(Dataset<float>("test", data, y, {2, 3, kind_of<SoftmaxCrossEntropy>()}), ValueError);
  weights[4] = 1.0f;
  EXPECT_THROW(Dataset<float>("test", samples.x(), y, needs), ValueError);  // the target is no longer left out
  y.weights = weights;
  EXPECT_THROW(Dataset<float>("test", samples.x(), y, needs), ValueError);
}

}  // namespace
}  // namespace stoop
