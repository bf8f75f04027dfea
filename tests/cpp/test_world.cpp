// Training by several processes, here threads with a trainer each whose collectives meet at a barrier: the bits follow from
// the shards, not from the number of processes, and all decide alike.
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <cstring>
#include <limits>
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

// Where the processes meet: each leaves its block where all can read it until they meet again.
class Meeting {
 public:
  explicit Meeting(int size) : size_(size), offered_(static_cast<std::size_t>(size)), all_(size) {
    for (int rank = 0; rank < size; ++rank) places_.push_back({this, rank});
  }
  Meeting(const Meeting&) = delete;

  World world(int rank, int shards) {
    return {shards, {&places_[static_cast<std::size_t>(rank)], rank, size_, gather, exchange}};
  }

  std::atomic<bool> is_cut{false};
  std::atomic<int> calls{0};

 private:
  struct Place {
    Meeting* meeting;
    int rank;
  };

  static int gather(void* context, const void* send, void* receive, Index bytes) {
    return move(context, send, receive, bytes, false);
  }
  static int exchange(void* context, const void* send, void* receive, Index bytes) {
    return move(context, send, receive, bytes, true);
  }

  static int move(void* context, const void* send, void* receive, Index bytes, bool to_each) {
    auto& [meeting, rank] = *static_cast<Place*>(context);
    if (meeting->is_cut) return 1;
    ++meeting->calls;
    meeting->offered_[static_cast<std::size_t>(rank)] = static_cast<const std::byte*>(send);
    meeting->all_.arrive_and_wait();
    for (int from = 0; from < meeting->size_; ++from) {
      const std::byte* block = meeting->offered_[static_cast<std::size_t>(from)] + (to_each ? rank * bytes : 0);
      std::memcpy(static_cast<std::byte*>(receive) + from * bytes, block, static_cast<std::size_t>(bytes));
    }
    meeting->all_.arrive_and_wait();
    return 0;
  }

  const int size_;
  std::vector<Place> places_;
  std::vector<const std::byte*> offered_;
  std::barrier<> all_;
};

template <class T>
struct Process {
  Process(const TrainerConfig& config, const World& world, std::vector<Layer> layers = usual())
      : model({.input_dim = 4, .layers = std::move(layers)}), core(model, config, world) {}

  static std::vector<Layer> usual() {
    return {Dense{.units = 9, .activation = Tanh{}, .l2 = 0.02, .lr_scale = 0.3, .decay_scale = 2.0},
            Dropout{.rate = 0.2},
            LayerNorm{.lr_scale = 3.0},
            Dense{.units = 7, .trainable = false},
            GELU{},
            Dense{3}};
  }

  EpochEnd train(const Dataset<T>& data, const EpochSettings& how, Poller* poller = nullptr) {
    EpochEnd end;
    for (Index number = 0; number < 3 && end.status == RunStatus::done; ++number) {
      core.cursor = {};
      core.cursor.epoch = core.state.epoch = number;
      Epoch<T> epoch(core, data, how, poller, augmentation);
      end = epoch.advance(30);
      if (end.status == RunStatus::stopped) end = epoch.advance(how.samples);
    }
    return end;
  }

  Model<T> model;
  TrainerCore<T> core;
  const Augmentation<T>* augmentation = nullptr;
};

