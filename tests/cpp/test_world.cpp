// Training by several processes, here two threads with a trainer each whose collectives meet at a barrier: the bits follow from
// the shards, not from the number of processes, and all decide alike.
#include <gtest/gtest.h>

#include <barrier>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "run/sharded_executor.hpp"
#include "run/team_executor.hpp"
#include "test_helpers.hpp"
#include "train/epoch.hpp"

namespace stoop {
namespace {

// Where the two meet. Both read the values of both, then write the sums.
class Meeting {
 public:
  template <class T>
  static int sum(void* context, T* values, Index count) {
    auto& [meeting, rank] = *static_cast<Place*>(context);
    if (meeting->is_cut) return 1;
    meeting->offered_[rank] = values;
    meeting->both_.arrive_and_wait();
    const auto *left = static_cast<const T*>(meeting->offered_[0]),
               *right = static_cast<const T*>(meeting->offered_[1]);
    std::vector<T> sums;
    for (Index i = 0; i < count; ++i) sums.push_back(left[i] + right[i]);
    meeting->both_.arrive_and_wait();
    std::copy(sums.begin(), sums.end(), values);
    return 0;
  }

  World world(int rank, int shards) {
    return {shards, {&places_[static_cast<std::size_t>(rank)], rank, 2, sum<float>, sum<double>}};
  }

  bool is_cut = false;

 private:
  struct Place {
    Meeting* meeting;
    std::size_t rank;
  };
  Place places_[2] = {{this, 0}, {this, 1}};
  const void* offered_[2] = {};
  std::barrier<> both_{2};
};

template <class T>
struct Process {
  Process(const TrainerConfig& config, const World& world, std::vector<Layer> layers = usual())
      : model({.input_dim = 4, .layers = std::move(layers)}), core(model, config, world) {}

  static std::vector<Layer> usual() {
    return {Dense{.units = 9, .activation = Tanh{}, .l2 = 0.02},
            Dropout{.rate = 0.2},
            LayerNorm{},
            Dense{.units = 7, .trainable = false},
            GELU{},
            Dense{3}};
  }

  EpochEnd train(const Dataset<T>& data, const EpochSettings& how, Poller* poller = nullptr) {
    EpochEnd end;
    for (Index number = 0; number < 3 && end.status == RunStatus::done; ++number) {
      core.cursor = {};
      core.cursor.epoch = core.state.epoch = number;
      Epoch<T> epoch(core, data, how, poller);
      end = epoch.advance(30);
      if (end.status == RunStatus::stopped) end = epoch.advance(how.samples);
    }
    return end;
  }

  Model<T> model;
  TrainerCore<T> core;
};

template <class T>
void expect_same(Process<T>& a, Process<T>& b) {
  EXPECT_TRUE(same_bits<T>(a.core.state.parameters, b.core.state.parameters));
  EXPECT_TRUE(same_bits<T>(a.core.state.average.elements(), b.core.state.average.elements()));
  for (int i = 0; i < kMostStates; ++i) {
    EXPECT_TRUE(same_bits<T>(a.core.state.optimizer[i].elements(), b.core.state.optimizer[i].elements())) << i;
  }
  EXPECT_EQ(a.core.state.steps, b.core.state.steps);
  const Cursor &x = a.core.cursor, &y = b.core.cursor;
  EXPECT_EQ(x.row, y.row);
  EXPECT_EQ(x.updates, y.updates);
  EXPECT_EQ(x.loss_sum, y.loss_sum);
  EXPECT_EQ(x.weight_sum, y.weight_sum);
  EXPECT_EQ(x.correct, y.correct);
  EXPECT_EQ(x.grad_norm_sum, y.grad_norm_sum);
  EXPECT_EQ(x.largest_norm, y.largest_norm);
}

template <class T>
class Worlds : public ::testing::Test {
 protected:
  const Samples<T> samples_{103, 4, 3};
  std::vector<T> weights_ = std::vector<T>(103, T(0.5));

  Dataset<T> dataset(const Loss& loss, bool weighted = false) {
    Targets<T> y = samples_.y(loss);
    for (std::size_t i = 0; i < weights_.size(); i += 3) weights_[i] = T(1.25);
    if (weighted) y.weights = weights_;
    return {"test", samples_.x(), y, {4, 3, kind_of(loss)}};
  }

