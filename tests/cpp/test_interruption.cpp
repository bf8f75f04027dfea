// What happens to a call meanwhile: keep_going says no, or somebody changes the labels.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <stoop/error.hpp>
#include <stoop/predictor.hpp>
#include <stoop/runtime.hpp>
#include <stoop/trainer.hpp>

#include "test_helpers.hpp"

namespace stoop {
namespace {

// Some seconds of work for one core.
struct Work {
  static constexpr Index kRows = 20'000, kInputs = 64;
  std::vector<float> x = numbers<float>(kRows * kInputs, 1);
  std::vector<std::int32_t> y = std::vector<std::int32_t>(kRows, 1);
  Model<float> model{
      {.input_dim = kInputs, .layers = {Dense{1024, Tanh{}}, BatchNorm{}, Dense{1024, Tanh{}}, Dense{3}}}};

  MatrixView<const float> inputs(Index rows = kRows) const { return matrix(x.data(), rows, kInputs); }
};

template <class Call>
void expect_interrupted(Work& work, const Trainer<float>& trainer, const Call& call) {
  const std::vector<float> before(work.model.parameter_block().begin(), work.model.parameter_block().end());
  const std::vector<float> statistics(work.model.buffer_block().begin(), work.model.buffer_block().end());
  int asked = 0;
  EXPECT_THROW(call([&] { return ++asked, false; }), Interrupted);
  EXPECT_EQ(asked, 1);
  EXPECT_TRUE(same_bits<float>(before, work.model.parameter_block()));
  EXPECT_TRUE(same_bits<float>(statistics, work.model.buffer_block()));
  EXPECT_EQ(trainer.steps(), 0);
}

TEST(Interruption, EndsACallThatHasChangedNothing) {
  for (const int threads : {1, 3}) {
    Work work;
    Trainer<float> trainer(work.model, {.num_threads = threads});
    std::vector<float> gradient(work.model.parameter_block().size());
    const std::vector<float> direction(gradient.size(), 1.0f);
    expect_interrupted(work, trainer, [&](const KeepGoing& ask) { trainer.step(work.inputs(), work.y, ask); });
    for (const bool training : {false, true}) {
      const GradientMode mode{.training = training};
      expect_interrupted(work, trainer, [&](const KeepGoing& ask) {
        trainer.loss_and_grad(work.inputs(), work.y, gradient, mode, ask);
      });
      expect_interrupted(work, trainer, [&](const KeepGoing& ask) {
        trainer.hessian_vector_product(work.inputs(), work.y, direction, gradient, mode, ask);
      });
    }
    // As if nothing had been: the same as a trainer that was never interrupted.
    Work other;
    Trainer<float> fresh(other.model, {.num_threads = threads});
    const std::vector<std::int32_t> few(500, 1);
    EXPECT_EQ(trainer.step(work.inputs(500), few), fresh.step(other.inputs(500), few));
    EXPECT_TRUE(same_bits<float>(work.model.parameter_block(), other.model.parameter_block()));
  }
}

TEST(Interruption, EndsAPredictor) {
  Work work;
  const Trainer<float> trainer(work.model);
  const Predictor<float> predictor(work.model);
  std::vector<float> out(Work::kRows * 3);
  expect_interrupted(work, trainer, [&](const KeepGoing& ask) {
    predictor.predict(work.inputs(), matrix(out.data(), Work::kRows, 3), ask);
  });
}

TEST(Interruption, AsksNobodyInAShortCall) {
  Work work;
  Trainer<float> trainer(work.model);
  const std::vector<std::int32_t> few(4, 1);  // short by the count of operations, whatever the machine does
  const auto refuse = [] { return false; };
  std::vector<float> out(4 * 3);
  EXPECT_NO_THROW(trainer.step(work.inputs(4), few, refuse));
  EXPECT_NO_THROW(trainer.evaluate(work.inputs(4), few, refuse));
  EXPECT_NO_THROW(work.model.predict(work.inputs(4), matrix(out.data(), 4, 3), refuse));
}

// A pass that was interrupted can be made again, also the second one, whose first is still there.
TEST(Interruption, EndsAPassThatHasChangedNothing) {
  for (const int threads : {1, 3}) {
    Work work, other;
    Trainer<float> trainer(work.model, {.num_threads = threads}), fresh(other.model, {.num_threads = threads});
    std::vector<float> out(Work::kRows * 3);
    const MatrixView<float> outputs = matrix(out.data(), Work::kRows, 3);
    const GradientMode mode{.training = true, .dropout = true};
    expect_interrupted(work, trainer,
                       [&](const KeepGoing& ask) { trainer.forward(work.inputs(), outputs, mode, ask); });
    EXPECT_THROW(trainer.backward(outputs), ValueError);
    trainer.forward(work.inputs(), outputs);
    EXPECT_THROW(trainer.backward(outputs, {}, [] { return false; }), Interrupted);
    EXPECT_THROW(trainer.apply(), ValueError);  // there is no gradient
    trainer.backward(outputs);
    fresh.forward(other.inputs(), outputs);
    fresh.backward(outputs);
    EXPECT_TRUE(same_bits<float>(trainer.gradient_block(), fresh.gradient_block()));
  }
}

// A signal handler may do so.
TEST(Interruption, WhoIsAskedMayPredictALargerModel) {
  Work work;
  const Model<float> larger({.input_dim = Work::kInputs, .layers = {Dense{3000, Tanh{}}, Dense{2}}});
  std::vector<float> plain(Work::kRows * 3), out(Work::kRows * 3), other(500 * 2);
  int asked = 0;
  const auto predict = [&] {
    ++asked;
    larger.predict(work.inputs(500), matrix(other.data(), 500, 2));
    return true;
  };
  set_num_threads(1);
  Index rows = 1500;
  while (asked == 0 && rows < Work::kRows) {  // a fast core does few rows before it would ask
    rows = std::min(2 * rows, Work::kRows);
    work.model.predict(work.inputs(rows), matrix(out.data(), rows, 3), predict);
  }
  set_num_threads(usable_cores());
  EXPECT_GT(asked, 0);
  work.model.predict(work.inputs(rows), matrix(plain.data(), rows, 3));
  EXPECT_TRUE(same_bits<float>(out, plain));
}

// Gradients are the same to the bit whether a poller cuts the work into pieces or not.
TEST(Interruption, LeavesTheBitsAsTheyAre) {
  Work work;
  Trainer<float> trainer(work.model);
  std::vector<float> asked(work.model.parameter_block().size()), plain(asked.size());
  const std::vector<std::int32_t> y(3000, 1);
  trainer.loss_and_grad(work.inputs(3000), y, plain);
  trainer.loss_and_grad(work.inputs(3000), y, asked, {}, [] { return true; });
  EXPECT_TRUE(same_bits<float>(asked, plain));
}

// 384 MB, which takes some hundred milliseconds.
TEST(Interruption, OfASaveOrLoadLeavesNothing) {
  const std::filesystem::path path = std::filesystem::temp_directory_path() / "stoop-interruption.safetensors";
  const Model<float> small({.input_dim = 2, .layers = {Dense{3}}}),
      large({.input_dim = 12'000, .layers = {Dense{8'000}}});
  small.save(path);
  const auto refuse = [] { return false; };
  EXPECT_THROW(large.save(path, refuse), Interrupted);
  EXPECT_TRUE(same_bits<float>(Model<float>::load(path, refuse).parameter_block(), small.parameter_block()));
  large.save(path, [] { return true; });
  EXPECT_THROW(Model<float>::load(path, refuse), Interrupted);
  std::filesystem::remove(path);
}

