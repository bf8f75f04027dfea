// Memory that runs out while a file or a configuration is read or written ends in std::bad_alloc. No file is left behind or open, and what was
// there before is as it was.
#include <gtest/gtest.h>

#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <stoop/ensemble.hpp>
#include <stoop/error.hpp>
#include <stoop/stoop.h>
#include <stoop/trainer.hpp>

#include "failing_allocations.hpp"
#include "io/config_json.hpp"
#include "safetensors_folder.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

constexpr Index kInputs = 4, kOutputs = 3, kRows = 24;

ModelConfig config() {
  return {.input_dim = kInputs,
          .layers = {Columns{.categories = {}, .bins = {2}}, Dense{.units = 8, .activation = LeakyReLU{}}, BatchNorm{},
                     Residual{{Dense{4, ReLU{}}, Dense{8}}}, Dense{.units = kOutputs}},
          .classes =
              ClassNames{.names = {"one", "another", "a third one with a long name, longer than most"}, .dtype = "str"},
          .metadata = {{"made by", "a test"}, {"why", "texts of \"users\" are kept, too: \u00e4"}}};
}

TrainerConfig trainer_config() {
  return {.loss = SoftmaxCrossEntropy{},
          .optimizer = Adam{.learning_rate = schedules::Cosine{.lr = 0.01, .steps = 9}},
          .num_threads = 1};
}

template <class Work>
void fail_each(const Work& work) {
  ::fail_each(work, [](long) {});
}

std::size_t open_files() {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()));
}

class FailingAllocationsOfFiles : public SafetensorsFolder {
 protected:
  void SetUp() override {
    SafetensorsFolder::SetUp();
    model_.adapt(samples_.x());
    trainer_.fit(samples_.x(), samples_.y(SoftmaxCrossEntropy{}), {.epochs = 3, .batch_size = kRows});
  }

  // Each allocation of `work` fails in turn; what it wrote before stays as it was.
  template <class Work>
  void fail_each_with_files(const Work& work) {
    work();
    const std::string before = file_text();
    const std::size_t open = open_files();
    ::fail_each(work, [&](long n) {
      ASSERT_EQ(file_text(), before) << n;
      ASSERT_EQ(files_in_directory(), 1u) << n;
      ASSERT_EQ(open_files(), open) << n;
    });
  }

  const Samples<float> samples_{kRows, kInputs, kOutputs};
  Model<float> model_{config()};
  Trainer<float> trainer_{model_, trainer_config()};
};

TEST_F(FailingAllocationsOfFiles, InReadingAndWritingAModel) {
  fail_each_with_files([&] { model_.save(path_); });
  fail_each_with_files([&] { load_model(path_); });
}

TEST_F(FailingAllocationsOfFiles, InReadingAndWritingAnEnsemble) {
  const Ensemble<float> ensemble({std::make_shared<Model<float>>(model_), std::make_shared<Model<float>>(model_)});
  fail_each_with_files([&] { ensemble.save(path_); });
  fail_each_with_files([&] { load_ensemble(path_); });
}

TEST_F(FailingAllocationsOfFiles, InReadingAndWritingACheckpoint) {
  const std::vector<std::byte> bytes(8);
  const CheckpointExtras extras{.text = "{}", .arrays = {{"a", DType::float64, {1}, bytes}}};
  fail_each_with_files([&] { trainer_.save_checkpoint(path_, extras); });
  fail_each_with_files([&] { read_checkpoint<float>(path_); });
}