  // Trains in two processes, and returns how that ended in each.
  static std::vector<EpochEnd> train_both(Process<T>& a, Process<T>& b, const Dataset<T>& data,
                                          const EpochSettings& how, Poller* poller_of_b = nullptr) {
    std::vector<EpochEnd> ends(2);
    std::thread other([&] { ends[1] = b.train(data, how, poller_of_b); });
    ends[0] = a.train(data, how);
    other.join();
    return ends;
  }
};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Worlds, ElementTypes);

const TrainerConfig kConfigs[] = {
    {.optimizer = SGD{.learning_rate = schedules::Cosine{.lr = 0.1, .steps = 30}, .momentum = 0.9}, .l1 = 0.01},
    {.optimizer = Adam{}, .clip_norm = 0.5, .ema = 0.9},
    {.loss = MeanSquaredError{},
     .optimizer = SGD{.learning_rate = 0.05},
     .l2 = 0.01,
     .clip_value = 0.2,
     .max_norm = 0.8},
    {.optimizer = Lamb{}, .accumulate = 3},
};

TYPED_TEST(Worlds, TheBitsFollowFromTheShards) {
  using T = TypeParam;
  for (TrainerConfig config : kConfigs) {
    config.num_threads = 1;
    for (const int shards : {2, 4}) {
      for (const bool weighted : {false, true}) {
        const EpochSettings how{.samples = 103, .batch = 6, .merged = 1, .accumulate = config.accumulate};
        const Dataset<T> data = this->dataset(config.loss, weighted);
        Meeting meeting;
        Process<T> a(config, meeting.world(0, shards)), b(config, meeting.world(1, shards));
        Process<T> alone(config, {.shards = shards}), plain(config, {});
        for (const EpochEnd& end : this->train_both(a, b, data, how)) EXPECT_EQ(end.status, RunStatus::done);
        EXPECT_EQ(alone.train(data, how).status, RunStatus::done);
        EXPECT_EQ(plain.train(data, how).status, RunStatus::done);
        expect_same(a, b);
        expect_same(a, alone);
        // The sums of a gradient are rounded otherwise, in 51 updates. Adam and Lamb divide by the root of its square.
        const double tolerance = 51 * 200 * kEpsilon<T>;
        for (std::size_t i = 0; i < alone.core.state.parameters.size(); ++i) {
          ASSERT_NEAR(alone.core.state.parameters[i], plain.core.state.parameters[i], tolerance) << i;
        }
        EXPECT_NEAR(alone.core.cursor.loss(), plain.core.cursor.loss(), tolerance);
        EXPECT_EQ(alone.core.cursor.correct, plain.core.cursor.correct);
        EXPECT_EQ(alone.core.cursor.updates, plain.core.cursor.updates);
      }
    }
  }
}

// The first rows of a batch are those of the first process, and so on.
TYPED_TEST(Worlds, ALossThatIsNotFiniteInOneProcessStopsBoth) {
  using T = TypeParam;
  const TrainerConfig config{.loss = MeanSquaredError{}, .optimizer = Adam{}};
  Samples<T> samples(103, 4, 3);
  samples.values[3 * 47] = std::numeric_limits<T>::max();
  const Dataset<T> data("test", samples.x(), samples.y(config.loss), {4, 3, kind_of(config.loss)});
  Meeting meeting;
  Process<T> a(config, meeting.world(0, 2)), b(config, meeting.world(1, 2)), plain(config, {});
  const EpochSettings how{.samples = 103, .batch = 8, .shuffle = false};
  for (const EpochEnd& end : this->train_both(a, b, data, how)) {
    EXPECT_EQ(end.status, RunStatus::not_finite);
    EXPECT_FALSE(end.applied);
    EXPECT_EQ(end.updates, 5);
  }
  EXPECT_EQ(plain.train(data, how).status, RunStatus::not_finite);
  expect_same(a, b);
  EXPECT_EQ(a.core.state.steps, plain.core.state.steps);
  EXPECT_FALSE(std::isfinite(a.core.cursor.loss()));
}

TYPED_TEST(Worlds, AnUpdateThatWouldBeTooLongStopsBoth) {
  using T = TypeParam;
  const TrainerConfig config{.optimizer = SGD{.learning_rate = sizeof(T) == 4 ? 1e33 : 1e303}};
  const Dataset<T> data = this->dataset(config.loss);
  Meeting meeting;
  Process<T> a(config, meeting.world(0, 2)), b(config, meeting.world(1, 2));
  const std::vector<T> before = parameters_of(a.model);
  for (const EpochEnd& end : this->train_both(a, b, data, {.samples = 103, .batch = 8})) {
    EXPECT_EQ(end.status, RunStatus::not_finite);
    EXPECT_GT(end.too_long, 0.0);
  }
  expect_same(a, b);
  EXPECT_TRUE(same_bits<T>(before, a.model.parameter_block()));
}

TYPED_TEST(Worlds, BadDataInOneProcessAreNamedInBoth) {
  using T = TypeParam;
  std::vector<T> features = this->samples_.features;
  features[4 * 46 + 2] = kNaN<T>;
  InputView x = matrix(static_cast<const T*>(features.data()), Index{103}, Index{4});
  x.mapped = true;  // so that its rows are checked as they are read
  const Dataset<T> data("test", x, Targets<T>(this->samples_.classes), {4, 3, kind_of<SoftmaxCrossEntropy>()});
  Meeting meeting;
  Process<T> a({}, meeting.world(0, 2)), b({}, meeting.world(1, 2));
  for (const EpochEnd& end : this->train_both(a, b, data, {.samples = 103, .batch = 8, .shuffle = false})) {
    EXPECT_EQ(end.status, RunStatus::bad_data);
    EXPECT_EQ(end.bad_row, 46);
  }
  expect_same(a, b);
  EXPECT_EQ(a.core.state.steps, 5);
}

TYPED_TEST(Worlds, AStopThatOneProcessWantsStopsBothAfterTheSameUpdate) {
  using T = TypeParam;
  const Dataset<T> data = this->dataset(SoftmaxCrossEntropy{});
  Meeting meeting;
  Process<T> a({}, meeting.world(0, 2)), b({}, meeting.world(1, 2));
  Poller poller([](Index) { return false; });
  poller.is_due();  // its time begins
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  for (const EpochEnd& end : this->train_both(a, b, data, {.samples = 103, .batch = 8}, &poller)) {
    EXPECT_EQ(end.status, RunStatus::interrupted);
    EXPECT_EQ(end.updates, 1);
  }
  expect_same(a, b);
}

TYPED_TEST(Worlds, AProcessThatCannotBeReachedIsAStatus) {
  using T = TypeParam;
  const Dataset<T> data = this->dataset(SoftmaxCrossEntropy{});
  Meeting meeting;
  meeting.is_cut = true;
  Process<T> a({}, meeting.world(0, 2));
  const EpochEnd end = a.train(data, {.samples = 103, .batch = 8});
  EXPECT_EQ(end.status, RunStatus::lost);
  EXPECT_EQ(a.core.state.steps, 0);
  EXPECT_THROW(a.core.refuse_bad_data("Trainer.fit", data.x(), end), std::runtime_error);
}

TYPED_TEST(Worlds, OfOneIsTheUsualExecutor) {
  using T = TypeParam;
  const Dataset<T> data = this->dataset(SoftmaxCrossEntropy{});
  Process<T> one({}, {}), sharded({}, {.shards = 2});
  for (const PlanKind kind : {PlanKind::training, PlanKind::checked}) {
    EXPECT_NE(dynamic_cast<TeamExecutor<T>*>(&one.core.executor(kind, 8, data)), nullptr);
    EXPECT_NE(dynamic_cast<ShardedExecutor<T>*>(&sharded.core.executor(kind, 8, data)), nullptr);
  }
  EXPECT_NE(dynamic_cast<TeamExecutor<T>*>(&sharded.core.executor(PlanKind::gradient, 8, data)), nullptr);
}

TYPED_TEST(Worlds, RefuseWhatTheyCannotDo) {
  using T = TypeParam;
  using P = Process<T>;
  Meeting meeting;
  EXPECT_THROW(P({}, {.shards = 3}), ValueError);
  EXPECT_THROW(P({}, {.shards = 0}), ValueError);
  EXPECT_THROW(P({}, meeting.world(0, 1)), ValueError);
  EXPECT_THROW(P({}, {.shards = 2}, {Dense{4}, BatchNorm{}, Dense{3}}), ValueError);
  EXPECT_NO_THROW(P({}, {}, {Dense{4}, BatchNorm{}, Dense{3}}));
}

}  // namespace
}  // namespace stoop