TEST(ChangingLabels, AreRefusedWhenTheyAreRead) {
  for (const std::int32_t label : {1'000'000'000, -1'000'000'000, 3}) {
    Work work;
    Trainer<float> trainer(work.model);
    FitOptions<float> options{.epochs = 1 << 30, .batch_size = 100};
    options.on_progress = [&](const Progress&) { return std::atomic_ref(work.y[777]).store(label), Next::go_on; };
    try {
      trainer.fit(work.inputs(2000), std::span<const std::int32_t>(work.y).first(2000), options);
      FAIL() << "not noticed";
    } catch (const ValueError& error) {
      EXPECT_NE(std::string(error.what()).find("class " + std::to_string(label) + " at row 777"), std::string::npos)
          << error.what();
    }
    EXPECT_TRUE(std::isfinite(trainer.evaluate(work.inputs(500), std::vector<std::int32_t>(500, 1)).loss));
  }
}

TEST(ChangingLabels, OfAnEvaluationAndOfAGradientAreRefused) {
  Work work;
  Trainer<float> trainer(work.model);
  std::vector<float> gradient(work.model.parameter_block().size());
  const auto change = [&] { return std::atomic_ref(work.y.back()).store(1'000'000'000), true; };
  EXPECT_THROW(trainer.loss_and_grad(work.inputs(), work.y, gradient, {.training = false}, change), ValueError);
  work.y.back() = 1;
  EXPECT_THROW(trainer.step(work.inputs(), work.y, change), ValueError);
  EXPECT_EQ(trainer.steps(), 0);
}

}  // namespace
}  // namespace stoop