template <class T>
void expect_same(Process<T>& a, Process<T>& b) {
  EXPECT_TRUE(same_bits<T>(a.core.state.parameters, b.core.state.parameters));
  EXPECT_TRUE(same_bits<T>(a.core.state.running, b.core.state.running));
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

  template <class Body>
  static void run_all(int size, const Body& body) {
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size; ++rank) threads.emplace_back([&body, rank] { body(rank); });
    for (std::thread& thread : threads) thread.join();
  }

  static auto train_all(const TrainerConfig& config, int size, const std::vector<Layer>& layers, const Dataset<T>& data,
                        const EpochSettings& how, const Augmentation<T>* augmentation = nullptr) {
    Meeting meeting(size);
    std::vector<std::unique_ptr<Process<T>>> all(static_cast<std::size_t>(size));
    run_all(size, [&](int rank) {
      auto& process = all[static_cast<std::size_t>(rank)];
      process = std::make_unique<Process<T>>(config, meeting.world(rank, 8), layers);
      process->augmentation = augmentation;
      EXPECT_EQ(process->train(data, how).status, RunStatus::done);
    });
    return all;
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
  using P = Process<T>;
  const std::vector<Layer> normalised = {Dense{40}, BatchNorm{}, Tanh{}, Dropout{0.1}, Dense{3}};
  // Sums of this many bytes go in parts.
  const std::vector<Layer> large = {Dense{150}, BatchNorm{}, Tanh{}, Dense{120}, ReLU{}, Dense{3}};
  for (const auto& layers : {P::usual(), normalised, large}) {
    for (TrainerConfig config : kConfigs) {
      config.num_threads = 1;
      for (const bool weighted : {false, true}) {
        const EpochSettings how{.samples = 103, .batch = 6, .merged = 1, .accumulate = config.accumulate};
        const Dataset<T> data = this->dataset(config.loss, weighted);
        P alone(config, {.shards = 8}, layers), plain(config, {}, layers);
        EXPECT_EQ(alone.train(data, how).status, RunStatus::done);
        EXPECT_EQ(plain.train(data, how).status, RunStatus::done);
        for (const int size : {2, 4, 8}) {
          for (const std::unique_ptr<P>& process : this->train_all(config, size, layers, data, how)) {
            expect_same(*process, alone);
          }
        }
        if (layers != P::usual()) continue;  // statistics of shards are others
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

TYPED_TEST(Worlds, SamplesAreAugmentedAlike) {
  using T = TypeParam;
  const TrainerConfig config{.num_threads = 1};
  const Dataset<T> data = this->dataset(config.loss);
  const EpochSettings how{.samples = 103, .batch = 25};
  const Augment moves{.height = 2, .width = 2, .rotate = 30.0, .noise = 0.1}, mixes{.noise = 0.1, .mixup = 0.5};
  for (const Augment& settings : {moves, mixes}) {
    const Augmentation<T> augmentation(settings, 5);
    Process<T> alone(config, {.shards = 8}), plain(config, {.shards = 8});
    alone.augmentation = &augmentation;
    EXPECT_EQ(alone.train(data, how).status, RunStatus::done);
    EXPECT_EQ(plain.train(data, how).status, RunStatus::done);
    EXPECT_FALSE(same_bits<T>(alone.core.state.parameters, plain.core.state.parameters));
    for (const int size : {2, 4, 8}) {
      for (const auto& process : this->train_all(config, size, Process<T>::usual(), data, how, &augmentation)) {
        expect_same(*process, alone);
      }
    }
  }
}

TYPED_TEST(Worlds, AGradientBeyondAllMeasureIsLookedAtWhole) {
  using T = TypeParam;
  const TrainerConfig config{.loss = MeanSquaredError{}, .optimizer = Adam{}, .num_threads = 1};
  const std::vector<Layer> layers = {Dense{150}, Tanh{}, Dense{120}, Tanh{}, Dense{3}};
  Samples<T> samples(103, 4, 3);
  for (std::size_t i = 0; i < samples.values.size(); i += 7) samples.values[i] *= T(sizeof(T) == 4 ? 1e15 : 1e150);
  const Dataset<T> data("test", samples.x(), samples.y(config.loss), {4, 3, kind_of(config.loss)});
  const EpochSettings how{.samples = 103, .batch = 8};
  Process<T> alone(config, {.shards = 8}, layers);
  EXPECT_EQ(alone.train(data, how).status, RunStatus::done);
  EXPECT_GT(alone.core.cursor.largest_norm, sizeof(T) == 4 ? 1e13 : 1e148);
  for (const auto& process : this->train_all(config, 4, layers, data, how)) expect_same(*process, alone);
}

// The element whose square overflows is in the part of one process.
TYPED_TEST(Worlds, AGradientThatIsTooSteepStopsAll) {
  using T = TypeParam;
  constexpr bool kIsFloat = sizeof(T) == 4;
  const TrainerConfig config{.loss = MeanSquaredError{}, .optimizer = Adam{}, .num_threads = 1};
  const std::vector<Layer> layers = {Dense{150}, Dense{120}, Dense{3}};
  Samples<T> samples(103, 4, 3);
  samples.values[3 * 20] *= T(kIsFloat ? 1e15 : 1e150);
  samples.features[4 * 20] *= T(kIsFloat ? 1e10 : 1e20);
  const Dataset<T> data("test", samples.x(), samples.y(config.loss), {4, 3, kind_of(config.loss)});
  const EpochSettings how{.samples = 103, .batch = 8, .shuffle = false};
  Process<T> alone(config, {.shards = 8}, layers);
  const EpochEnd expected = alone.train(data, how);
  EXPECT_EQ(expected.status, RunStatus::not_finite);
  EXPECT_GT(expected.too_steep, 0.0);
  Meeting meeting(4);
  this->run_all(4, [&](int rank) {
    Process<T> process(config, meeting.world(rank, 8), layers);
    const EpochEnd end = process.train(data, how);
    EXPECT_EQ(end.status, RunStatus::not_finite);
    EXPECT_EQ(end.too_steep, expected.too_steep);
    EXPECT_EQ(end.updates, expected.updates);
    EXPECT_EQ(end.fault.node, expected.fault.node);
    expect_same(process, alone);
  });
}

TYPED_TEST(Worlds, AnUpdateOfFewParametersIsOneMessage) {
  using T = TypeParam;
  const Dataset<T> data = this->dataset(SoftmaxCrossEntropy{});
  Meeting meeting(2);
  Process<T> a({}, meeting.world(0, 8)), b({}, meeting.world(1, 8));
  this->train_both(a, b, data, {.samples = 103, .batch = 16});
  EXPECT_EQ(a.core.state.steps, 21);
  EXPECT_EQ(meeting.calls, 2 * 21);
}

TYPED_TEST(Worlds, RunningStatisticsAreTheMeanOverTheShards) {
  using T = TypeParam;
  const std::vector<Layer> layers = {BatchNorm{.momentum = 0.5}, Dense{3}};
  Process<T> sharded({}, {.shards = 4}, layers);
  const Dataset<T> data = this->dataset(SoftmaxCrossEntropy{});
  sharded.train(data, {.samples = 8, .batch = 8, .shuffle = false});
  for (Index column = 0; column < 4; ++column) {
    double mean = 0.0, expected = 0.0;
    for (Index row = 0; row < 8; ++row) mean += static_cast<double>(this->samples_.features[4 * row + column]) / 8;
    for (int epoch = 0; epoch < 3; ++epoch) expected = 0.5 * expected + 0.5 * mean;
    EXPECT_NEAR(sharded.model.buffer_block()[static_cast<std::size_t>(column)], expected, 20 * kEpsilon<T>);
  }
}

TYPED_TEST(Worlds, ShareOutAnEvaluation) {
  using T = TypeParam;
  for (const Index rows : {3, 103}) {
    const Dataset<T> all = this->dataset(SoftmaxCrossEntropy{}, true);
    Targets<T> y = all.y();
    y.classes = y.classes.first(static_cast<std::size_t>(rows));
    y.weights = y.weights.first(static_cast<std::size_t>(rows));
    const Dataset<T> data("test", matrix(this->samples_.features.data(), rows, Index{4}), y,
                          {4, 3, kind_of<SoftmaxCrossEntropy>()});
    Process<T> alone({}, {.shards = 8}), plain({}, {});
    std::vector<double> losses(static_cast<std::size_t>(rows)), expected(losses);
    const Metrics plainly = plain.core.evaluate("test", data, nullptr, expected);
    const Metrics metrics = alone.core.evaluate("test", data, nullptr, losses);
    EXPECT_EQ(losses, expected);
    EXPECT_NEAR(metrics.loss, plainly.loss, 20 * kEpsilon<T>);
    EXPECT_EQ(metrics.accuracy, plainly.accuracy);
    for (const int size : {2, 4, 8}) {
      Meeting meeting(size);
      this->run_all(size, [&](int rank) {
        Process<T> process({}, meeting.world(rank, 8));
        std::vector<double> found(static_cast<std::size_t>(rows));
        const Metrics shared = process.core.evaluate("test", data, nullptr, found);
        EXPECT_EQ(shared.loss, metrics.loss);
        EXPECT_EQ(shared.accuracy, metrics.accuracy);
        EXPECT_EQ(found, expected);
      });
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
  Meeting meeting(2);
  Process<T> a(config, meeting.world(0, 2)), b(config, meeting.world(1, 2)), plain(config, {});
  const EpochSettings how{.samples = 103, .batch = 8, .shuffle = false};
  for (const EpochEnd& end : this->train_both(a, b, data, how)) {
    EXPECT_EQ(end.status, RunStatus::not_finite);
    EXPECT_FALSE(end.applied);
    EXPECT_EQ(end.updates, 5);
    EXPECT_FALSE(std::isfinite(end.refused_loss));
  }
  EXPECT_EQ(plain.train(data, how).status, RunStatus::not_finite);
  expect_same(a, b);
  EXPECT_EQ(a.core.state.steps, plain.core.state.steps);
  for (const Process<T>* process : {&a, &plain}) EXPECT_TRUE(std::isfinite(process->core.cursor.loss()));
}

TYPED_TEST(Worlds, AnUpdateThatWouldBeTooLongStopsBoth) {
  using T = TypeParam;
  const TrainerConfig config{.optimizer = SGD{.learning_rate = sizeof(T) == 4 ? 1e33 : 1e303}};
  const Dataset<T> data = this->dataset(config.loss);
  Meeting meeting(2);
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
  Meeting meeting(2);
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
  Meeting meeting(2);
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
  Meeting meeting(2);
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
  Meeting meeting(2);
  EXPECT_THROW(P({}, {.shards = 3}), ValueError);
  EXPECT_THROW(P({}, {.shards = 0}), ValueError);
  EXPECT_THROW(P({}, meeting.world(0, 1)), ValueError);
  Model<T> model({.input_dim = 4, .layers = {Dense{3}}});
  World world = meeting.world(0, 8);
  world.collectives.alltoall = nullptr;
  EXPECT_THROW(Trainer<T>(model, {}, world), ValueError);
  for (const int rank : {-1, 2}) {
    world = meeting.world(0, 8);
    world.collectives.rank = rank;
    EXPECT_THROW(Trainer<T>(model, {}, world), ValueError);
  }
}

// Runs a call in two processes and returns what each threw.
template <class Call>
std::vector<std::string> thrown_in_both(const Call& call) {
  std::vector<std::string> said(2);
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        call(static_cast<int>(rank));
      } catch (const std::exception& error) {
        said[rank] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return said;
}

TYPED_TEST(Worlds, WhatOneCannotDoEndsTheCallInAll) {
  using T = TypeParam;
  const Samples<T>& samples = this->samples_;
  Meeting meeting(2);
  std::vector<Model<T>> models;
  for (int i = 0; i < 2; ++i) models.emplace_back(ModelConfig{.input_dim = 4, .layers = {Dense{3}}});
  const auto said = thrown_in_both([&](int rank) {
    Trainer<T> trainer(models[static_cast<std::size_t>(rank)], {}, meeting.world(rank, 2));
    trainer.fit(samples.x(), samples.y(SoftmaxCrossEntropy{}), {.epochs = 1 - rank});
  });
  EXPECT_NE(said[0].find("[Trainer.fit] rank 1 raised an error: epochs=0; expected at least 1"), std::string::npos)
      << said[0];
  EXPECT_EQ(said[1].find("[Trainer.fit] epochs=0"), 0U) << said[1];
}

TYPED_TEST(Worlds, MustAgree) {
  using T = TypeParam;
  Samples<T> other = this->samples_;
  other.features[50] += T(1);
  const auto said = [&](std::uint64_t seed, const Samples<T>& samples, double rate) {
    Meeting meeting(2);
    return thrown_in_both([&](int rank) {
      Model<T> model({.input_dim = 4, .layers = {Dense{3}}, .seed = rank == 1 ? seed : 0});
      Trainer<T> trainer(model, {.optimizer = SGD{.learning_rate = rank == 1 ? rate : 0.1}}, meeting.world(rank, 2));
      trainer.fit((rank == 1 ? samples : this->samples_).x(), this->samples_.y(SoftmaxCrossEntropy{}));
    });
  };
  EXPECT_EQ(said(0, this->samples_, 0.1), std::vector<std::string>(2));
  for (const std::string& text : said(0, other, 0.1)) {
    EXPECT_EQ(text.find("[Trainer.fit] rank 1 has other samples"), 0U) << text;
  }
  for (const std::string& text : said(0, this->samples_, 0.2)) {
    EXPECT_EQ(text.find("[Trainer] rank 1 has other layers or settings"), 0U) << text;
  }
  for (const std::string& text : said(7, this->samples_, 0.1)) {
    EXPECT_EQ(text.find("[Trainer.fit] rank 1 has other parameters"), 0U) << text;
  }
}

TYPED_TEST(Worlds, ADeclinedCallEndsInAll) {
  Meeting meeting(2);
  const auto said = thrown_in_both([&](int rank) {
    if (rank == 1)
      return decline(meeting.world(rank, 2), "Trainer.step", "[Trainer.step] X is text; expected numbers.");
    using T = TypeParam;
    Model<T> model({.input_dim = 4, .layers = {Dense{3}}});
    Trainer<T> trainer(model, {}, meeting.world(rank, 2));
  });
  EXPECT_EQ(said[0], "[Trainer] rank 1 raised an error: X is text; expected numbers; so no process made this call.");
  EXPECT_EQ(said[1], "");
}

}  // namespace
}  // namespace stoop
