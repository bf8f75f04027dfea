// A fit that is ended anywhere and resumed from its checkpoint, by another model and trainer, comes to the bits of a fit that
// was never interrupted. A checkpoint that is damaged, or does not fit, is refused and changes nothing.
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include <stoop/checkpoint.hpp>

#include "base/crc32.hpp"
#include "safetensors_folder.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

const Index kRows = 53;

template <class T>
class Checkpoints : public SafetensorsFolder {
 protected:
  static Model<T> make_model() {
    return Model<T>({.input_dim = 4,
                     .layers = {Dense{.units = 9, .l2 = 0.02}, BatchNorm{}, Tanh{}, Dropout{.rate = 0.2}, Dense{3}},
                     .seed = 3});
  }

  const Samples<T> samples_{kRows, 4, 3};
};

using ElementTypes = testing::Types<float, double>;
TYPED_TEST_SUITE(Checkpoints, ElementTypes);

std::vector<TrainerConfig> configs() {
  const LearningRate falling = schedules::Exponential{.lr = 0.02, .decay = 0.99};
  return {
      {.optimizer = Adam{.learning_rate = falling}, .accumulate = 2, .ema = 0.9},
      {.optimizer = SGD{.learning_rate = 0.05, .momentum = 0.9}, .clip_norm = 0.5},
      {.optimizer = LBFGS{.history_size = 3}},
      {.optimizer = NewtonCG{}, .ema = 0.9},
  };
}

template <class T>
void expect_same_state(const TrainingState<T>& a, const TrainingState<T>& b) {
  EXPECT_TRUE(same_bits<T>(a.parameters, b.parameters));
  EXPECT_TRUE(same_bits<T>(a.buffers, b.buffers));
  EXPECT_TRUE(same_bits<T>(a.average, b.average));
  ASSERT_EQ(a.optimizer.size(), b.optimizer.size());
  for (std::size_t i = 0; i < a.optimizer.size(); ++i) EXPECT_TRUE(same_bits<T>(a.optimizer[i], b.optimizer[i]));
  EXPECT_EQ(a.steps, b.steps);
  EXPECT_EQ(a.epoch, b.epoch);
}

TYPED_TEST(Checkpoints, AResumedFitComesToTheBitsOfOneThatWasNeverInterrupted) {
  using T = TypeParam;
  for (const TrainerConfig& config : configs()) {
    const bool full = is_full_batch(config.optimizer);
    FitOptions<T> options{.epochs = 4, .batch_size = full ? kRows : 5};
    options.validation_x = this->samples_.x();
    options.validation_y = this->samples_.classes;
    Model<T> whole = this->make_model();
    Trainer<T> alone(whole, config);
    const History expected = alone.fit(this->samples_.x(), this->samples_.classes, options);

    std::filesystem::remove(this->path_);
    options.resume = this->path_;
    Index runs = 0;
    for (bool done = false; !done; ++runs) {  // each run makes three updates, then a new model and trainer go on
      ASSERT_LT(runs, 100);
      Model<T> model = this->make_model();
      for (T& value : model.parameter_block()) value *= T(2);  // what it begins with must not matter
      if (runs == 0) model = this->make_model();
      Trainer<T> trainer(model, config);
      options.next_steps = [] { return 3; };
      options.on_steps = [&](const StepsResult&) { return trainer.save_checkpoint(this->path_), false; };
      done = trainer.fit(this->samples_.x(), this->samples_.classes, options).stop_reason == StopReason::epochs;
      if (!done) continue;
      expect_same_state(trainer.state(), alone.state());
      EXPECT_EQ(trainer.history().epochs, expected.epochs);
      EXPECT_EQ(trainer.history().loss, expected.loss);
      EXPECT_EQ(trainer.history().accuracy, expected.accuracy);
      EXPECT_EQ(trainer.history().val_loss, expected.val_loss);
      EXPECT_EQ(trainer.history().grad_norm, expected.grad_norm);
    }
    EXPECT_GT(runs, 1);
  }
}

TYPED_TEST(Checkpoints, AModelCanBeLoadedFromIt) {
  using T = TypeParam;
  Model<T> model = this->make_model();
  Trainer<T> trainer(model, {.ema = 0.9});
  trainer.fit(this->samples_.x(), this->samples_.classes, {.batch_size = 8});
  trainer.save_checkpoint(this->path_);
  const Model<T> loaded = Model<T>::load(this->path_);
  EXPECT_TRUE(same_bits<T>(loaded.parameter_block(), model.parameter_block()));
  EXPECT_TRUE(same_bits<T>(loaded.buffer_block(), model.buffer_block()));
}

