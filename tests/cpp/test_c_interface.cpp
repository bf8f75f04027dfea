// The C interface: statuses and messages of every wrong call, handles that outlive each other, threads.
#include <gtest/gtest.h>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <stoop/stoop.h>
#include <stoop/trainer.hpp>

#include "c/guard.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

constexpr std::int64_t kRows = 48, kInputs = 6, kOutputs = 3;
constexpr const char* kLayers =
    R"({"input_dim": 6, "seed": 3, "layers": [{"type": "dense", "units": 16, "activation": "relu"},
                                   {"type": "dense", "units": 3}]})";

using ModelHandle = std::unique_ptr<stoop_model, void (*)(stoop_model*)>;
using PredictorHandle = std::unique_ptr<stoop_predictor, void (*)(stoop_predictor*)>;
using TrainerHandle = std::unique_ptr<stoop_trainer, void (*)(stoop_trainer*)>;

ModelHandle make_c_model(const char* config = kLayers) { return {stoop_model_create(config), stoop_model_free}; }
PredictorHandle make_c_predictor(const stoop_model* model) {
  return {stoop_predictor_create(model), stoop_predictor_free};
}
TrainerHandle make_c_trainer(stoop_model* model, const char* config = nullptr) {
  return {stoop_trainer_create(model, config), stoop_trainer_free};
}

std::vector<std::int32_t> c_classes() {
  std::vector<std::int32_t> y(kRows);
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = static_cast<std::int32_t>(i % kOutputs);
  return y;
}

// The call failed with this status and a message of the common form that has `part` in it.
void expect_failure(int status, int expected, const std::string& part) {
  EXPECT_EQ(status, expected) << stoop_last_error();
  EXPECT_EQ(stoop_last_status(), expected);
  const std::string message = stoop_last_error();
  EXPECT_NE(message.find(part), std::string::npos) << message;
  EXPECT_TRUE(message.front() == '[' || expected == STOOP_IO) << message;
}
void expect_null(const void* handle, int expected, const std::string& part) {
  EXPECT_EQ(handle, nullptr);
  expect_failure(stoop_last_status(), expected, part);
}

std::string c_path(const std::string& name) {
  static const std::string start = "stoop_c_" + std::to_string(std::random_device()()) + "_";
  return (std::filesystem::temp_directory_path() / (start + name)).generic_string();
}

class CInterface : public ::testing::Test {
 protected:
  ModelHandle model = make_c_model();
  TrainerHandle trainer = make_c_trainer(model.get());
  std::vector<float> x = numbers<float>(kRows * kInputs, 1);
  std::vector<float> values = numbers<float>(kRows * kOutputs, 2);
  std::vector<std::int32_t> y = c_classes();
  std::vector<float> out = std::vector<float>(kRows * kOutputs);

  int fit(const char* options) { return stoop_trainer_fit(trainer.get(), x.data(), kRows, y.data(), nullptr, options); }
};

TEST_F(CInterface, TrainsToTheBitsOfCpp) {
  ASSERT_EQ(fit(R"({"epochs": 3, "batch_size": 16, "validation_split": 0.25})"), STOOP_OK) << stoop_last_error();
  double loss = 0.0, metrics_loss = 0.0, accuracy = 0.0;
  ASSERT_EQ(stoop_trainer_step(trainer.get(), x.data(), kRows, y.data(), nullptr, &loss), STOOP_OK);
  ASSERT_EQ(stoop_trainer_evaluate(trainer.get(), x.data(), kRows, y.data(), nullptr, &metrics_loss, &accuracy),
            STOOP_OK);
  ASSERT_EQ(stoop_model_predict(model.get(), x.data(), kRows, out.data()), STOOP_OK);

  Model<float> network({.input_dim = kInputs, .layers = {Dense{16, ReLU{}}, Dense{kOutputs}}, .seed = 3});
  Trainer<float> same(network);
  const auto rows = matrix<const float>(x.data(), kRows, kInputs);
  const auto first = matrix<const float>(x.data(), 36, kInputs);
  same.fit(first, std::span<const std::int32_t>(y).first(36), {.epochs = 3, .batch_size = 16});
  EXPECT_EQ(loss, same.step(rows, y));
  EXPECT_EQ(metrics_loss, same.evaluate(rows, y).loss);
  EXPECT_EQ(accuracy, same.evaluate(rows, y).accuracy);
  std::vector<float> expected(out.size());
  network.predict(rows, matrix(expected.data(), kRows, kOutputs));
  EXPECT_TRUE(same_bits<float>(out, expected));
}

