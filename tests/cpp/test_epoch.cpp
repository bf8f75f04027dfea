// An epoch in pieces, also with another trainer for each, comes to the bits of an epoch in one piece; how it ends is a
// status, never an exception.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>

#include "test_helpers.hpp"
#include "train/epoch.hpp"

namespace stoop {
namespace {

// A model and a trainer's core for it.
template <class T>
struct Session {
  explicit Session(const TrainerConfig& config, bool normalises = true)
      : model({.input_dim = 4, .layers = layers(normalises)}), core(model, config) {}

  static std::vector<Layer> layers(bool normalises) {
    if (!normalises) return {Dense{9, Tanh{}}, Dense{3}};
    return {Dense{.units = 9, .l2 = 0.02},
            BatchNorm{},
            Tanh{},
            Dropout{.rate = 0.2},
            Dense{7, GELU{}},
            LayerNorm{},
            Dense{3}};
  }

  // What a checkpoint holds.
  void take_over(Session& other) {
    const auto from = other.core.state.changed_arrays(), to = core.state.changed_arrays();
    for (std::size_t i = 0; i < from.size(); ++i) std::copy(from[i].begin(), from[i].end(), to[i].begin());
    core.state.epoch = other.core.state.epoch;
    core.state.steps = other.core.state.steps;
    core.cursor = other.core.cursor;
  }

  Model<T> model;
  TrainerCore<T> core;
};

template <class T>
void expect_same(Session<T>& a, Session<T>& b) {
  const auto left = a.core.state.changed_arrays(), right = b.core.state.changed_arrays();
  ASSERT_EQ(left.size(), right.size());
  for (std::size_t i = 0; i < left.size(); ++i) EXPECT_TRUE(same_bits<T>(left[i], right[i])) << "array " << i;
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
class Epochs : public ::testing::Test {
 protected:
  const Samples<T> samples_{103, 4, 3};
  const std::vector<T> weights_ = numbers<T>(103, 5, 0.4);

  Dataset<T> dataset(const Loss& loss, bool weighted = false) {
    Targets<T> y = samples_.y(loss);
    for (const T w : weights_) positive_.push_back(T(4) * (T(0.5) + w));
    if (weighted) y.weights = std::span<const T>(positive_).first(103);
    return {"test", samples_.x(), y, {4, 3, kind_of(loss)}};
  }

  std::vector<T> positive_;
};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Epochs, ElementTypes);

const TrainerConfig kConfigs[] = {
    {.optimizer = SGD{.learning_rate = 0.1}},
    {.optimizer = SGD{.learning_rate = schedules::Cosine{.lr = 0.1, .steps = 30}, .momentum = 0.9}, .l1 = 0.01},
    {.optimizer = Adam{}, .clip_norm = 0.5, .ema = 0.9},
    {.loss = MeanSquaredError{}, .optimizer = RMSProp{.momentum = 0.9}, .l2 = 0.01, .clip_value = 0.2, .max_norm = 0.8},
    {.optimizer = AdamW{.amsgrad = true}, .accumulate = 3},
    {.loss = MeanSquaredError{}, .optimizer = Nadam{}, .accumulate = 2, .ema = 0.99},
};
// A last batch of 7 rows, of 1 that is merged, none, and all rows that do not fill one left out.
const EpochSettings kSettings[] = {{.samples = 103, .batch = 8, .merged = 0},
                                   {.samples = 103, .batch = 6, .merged = 1},
                                   {.samples = 103, .batch = 103, .shuffle = false},
                                   {.samples = 96, .batch = 16}};
constexpr Index kPieces[] = {1, 30, 2, 9, 17, 3};

TYPED_TEST(Epochs, InPiecesComeToTheBitsOfOnePiece) {
  using T = TypeParam;
  for (TrainerConfig config : kConfigs) {
    for (EpochSettings how : kSettings) {
      const Dataset<T> data = this->dataset(config.loss, how.batch == 16);
      how.accumulate = config.accumulate;
      config.num_threads = how.batch == 8 ? 2 : 1;
      Session<T> whole(config), pieces(config);
      auto resumed = std::make_unique<Session<T>>(config);
      std::size_t piece = 0;
      for (Index number = 0; number < 3; ++number) {
        whole.core.cursor = pieces.core.cursor = resumed->core.cursor = Cursor{{}, number};
        EXPECT_EQ(Epoch<T>(whole.core, data, how, nullptr).advance(how.samples).status, RunStatus::done);
        Epoch<T> epoch(pieces.core, data, how, nullptr);
        while (!epoch.is_complete()) {
          const Index until = pieces.core.cursor.row + kPieces[piece++ % std::size(kPieces)];
          const RunStatus status = epoch.advance(until).status;
          EXPECT_EQ(status, epoch.is_complete() ? RunStatus::done : RunStatus::stopped);
          EXPECT_GE(pieces.core.cursor.row, std::min(until, how.samples));
          const auto next = std::make_unique<Session<T>>(config);  // another process, that knows a checkpoint
          next->take_over(*resumed);
          Epoch<T>(next->core, data, how, nullptr).advance(until);
          resumed->take_over(*next);
        }
        for (Session<T>* each : {&whole, &pieces, resumed.get()}) ++each->core.state.epoch;
        expect_same(pieces, whole);
        expect_same(*resumed, whole);
      }
    }
  }
}

// The last batch has 7 rows, and then other weights than the others.
TYPED_TEST(Epochs, DividePenaltiesByTheWeightOfTheUpdate) {
  using T = TypeParam;
  const TrainerConfig config{.loss = MeanSquaredError{}, .optimizer = SGD{.learning_rate = 0.1}, .l1 = 0.3, .l2 = 0.9};
  for (const bool weighted : {false, true}) {
    Session<T> session(config, false), other(config, false);
    const Dataset<T> data = this->dataset(config.loss, weighted);
    const EpochSettings how{.samples = 103, .batch = 32, .shuffle = false, .penalty_per_sample = true};
    Epoch<T> epoch(session.core, data, how, nullptr);
    epoch.advance(103);
    Trainer<T> trainer(other.model, config);
    const Targets<T> all = this->samples_.y(config.loss);
    double loss = 0.0, total = 0.0;
    for (Index begin = 0; begin < 103; begin += 32) {
      const Index rows = std::min<Index>(32, 103 - begin);
      const MatrixView<const T> values = all.values;
      Targets<T> y(MatrixView<const T>{values.data + begin * values.stride, rows, values.cols, values.stride});
      double weight = static_cast<double>(rows);
      if (weighted) {
        y.weights = std::span<const T>(this->positive_).subspan(begin, rows);
        weight = std::accumulate(y.weights.begin(), y.weights.end(), 0.0);
      }
      trainer.set_penalties(config.l1 / weight, config.l2 / weight);
      loss += weight * trainer.step(matrix(this->samples_.features.data() + 4 * begin, rows, 4), y);
      total += weight;
    }
    const double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-12;
    EXPECT_NEAR(epoch.result().loss, loss / total, tolerance * loss / total);
    const std::span<const T> a = session.model.parameter_block(), b = other.model.parameter_block();
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], tolerance);
    this->positive_.clear();
  }
}