TYPED_TEST(Checkpoints, SettingsThatMayChangeAreTakenOver) {
  using T = TypeParam;
  Model<T> model = this->make_model();
  Trainer<T> trainer(model);
  trainer.set_learning_rate(schedules::Cosine{.lr = 0.5, .steps = 7});
  trainer.set_penalties(0.1, 0.2);
  trainer.set_clipping(3.0, 4.0);
  trainer.save_checkpoint(this->path_);
  Model<T> other = this->make_model();
  Trainer<T> taker(other, {.num_threads = 1});
  taker.load_checkpoint(this->path_);
  EXPECT_EQ(taker.config().l1, 0.1);
  EXPECT_EQ(taker.config().l2, 0.2);
  EXPECT_EQ(taker.config().clip_norm, 3.0);
  EXPECT_EQ(taker.config().clip_value, 4.0);
  EXPECT_EQ(taker.config().num_threads, 1);
  EXPECT_EQ(std::get<Adam>(taker.config().optimizer).learning_rate.at(3, 0),
            LearningRate(schedules::Cosine{.lr = 0.5, .steps = 7}).at(3, 0));
}

// Each byte of the file counts: none may be changed, and none may be missing.
TYPED_TEST(Checkpoints, ADamagedFileIsRefused) {
  using T = TypeParam;
  Model<T> model = this->make_model();
  Trainer<T> trainer(model);
  trainer.save_checkpoint(this->path_);
  const std::string bytes = this->file_text();
  const TrainingState<T> before = trainer.state();
  for (std::size_t i = 0; i < bytes.size(); i += i < 64 ? 1 : 61) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    std::ofstream(this->path_, std::ios::binary) << damaged;
    EXPECT_THROW(trainer.load_checkpoint(this->path_), CheckpointError) << "byte " << i;
  }
  for (const std::size_t size : {bytes.size() - 1, bytes.size() / 2, std::size_t{9}, std::size_t{0}}) {
    std::ofstream(this->path_, std::ios::binary) << bytes.substr(0, size);
    EXPECT_THROW(trainer.load_checkpoint(this->path_), CheckpointError) << size << " bytes";
  }
  expect_same_state(trainer.state(), before);
}

TYPED_TEST(Checkpoints, OneThatDoesNotFitIsRefused) {
  using T = TypeParam;
  Model<T> model = this->make_model();
  Trainer<T> trainer(model, {.seed = 1});
  FitOptions<T> options{.epochs = 2, .batch_size = 8};
  trainer.fit(this->samples_.x(), this->samples_.classes, options);
  trainer.save_checkpoint(this->path_);
  options.resume = this->path_;
  const auto expect_refused = [&](Model<T> other, const TrainerConfig& config, const FitOptions<T>& how,
                                  const Samples<T>& samples, const std::string& word) {
    Trainer<T> taker(other, config);
    const TrainingState<T> before = taker.state();
    try {
      taker.fit(samples.x(), samples.classes, how);
      FAIL() << word;
    } catch (const CheckpointError& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
    expect_same_state(taker.state(), before);
  };
  const Model<T> fitting = this->make_model();
  const TrainerConfig config{.seed = 1};
  expect_refused(Model<T>({.input_dim = 4, .layers = {Dense{3}}}), config, options, this->samples_, "layers");
  expect_refused(fitting, {.seed = 2}, options, this->samples_, "seed");
  expect_refused(fitting, {.optimizer = SGD{}, .seed = 1}, options, this->samples_, "optimizer");
  expect_refused(fitting, config, options, Samples<T>(kRows + 1, 4, 3), "samples");
  FitOptions<T> other = options;
  other.batch_size = 9;
  expect_refused(fitting, config, other, this->samples_, "batch_size");
  other = options;
  other.shuffle = false;
  expect_refused(fitting, config, other, this->samples_, "shuffle");
  Samples<T> changed = this->samples_;
  changed.values[0] += T(1);
  expect_refused(fitting, config, options, changed, "other samples");
  fitting.save(this->path_);
  expect_refused(fitting, config, options, this->samples_, "no training");
}

// A fit within a function of a fit has a cursor and a history of its own.
TYPED_TEST(Checkpoints, AFitWithinAFitLeavesItsPlace) {
  using T = TypeParam;
  Model<T> model = this->make_model();
  Trainer<T> trainer(model, {.num_threads = 1});
  Index calls = 0;
  FitOptions<T> options{.epochs = 2, .batch_size = 5};
  options.next_steps = [] { return 4; };
  options.on_steps = [&](const StepsResult& now) {
    const Index rows = trainer.state().place.row;
    EXPECT_EQ(trainer.fit(this->samples_.x(), this->samples_.classes, {.epochs = 2, .batch_size = 7}).loss.size(), 2);
    EXPECT_EQ(trainer.state().place.row, rows);
    EXPECT_EQ(trainer.history().loss.size(), static_cast<std::size_t>(now.epoch > 0 && calls > 2 ? 1 : 0));
    return ++calls < 100;
  };
  const History history = trainer.fit(this->samples_.x(), this->samples_.classes, options);
  EXPECT_EQ(history.stop_reason, StopReason::epochs);
  EXPECT_EQ(history.loss.size(), 2);
  EXPECT_EQ(calls, 6);  // after 4, 8 and 11 of the 11 updates, twice
}

TEST(CheckpointChecksum, IsThatOfZip) {
  Crc32 sum;
  sum.add("1234567", 7);
  sum.add("89", 2);
  EXPECT_EQ(sum.value(), 0xCBF43926U);
}

}  // namespace
}  // namespace stoop