TEST_F(CInterface, HandlesMayBeFreedInAnyOrder) {
  stoop_model_free(nullptr);
  stoop_trainer_free(nullptr);
  model.reset();
  EXPECT_EQ(fit(R"({"epochs": 1})"), STOOP_OK);
  trainer.reset();
}

TEST_F(CInterface, PredictorsGiveTheBitsOfTheirModel) {
  const ModelHandle wide = make_c_model(
      R"({"input_dim": 6, "layers": [{"type": "dense", "units": 512, "activation": "relu"},
                                     {"type": "dense", "units": 512, "activation": "relu"},
                                     {"type": "dense", "units": 3}]})");
  for (const stoop_model* one : {model.get(), wide.get()}) {
    const PredictorHandle predictor = make_c_predictor(one);
    ASSERT_NE(predictor, nullptr) << stoop_last_error();
    for (const std::int64_t rows : {1, 2, 7, 8, 9, 48}) {
      ASSERT_EQ(stoop_model_predict(one, x.data(), rows, out.data()), STOOP_OK);
      for (int call = 0; call < 3; ++call) {
        std::vector<float> same(out.size(), 7.0f);
        ASSERT_EQ(stoop_predictor_predict(predictor.get(), x.data(), rows, same.data()), STOOP_OK);
        const auto count = static_cast<std::size_t>(rows * kOutputs);
        EXPECT_TRUE(same_bits<float>(std::span(same).first(count), std::span(out).first(count))) << rows;
        for (std::size_t i = count; i < same.size(); ++i) EXPECT_EQ(same[i], 7.0f);
      }
    }
  }
}

TEST_F(CInterface, PredictorsOutliveAndDoNotFollowTheirModel) {
  stoop_predictor_free(nullptr);
  const PredictorHandle predictor = make_c_predictor(model.get());
  ASSERT_EQ(stoop_model_predict(model.get(), x.data(), kRows, out.data()), STOOP_OK);
  ASSERT_EQ(fit(R"({"epochs": 1})"), STOOP_OK);
  std::vector<float> after(out.size());
  ASSERT_EQ(stoop_model_predict(model.get(), x.data(), kRows, after.data()), STOOP_OK);
  EXPECT_FALSE(same_bits<float>(out, after));
  trainer.reset();
  model.reset();
  ASSERT_EQ(stoop_predictor_predict(predictor.get(), x.data(), kRows, after.data()), STOOP_OK) << stoop_last_error();
  EXPECT_TRUE(same_bits<float>(out, after));
}

TEST_F(CInterface, PredictorsCheckWhatIsGiven) {
  expect_null(stoop_predictor_create(nullptr), STOOP_INVALID_ARGUMENT, "[stoop_predictor_create] model is NULL");
  const PredictorHandle predictor = make_c_predictor(model.get());
  const auto fails = [&](const stoop_predictor* one, const float* rows_of, std::int64_t rows, float* into,
                         const char* part) {
    expect_failure(stoop_predictor_predict(one, rows_of, rows, into), STOOP_INVALID_ARGUMENT, part);
  };
  fails(nullptr, x.data(), 1, out.data(), "[stoop_predictor_predict] predictor is NULL");
  fails(predictor.get(), nullptr, 1, out.data(), "[stoop_predictor_predict] x is NULL");
  fails(predictor.get(), x.data(), 1, nullptr, "[stoop_predictor_predict] out is NULL");
  fails(predictor.get(), x.data(), -1, out.data(), "rows is -1");
  fails(predictor.get(), x.data(), std::numeric_limits<std::int64_t>::max(), out.data(), "fits into memory");
  EXPECT_EQ(stoop_predictor_predict(predictor.get(), nullptr, 0, nullptr), STOOP_OK);
}

TEST_F(CInterface, ResultsThatNobodyWantsMayBeNull) {
  EXPECT_EQ(stoop_trainer_step(trainer.get(), x.data(), kRows, y.data(), nullptr, nullptr), STOOP_OK);
  EXPECT_EQ(stoop_trainer_evaluate(trainer.get(), x.data(), kRows, y.data(), nullptr, nullptr, nullptr), STOOP_OK);
  EXPECT_EQ(stoop_model_predict(model.get(), nullptr, 0, nullptr), STOOP_OK);
}

