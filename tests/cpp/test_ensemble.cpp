// Ensembles from C++: the bits of each member, means, files that Python reads too.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include <stoop/ensemble.hpp>
#include <stoop/runtime.hpp>

#include "test_helpers.hpp"

namespace stoop {
namespace {

constexpr Index kInputs = 6, kOutputs = 4, kMembers = 5;

template <class T>
Model<T> make_model(Index i, std::optional<OutputKind> output = std::nullopt) {
  ModelConfig config{.input_dim = kInputs, .layers = {Dense{9 + 7 * i, Tanh{}}}, .seed = static_cast<std::uint64_t>(i)};
  if (i % 2 == 1) config.layers.push_back(BatchNorm{});
  if (i == 3) config.input_scale = 0.5;
  config.layers.push_back(Dense{kOutputs});
  config.output = output;
  return Model<T>(config);
}

template <class T>
Ensemble<T> make_ensemble(std::optional<OutputKind> output = std::nullopt) {
  std::vector<Model<T>> models;
  for (Index i = 0; i < kMembers; ++i) models.push_back(make_model<T>(i, output));
  return Ensemble<T>(std::move(models));
}

template <class T>
std::vector<T> outputs_of(const Ensemble<T>& ensemble, const InputView& x) {
  std::vector<T> out(static_cast<std::size_t>(kMembers * x.rows * kOutputs));
  ensemble.predict(x, {out.data(), kMembers, x.rows, kOutputs});
  return out;
}

template <class T>
class Ensembles : public ::testing::Test {
 protected:
  ~Ensembles() override {
    set_num_threads(threads_);
    std::filesystem::remove(path_);
  }
  const int threads_ = get_num_threads();
  const std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / ("stoop_ensemble_" + std::to_string(sizeof(T)) + ".safetensors");
};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Ensembles, ElementTypes);

TYPED_TEST(Ensembles, GiveTheBitsOfEachMember) {
  using T = TypeParam;
  const Ensemble<T> ensemble = make_ensemble<T>();
  const std::vector<float> x = numbers<float>(500 * kInputs, 1);
  for (const int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    for (const Index rows : {1, 8, 9, 300, 500}) {
      const MatrixView<const float> view = matrix(x.data(), rows, kInputs);
      const std::vector<T> out = outputs_of(ensemble, view);
      std::vector<T> own(static_cast<std::size_t>(rows * kOutputs));
      for (Index i = 0; i < kMembers; ++i) {
        ensemble[i].predict(view, matrix(own.data(), rows, kOutputs));
        const std::span<const T> part(out.data() + i * rows * kOutputs, own.size());
        EXPECT_TRUE(same_bits<T>(part, own)) << "member " << i << ", " << rows << " rows, " << threads << " threads";
      }
    }
  }
}

TYPED_TEST(Ensembles, WriteWithinLargerArrays) {
  using T = TypeParam;
  const Ensemble<T> ensemble = make_ensemble<T>();
  const std::vector<float> x = numbers<float>(20 * kInputs, 1);
  const std::vector<T> expected = outputs_of(ensemble, matrix(x.data(), 20, kInputs));
  std::vector<T> by_row(expected.size() + kMembers, T(7));
  ensemble.predict(matrix(x.data(), 20, kInputs),
                   {by_row.data(), kMembers, 20, kOutputs, kOutputs, kMembers * kOutputs});
  for (Index i = 0; i < kMembers; ++i) {
    for (Index row = 0; row < 20; ++row) {
      for (Index column = 0; column < kOutputs; ++column) {
        EXPECT_EQ(by_row[(row * kMembers + i) * kOutputs + column], expected[(i * 20 + row) * kOutputs + column]);
      }
    }
  }
  EXPECT_EQ(by_row[expected.size()], T(7));
}

TYPED_TEST(Ensembles, MeansAreThoseOfTheMembers) {
  using T = TypeParam;
  constexpr Index kRows = 50;
  const std::vector<float> x = numbers<float>(kRows * kInputs, 1);
  const MatrixView<const float> view = matrix(x.data(), kRows, kInputs);
  const Ensemble<T> logits = make_ensemble<T>(OutputKind::sigmoid), values = make_ensemble<T>(OutputKind::identity);
  const std::vector<T> out = outputs_of(logits, view);
  std::vector<T> mean(kRows * kOutputs), deviation(mean), proba(mean), center(mean.size() / 2), variance(center);
  logits.predict_mean(view, matrix(mean.data(), kRows, kOutputs), matrix(deviation.data(), kRows, kOutputs));
  logits.predict_proba(view, matrix(proba.data(), kRows, kOutputs));
  values.predict_gaussian(view, matrix(center.data(), kRows, kOutputs / 2),
                          matrix(variance.data(), kRows, kOutputs / 2));
  const auto average = [&](std::size_t place, const auto& f) {
    double sum = 0.0;
    for (Index i = 0; i < kMembers; ++i) sum += f(static_cast<std::size_t>(i * kRows * kOutputs) + place);
    return sum / kMembers;
  };
  const double tolerance = 16 * kEpsilon<T>;
  for (std::size_t place = 0; place < mean.size(); ++place) {
    const double expected = average(place, [&](std::size_t j) { return double{out[j]}; });
    const double square = average(place, [&](std::size_t j) { return (out[j] - expected) * (out[j] - expected); });
    EXPECT_NEAR(mean[place], expected, tolerance);
    EXPECT_NEAR(deviation[place], std::sqrt(square), tolerance);
    EXPECT_NEAR(proba[place], average(place, [&](std::size_t j) { return 1 / (1 + std::exp(-double{out[j]})); }),
                tolerance);
  }
  for (std::size_t row = 0; row < kRows; ++row) {
    const std::size_t place = row * kOutputs + 1, target = row * 2 + 1;
    const double expected = average(place, [&](std::size_t j) { return double{out[j]}; });
    const double second =
        average(place, [&](std::size_t j) { return std::exp(double{out[j + 2]}) + double{out[j]} * out[j]; });
    EXPECT_NEAR(center[target], expected, tolerance);
    EXPECT_NEAR(variance[target], second - expected * expected, 16 * tolerance);
  }
}

TYPED_TEST(Ensembles, AreSavedInOneFile) {
  using T = TypeParam;
  const std::vector<float> x = numbers<float>(10 * kInputs, 1);
  const MatrixView<const float> view = matrix(x.data(), 10, kInputs);
  const Ensemble<T> ensemble = make_ensemble<T>(OutputKind::softmax);
  ensemble.save(this->path_);
  const Ensemble<T> again = Ensemble<T>::load(this->path_);
  EXPECT_EQ(again.size(), kMembers);
  EXPECT_TRUE(same_bits<T>(outputs_of(again, view), outputs_of(ensemble, view)));
  const auto either = load_ensemble(this->path_);
  ASSERT_TRUE(std::holds_alternative<Ensemble<T>>(either));
  EXPECT_EQ(std::get<Ensemble<T>>(either)[2].config().output, OutputKind::softmax);
  using Other = std::conditional_t<sizeof(T) == 4, double, float>;
  EXPECT_THROW(Ensemble<Other>::load(this->path_), TypeError);
  EXPECT_THROW(Model<T>::load(this->path_), CheckpointError);
  ensemble[0].save(this->path_);
  EXPECT_THROW(Ensemble<T>::load(this->path_), CheckpointError);
}

TYPED_TEST(Ensembles, RefuseWhatDoesNotFit) {
  using T = TypeParam;
  EXPECT_THROW(Ensemble<T>(std::vector<Model<T>>()), ValueError);
  EXPECT_THROW(Ensemble<T>({std::shared_ptr<Model<T>>()}), ValueError);
  std::vector<Model<T>> models = {make_model<T>(0), Model<T>({.input_dim = 5, .layers = {Dense{kOutputs}}})};
  EXPECT_THROW(Ensemble<T>(std::move(models)), ValueError);
  const Ensemble<T> ensemble = make_ensemble<T>(OutputKind::identity);
  const std::vector<float> x = numbers<float>(10 * kInputs, 1);
  std::vector<T> out(kMembers * 10 * kOutputs);
  const MatrixView<const float> view = matrix(x.data(), 10, kInputs);
  EXPECT_THROW(ensemble.predict(view, {out.data(), kMembers - 1, 10, kOutputs}), ValueError);
  EXPECT_THROW(ensemble.predict(view, {out.data(), kMembers, 9, kOutputs}), ValueError);
  EXPECT_THROW(ensemble.predict_mean(view, matrix(out.data(), 10, kOutputs - 1)), ValueError);
  EXPECT_THROW(ensemble.predict_mean(view, matrix(out.data(), 10, kOutputs), matrix(out.data(), 9, kOutputs)),
               ValueError);
  EXPECT_THROW(ensemble.predict_proba(view, matrix(out.data(), 10, kOutputs)), ValueError);
  const auto strided = [&](Index member, Index row) {
    return MemberOutputs<T>{out.data(), kMembers, 2, kOutputs, member, row};
  };
  const MatrixView<const float> two = matrix(x.data(), 2, kInputs);
  EXPECT_THROW(ensemble.predict(two, strided(1, 0)), ValueError);
  EXPECT_THROW(ensemble.predict(two, strided(2 * kOutputs - 1, 0)), ValueError);
  EXPECT_THROW(ensemble.predict(two, strided(kOutputs, 2 * kOutputs)), ValueError);
  EXPECT_NO_THROW(ensemble.predict(two, strided(kOutputs, kMembers * kOutputs)));
  EXPECT_NO_THROW(ensemble.predict(matrix(x.data(), Index{0}, kInputs), {out.data(), kMembers, 0, kOutputs}));
}

// Whoever shares a member can put a model of other sizes in its place.
TYPED_TEST(Ensembles, LookAtTheSizesOfTheirMembersAtEachCall) {
  using T = TypeParam;
  Ensemble<T> ensemble = make_ensemble<T>();
  const std::vector<float> x = numbers<float>(10 * kInputs, 1);
  std::vector<T> out(kMembers * 10 * kOutputs);
  const MatrixView<const float> view = matrix(x.data(), 10, kInputs);
  const auto refuses_all = [&] {
    EXPECT_THROW(ensemble.predict(view, {out.data(), kMembers, 10, kOutputs}), ValueError);
    EXPECT_THROW(ensemble.predict_mean(view, matrix(out.data(), 10, kOutputs)), ValueError);
    EXPECT_THROW(ensemble.predict_proba(view, matrix(out.data(), 10, kOutputs)), ValueError);
    EXPECT_THROW(ensemble.predict_gaussian(view, matrix(out.data(), 10, kOutputs / 2),
                                           matrix(out.data() + 100, 10, kOutputs / 2)),
                 ValueError);
    EXPECT_THROW(ensemble.save(this->path_), ValueError);
  };
  ensemble[2] = Model<T>({.input_dim = kInputs, .layers = {Dense{kOutputs + 9}}});
  refuses_all();
  ensemble[2] = Model<T>({.input_dim = kInputs + 9, .layers = {Dense{kOutputs}}});
  refuses_all();
  ensemble[2] = make_model<T>(0);
  EXPECT_NO_THROW(ensemble.predict(view, {out.data(), kMembers, 10, kOutputs}));
}

TYPED_TEST(Ensembles, StopWhenTheyAreToldTo) {
  using T = TypeParam;
  std::vector<Model<T>> models;
  for (Index i = 0; i < 4; ++i) models.push_back(Model<T>({.input_dim = kInputs, .layers = {Dense{2000}, Dense{2}}}));
  const Ensemble<T> ensemble(std::move(models));
  const std::vector<float> x = numbers<float>(200'000 * kInputs, 1);
  std::vector<T> out(4 * 200'000 * 2);
  const MatrixView<const float> view = matrix(x.data(), 200'000, kInputs);
  EXPECT_THROW(ensemble.predict(view, {out.data(), 4, 200'000, 2}, [] { return false; }), Interrupted);
  EXPECT_THROW(ensemble.predict_mean(view, matrix(out.data(), 200'000, 2), {}, [] { return false; }), Interrupted);
}

// Members are shared, and any number of threads may predict.
TYPED_TEST(Ensembles, AreAskedByManyThreads) {
  using T = TypeParam;
  const Ensemble<T> ensemble = make_ensemble<T>();
  const std::vector<float> x = numbers<float>(300 * kInputs, 1);
  const std::vector<T> expected = outputs_of(ensemble, matrix(x.data(), 300, kInputs));
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      for (int call = 0; call < 20; ++call) {
        if (!same_bits<T>(outputs_of(ensemble, matrix(x.data(), 300, kInputs)), expected)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace stoop