// A trainer that could not take up a checkpoint is as it was.
TEST_F(FailingAllocationsOfFiles, InTakingUpACheckpoint) {
  for (const Optimizer& optimizer : {Optimizer{Adam{}}, Optimizer{LBFGS{.history_size = 3}}}) {
    const TrainerConfig settings{.loss = SoftmaxCrossEntropy{}, .optimizer = optimizer, .num_threads = 1};
    const auto fit = [&](Trainer<float>& trainer) {
      trainer.fit(samples_.x(), samples_.y(SoftmaxCrossEntropy{}), {.epochs = 2, .batch_size = kRows});
    };
    Model<float> written = model_, wanted = model_;
    Trainer<float> writer(written, settings), other(wanted, settings);
    fit(writer);
    writer.save_checkpoint(path_);
    fit(other);
    const std::vector<float> before = parameters_of(model_), after = parameters_of(wanted);
    fail_each([&] {
      Model<float> fresh = model_;
      fresh.set_classes({});
      fresh.set_metadata({});
      Trainer<float> trainer(fresh, settings);
      try {
        trainer.load_checkpoint(path_);
      } catch (const std::bad_alloc&) {
        g_left = kNever;
        EXPECT_EQ(parameters_of(fresh), before);
        EXPECT_EQ(trainer.state().steps, 0);
        EXPECT_FALSE(fresh.config().classes);
        EXPECT_TRUE(fresh.config().metadata.empty());
        fit(trainer);
        EXPECT_EQ(parameters_of(fresh), after);
        throw;
      }
    });
  }
}

TEST_F(FailingAllocationsOfFiles, InConfigurations) {
  const std::string model = to_json(config()), trainer = to_json(trainer_config());
  fail_each([&] { EXPECT_EQ(to_json(model_config_from_json(model)), model); });
  fail_each([&] { EXPECT_EQ(to_json(trainer_config_from_json(trainer)), trainer); });
  fail_each([&] { Model<float>{model_config_from_json(model)}; });
  fail_each([&] {
    Model<float> fresh = model_;
    Trainer<float>{fresh, trainer_config_from_json(trainer)};
  });
  fail_each([&] { first_difference(trainer_config(), {.optimizer = SGD{.learning_rate = 0.1}}); });
}

// What is refused is refused with the same message, or there is no memory to say so.
TEST_F(FailingAllocationsOfFiles, InConfigurationsThatAreRefused) {
  for (const std::string_view text : {
           R"({"input_dim": 3, "layers": [{"type": "dense", "units": [1, {"a": [2, 3]}]}]})",
           R"({"input_dim": 3, "layers": [{"type": "dense", "units": 1, "units": 2}]})",
           R"({"input_dim": 3, "layers": [{"type": "dense"}, {"type": "no such layer"}]})",
           R"({"input_dim": 3, "layers": [[[[[{"a": {"b": [1, 2, 3], "c")",
           R"({"input_dim": 1e999, "layers": [])",
       }) {
    fail_each([&] { EXPECT_THROW(model_config_from_json(text), ValueError); });
  }
}

TEST_F(FailingAllocationsOfFiles, InReadingFilesThatAreRefused) {
  model_.save(path_);
  const std::string text = file_text();
  for (const std::string_view part : {"\"dtype\"", "bias_init", "gamma", "\"data_offsets\""}) {
    std::string changed = text;
    const std::size_t at = changed.find(part);
    ASSERT_NE(at, changed.npos) << part;
    changed[at + 2] = '#';
    std::ofstream(path_, std::ios::binary) << changed;
    fail_each([&] { EXPECT_THROW(load_model(path_), CheckpointError) << part; });
  }
}

// The C interface turns it into a status.
TEST_F(FailingAllocationsOfFiles, InTheCInterface) {
  constexpr const char* kModel =
      R"({"input_dim": 3, "layers": [{"type": "dense", "units": 2}], "classes": ["a", "b"]})";
  fail_each([&] {
    stoop_model* model = stoop_model_create(kModel);
    stoop_trainer* trainer =
        model == nullptr ? nullptr : stoop_trainer_create(model, R"({"loss": "softmax_cross_entropy"})");
    const bool is_made = trainer != nullptr;
    stoop_trainer_free(trainer);
    stoop_model_free(model);
    if (is_made) return;
    EXPECT_EQ(stoop_last_status(), STOOP_OUT_OF_MEMORY) << stoop_last_error();
    throw std::bad_alloc();
  });
}

}  // namespace
}  // namespace stoop