TEST_F(CInterface, GaussianTargetsHaveAColumnForTwoOutputs) {
  const ModelHandle pairs = make_c_model(R"({"input_dim": 6, "layers": [{"type": "dense", "units": 4}]})");
  const TrainerHandle gaussian = make_c_trainer(pairs.get(), R"({"loss": "gaussian_nll"})");
  double first = 0.0, last = 0.0;
  ASSERT_EQ(stoop_trainer_evaluate(gaussian.get(), x.data(), kRows, nullptr, values.data(), &first, nullptr), STOOP_OK)
      << stoop_last_error();
  ASSERT_EQ(stoop_trainer_fit(gaussian.get(), x.data(), kRows, nullptr, values.data(), R"({"epochs": 20})"), STOOP_OK)
      << stoop_last_error();
  ASSERT_EQ(stoop_trainer_evaluate(gaussian.get(), x.data(), kRows, nullptr, values.data(), &last, nullptr), STOOP_OK);
  EXPECT_LT(last, first);

  // The same, from C++.
  Model<float> same({.input_dim = 6, .layers = {Dense{4}}});
  Trainer<float> trainer_of_cpp(same, {.loss = GaussianNLL{}});
  const MatrixView<const float> rows = matrix<const float>(x.data(), kRows, 6);
  const MatrixView<const float> targets = matrix<const float>(values.data(), kRows, 2);
  EXPECT_EQ(trainer_of_cpp.evaluate(rows, targets).loss, first);
}

TEST_F(CInterface, NullHandlesAreRefused) {
  expect_null(stoop_model_create(nullptr), STOOP_INVALID_ARGUMENT, "[stoop_model_create] config_json is NULL");
  expect_null(stoop_model_load(nullptr), STOOP_INVALID_ARGUMENT, "[stoop_model_load] path is NULL");
  expect_null(stoop_trainer_create(nullptr, nullptr), STOOP_INVALID_ARGUMENT, "model is NULL");
  expect_failure(stoop_model_save(nullptr, "x"), STOOP_INVALID_ARGUMENT, "model is NULL");
  expect_failure(stoop_model_save(model.get(), nullptr), STOOP_INVALID_ARGUMENT, "path is NULL");
  expect_failure(stoop_model_predict(nullptr, x.data(), kRows, out.data()), STOOP_INVALID_ARGUMENT, "model is NULL");
  EXPECT_EQ(stoop_model_input_dim(nullptr), -1);
  expect_failure(stoop_last_status(), STOOP_INVALID_ARGUMENT, "[stoop_model_input_dim] model is NULL");
  EXPECT_EQ(stoop_model_output_dim(nullptr), -1);
  expect_failure(stoop_last_status(), STOOP_INVALID_ARGUMENT, "[stoop_model_output_dim] model is NULL");
  const auto* none = static_cast<stoop_trainer*>(nullptr);
  auto* nobody = static_cast<stoop_trainer*>(nullptr);
  expect_failure(stoop_trainer_fit(nobody, x.data(), kRows, y.data(), nullptr, nullptr), 1, "trainer is NULL");
  expect_failure(stoop_trainer_step(nobody, x.data(), kRows, y.data(), nullptr, nullptr), 1, "trainer is NULL");
  expect_failure(stoop_trainer_evaluate(nobody, x.data(), kRows, y.data(), nullptr, nullptr, nullptr), 1, "trainer");
  expect_failure(stoop_trainer_save_checkpoint(none, "x"), STOOP_INVALID_ARGUMENT, "trainer is NULL");
  expect_failure(stoop_trainer_load_checkpoint(nobody, "x"), STOOP_INVALID_ARGUMENT, "trainer is NULL");
  expect_failure(stoop_trainer_save_checkpoint(trainer.get(), nullptr), STOOP_INVALID_ARGUMENT, "path is NULL");
  expect_failure(stoop_trainer_load_checkpoint(trainer.get(), nullptr), STOOP_INVALID_ARGUMENT, "path is NULL");
}