// fit leaves out and merges in the same way.
TYPED_TEST(Epochs, AreThoseOfFit) {
  using T = TypeParam;
  const TrainerConfig config{.optimizer = Adam{}};
  Session<T> session(config), other(config);
  const Dataset<T> data = this->dataset(config.loss);
  const EpochSettings how{.samples = 103, .batch = 6, .merged = 1};
  Epoch<T> epoch(session.core, data, how, nullptr);
  epoch.advance(50);
  EXPECT_EQ(epoch.advance(103).status, RunStatus::done);
  Trainer<T> trainer(other.model, config);
  const History history = trainer.fit(this->samples_.x(), this->samples_.classes, {.batch_size = 6});
  EXPECT_TRUE(same_bits<T>(session.model.parameter_block(), other.model.parameter_block()));
  EXPECT_EQ(history.loss[0], epoch.result().loss);
  EXPECT_EQ(history.accuracy[0], epoch.result().accuracy);
  EXPECT_EQ(history.grad_norm[0], epoch.result().grad_norm);
}

TYPED_TEST(Epochs, ReturnThatAnUpdateIsNotFinite) {
  using T = TypeParam;
  const double rate = sizeof(T) == 4 ? 1e33 : 1e303;
  for (const std::optional<double> clip_norm : {std::optional<double>{}, std::optional<double>{1e-3}}) {
    const TrainerConfig config{.optimizer = SGD{.learning_rate = rate}, .clip_norm = clip_norm};
    Session<T> session(config, false);
    const std::vector<T> before = parameters_of(session.model);
    const Dataset<T> data = this->dataset(config.loss);
    Epoch<T> epoch(session.core, data, {.samples = 103, .batch = 8}, nullptr);
    EpochEnd end;
    EXPECT_NO_THROW(end = epoch.advance(103));
    EXPECT_EQ(end.status, RunStatus::not_finite);
    EXPECT_EQ(end.rate, rate);
    EXPECT_GT(end.too_long, 0.0);
    EXPECT_TRUE(same_bits<T>(before, session.model.parameter_block()));
    EXPECT_EQ(session.core.state.steps, 0);
    EXPECT_EQ(session.core.cursor.row, 0);
  }
}

TYPED_TEST(Epochs, ReturnThatTheDataAreBad) {
  using T = TypeParam;
  std::vector<T> features = this->samples_.features;
  features[4 * 40 + 2] = kNaN<T>;
  InputView x = matrix(static_cast<const T*>(features.data()), Index{103}, Index{4});
  x.mapped = true;  // so that its rows are checked as they are read
  const Dataset<T> data("test", x, Targets<T>(this->samples_.classes), {4, 3, kind_of<SoftmaxCrossEntropy>()});
  Session<T> session({});
  Epoch<T> epoch(session.core, data, {.samples = 103, .batch = 8, .shuffle = false}, nullptr);
  EpochEnd end;
  EXPECT_NO_THROW(end = epoch.advance(103));
  EXPECT_EQ(end.status, RunStatus::bad_data);
  EXPECT_EQ(end.bad_row, 40);
  EXPECT_EQ(session.core.state.steps, 5);  // those before the batch
  EXPECT_EQ(session.core.cursor.updates, 5);
}

}  // namespace
}  // namespace stoop