TEST_F(CInterface, ArraysAreChecked) {
  expect_failure(stoop_model_predict(model.get(), nullptr, 1, out.data()), STOOP_INVALID_ARGUMENT, "x is NULL");
  expect_failure(stoop_model_predict(model.get(), x.data(), 1, nullptr), STOOP_INVALID_ARGUMENT, "out is NULL");
  expect_failure(stoop_model_predict(model.get(), x.data(), -1, out.data()), STOOP_INVALID_ARGUMENT, "rows is -1");
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  expect_failure(stoop_model_predict(model.get(), x.data(), most, out.data()), STOOP_INVALID_ARGUMENT,
                 "fits into memory");
  expect_failure(stoop_trainer_step(trainer.get(), nullptr, kRows, y.data(), nullptr, nullptr), 1, "x is NULL");
  expect_failure(stoop_trainer_step(trainer.get(), x.data(), -5, y.data(), nullptr, nullptr), 1, "rows is -5");
  expect_failure(stoop_trainer_step(trainer.get(), x.data(), kRows, nullptr, nullptr, nullptr), 1,
                 "classes and values are NULL");
  expect_failure(stoop_trainer_step(trainer.get(), x.data(), kRows, y.data(), values.data(), nullptr), 1,
                 "classes and values are given");
  expect_failure(stoop_trainer_step(trainer.get(), x.data(), kRows, nullptr, values.data(), nullptr), 1,
                 "probabilities");
  expect_failure(stoop_trainer_step(trainer.get(), x.data(), 0, y.data(), nullptr, nullptr), 1, "[Trainer.step]");
  y[7] = 3;
  expect_failure(fit(nullptr), STOOP_INVALID_ARGUMENT, "3");
  y = c_classes();
  x[5] = kNaN<float>;
  expect_failure(fit(nullptr), STOOP_INVALID_ARGUMENT, "NaN at row 0, column 5");
}

TEST_F(CInterface, ConfigurationsAreChecked) {
  const auto model_fails = [](const char* json, const char* part) {
    expect_null(make_c_model(json).get(), STOOP_INVALID_ARGUMENT, part);
  };
  model_fails("{", "model");
  model_fails("[]", "expected an object");
  model_fails(R"({"input_dim": 6})", "layers");
  model_fails(R"({"input_dim": 6, "layer": []})", "did you mean \"layers\"?");
  model_fails(R"({"input_dim": 6, "layers": [{"type": "dens", "units": 3}]})", "did you mean \"dense\"?");
  model_fails(R"({"input_dim": 6, "layers": [{"type": "dense", "unit": 3}]})", "did you mean \"units\"?");
  model_fails(R"({"input_dim": 6, "layers": [{"type": "dense", "units": 3}], "dtype": "float64"})", "float32");
  const auto trainer_fails = [&](const char* json, const char* part) {
    expect_null(make_c_trainer(model.get(), json).get(), STOOP_INVALID_ARGUMENT, part);
  };
  trainer_fails(R"({"optimiser": "adam"})", "did you mean \"optimizer\"?");
  trainer_fails(R"({"loss": "mean_squared"})", "unknown loss");
  trainer_fails(R"({"optimizer": {"type": "adam", "beta3": 0.9}})", "beta3");
  trainer_fails(R"({"optimizer": {"type": "adam", "beta1": 1.5}})", "beta1");
  trainer_fails(R"({"l2": -1})", "l2");
  trainer_fails(R"({"rollback": 1})", "true or false");
  trainer_fails(R"({"num_threads": 0})", "expected 1 to 1024");
  EXPECT_NE(make_c_trainer(model.get(), R"({"num_threads": null, "rollback": false})").get(), nullptr);
}

TEST_F(CInterface, OptionsOfFitAreChecked) {
  const auto fails = [&](const char* json, const char* part) {
    expect_failure(fit(json), STOOP_INVALID_ARGUMENT, part);
  };
  fails(R"({"epoch": 3})", "did you mean \"epochs\"?");
  fails(R"({"epochs": 0})", "epochs");
  fails(R"({"epochs": "3"})", "whole number");
  fails(R"({"batch_size": 0})", "batch_size");
  fails(R"({"batch_size": 0, "overfit_batches": 1})", "batch_size");
  fails(R"({"shuffle": 1})", "true or false");
  fails(R"({"last_batch": "kept"})", "one of keep, drop, merge");
  fails(R"({"validation_split": 1})", "validation_split < 1");
  fails(R"({"validation_split": 0.001})", "both parts");
  fails(R"({"validation_freq": 0})", "validation_freq");
  fails(R"({"overfit_batches": 0})", "overfit_batches");
  fails(R"({"max_time": "1 hour"})", "1h30m");
  fails(R"({"max_time": -1})", "at least 0");
  EXPECT_EQ(
      fit(R"({"epochs": 2, "overfit_batches": 9223372036854775807, "max_time": "1h 30.5m", "last_batch": "merge"})"),
      STOOP_OK)
      << stoop_last_error();
  EXPECT_EQ(fit(R"({"epochs": 1000000000, "max_time": "0.01s"})"), STOOP_OK) << stoop_last_error();
}

TEST_F(CInterface, OverfitBatchesAreTheFirstOnes) {
  for (float& value : std::span(x).subspan(16 * kInputs)) value = kNaN<float>;
  EXPECT_EQ(fit(R"({"epochs": 2, "batch_size": 8, "overfit_batches": 2})"), STOOP_OK) << stoop_last_error();
  EXPECT_EQ(fit(R"({"epochs": 2, "batch_size": 8, "overfit_batches": 3})"), STOOP_INVALID_ARGUMENT);
}

TEST_F(CInterface, FilesGoThereAndBack) {
  const std::string path = c_path("model"), checkpoint = c_path("checkpoint");
  ASSERT_EQ(fit(R"({"epochs": 2})"), STOOP_OK);
  ASSERT_EQ(stoop_model_save(model.get(), path.c_str()), STOOP_OK) << stoop_last_error();
  ASSERT_EQ(stoop_trainer_save_checkpoint(trainer.get(), checkpoint.c_str()), STOOP_OK) << stoop_last_error();
  const ModelHandle again(stoop_model_load(path.c_str()), stoop_model_free);
  ASSERT_NE(again, nullptr) << stoop_last_error();
  EXPECT_EQ(stoop_model_input_dim(again.get()), kInputs);
  EXPECT_EQ(stoop_model_output_dim(again.get()), kOutputs);
  std::vector<float> same(out.size());
  ASSERT_EQ(stoop_model_predict(model.get(), x.data(), kRows, out.data()), STOOP_OK);
  ASSERT_EQ(stoop_model_predict(again.get(), x.data(), kRows, same.data()), STOOP_OK);
  EXPECT_TRUE(same_bits<float>(out, same));

  const ModelHandle other = make_c_model();
  const TrainerHandle resumed = make_c_trainer(other.get());
  ASSERT_EQ(stoop_trainer_load_checkpoint(resumed.get(), checkpoint.c_str()), STOOP_OK) << stoop_last_error();
  ASSERT_EQ(stoop_model_predict(other.get(), x.data(), kRows, same.data()), STOOP_OK);
  EXPECT_TRUE(same_bits<float>(out, same));

  const TrainerHandle different = make_c_trainer(other.get(), R"({"loss": "mse"})");
  expect_failure(stoop_trainer_load_checkpoint(different.get(), checkpoint.c_str()), STOOP_CHECKPOINT, "loss");
  std::ofstream(path) << "no model";
  expect_null(stoop_model_load(path.c_str()), STOOP_CHECKPOINT, path.substr(path.rfind('/')));
  const std::string absent = c_path("folder") + "/absent";
  expect_null(stoop_model_load(absent.c_str()), STOOP_IO, "absent");
  expect_failure(stoop_model_save(model.get(), absent.c_str()), STOOP_IO, "absent");
  expect_failure(stoop_trainer_save_checkpoint(trainer.get(), absent.c_str()), STOOP_IO, "absent");
  expect_failure(stoop_trainer_load_checkpoint(trainer.get(), absent.c_str()), STOOP_IO, "absent");
  expect_failure(fit(("{\"resume\": \"" + path + "\"}").c_str()), STOOP_CHECKPOINT, "stoop_c_");
  std::filesystem::remove(path);
  std::filesystem::remove(checkpoint);
}

TEST_F(CInterface, ANonFiniteLossHasAStatusOfItsOwn) {
  const TrainerHandle wild =
      make_c_trainer(model.get(), R"({"loss": "mse", "optimizer": {"type": "sgd", "learning_rate": 1e20}})");
  ASSERT_NE(wild, nullptr) << stoop_last_error();
  expect_failure(stoop_trainer_fit(wild.get(), x.data(), kRows, nullptr, values.data(), nullptr), STOOP_NON_FINITE_LOSS,
                 "[Trainer.fit]");
  for (const float value : model->model->parameter_block()) EXPECT_TRUE(std::isfinite(value));
}

TEST_F(CInterface, AllThreadsPredictAtOnce) {
  ASSERT_EQ(stoop_model_predict(model.get(), x.data(), kRows, out.data()), STOOP_OK);
  const PredictorHandle predictor = make_c_predictor(model.get());
  std::vector<int> right(4, 0);
  std::vector<std::thread> threads;
  for (int& count : right) {
    threads.emplace_back([&] {
      std::vector<float> mine(out.size());
      for (int round = 0; round < 50; ++round) {
        bool is_fine = stoop_model_predict(model.get(), x.data(), kRows, mine.data()) == STOOP_OK;
        is_fine = is_fine && same_bits<float>(mine, out);
        is_fine = is_fine && stoop_predictor_predict(predictor.get(), x.data(), kRows, mine.data()) == STOOP_OK;
        count += is_fine && same_bits<float>(mine, out) ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, std::vector<int>(4, 50));
}

TEST_F(CInterface, EachThreadHasItsOwnMessage) {
  stoop_model_predict(nullptr, nullptr, 0, nullptr);
  const std::string mine = stoop_last_error();
  std::thread([] {
    EXPECT_STREQ(stoop_last_error(), "");
    EXPECT_EQ(stoop_last_status(), STOOP_OK);
    stoop_model_input_dim(nullptr);
    EXPECT_EQ(std::string(stoop_last_error()).rfind("[stoop_model_input_dim]", 0), 0u);
  }).join();
  EXPECT_EQ(stoop_last_error(), mine);
  EXPECT_EQ(stoop_model_predict(model.get(), x.data(), kRows, out.data()), STOOP_OK);
  EXPECT_EQ(stoop_last_error(), mine) << "a call that succeeds leaves the message as it is";
}

TEST_F(CInterface, ASecondThreadIsRefused) {
  const c::InUse by_another("test", trainer.get());
  expect_failure(fit(nullptr), STOOP_BUSY, "[stoop_trainer_fit] another thread");
  expect_failure(stoop_trainer_step(trainer.get(), x.data(), kRows, y.data(), nullptr, nullptr), STOOP_BUSY, "another");
  expect_failure(stoop_trainer_save_checkpoint(trainer.get(), "x"), STOOP_BUSY, "another thread");
}

TEST(CGuard, EveryExceptionBecomesAStatus) {
  const auto status = [](const std::function<void()>& work) { return c::guarded(work); };
  EXPECT_EQ(status([] {}), STOOP_OK);
  expect_failure(status([] { throw std::bad_alloc(); }), STOOP_OUT_OF_MEMORY, "not enough memory");
  expect_failure(status([] { throw_out_of_memory(10, 4); }), STOOP_OUT_OF_MEMORY, "10 elements of 4 bytes");
  expect_failure(status([] { throw_type_error("w", "a", "b", "c"); }), STOOP_INVALID_ARGUMENT, "[w] a; b; c");
  EXPECT_EQ(status([] { throw std::runtime_error("unforeseen"); }), STOOP_INTERNAL);
  EXPECT_STREQ(stoop_last_error(), "unforeseen");
  expect_failure(status([] { throw 7; }), STOOP_INTERNAL, "unknown exception");
}

TEST(CGuard, LongMessagesAreCutBetweenCharacters) {
  const auto message_of = [](const std::string& text) {
    c::guarded([&] { throw ValueError(text); });
    return std::string(stoop_last_error());
  };
  EXPECT_EQ(message_of(std::string(4095, 'a')).size(), 4095u);
  EXPECT_EQ(message_of(std::string(4096, 'a')), std::string(4095, 'a'));
  EXPECT_EQ(message_of(std::string(4094, 'a') + "\u00e9"), std::string(4094, 'a'));
  EXPECT_EQ(message_of(std::string(4093, 'a') + "\u20ac" + "b"), std::string(4093, 'a'));
  EXPECT_EQ(message_of(std::string(4093, 'a') + "\u00e9" + "b"), std::string(4093, 'a') + "\u00e9");
}

}  // namespace
}  // namespace stoop
