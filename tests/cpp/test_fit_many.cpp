// fit_many: each trainer ends with the bits of its fit alone, for any number of threads and any order, and what happens to
// one is nothing to the others.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <set>
#include <thread>

#include <stoop/fit_many.hpp>

#include "alternatives.hpp"
#include "test_helpers.hpp"
#include "train/trainer_core.hpp"

namespace stoop {
namespace {

constexpr Index kRows = 90;
using Numbers32 = std::vector<std::int32_t>;

// What one trainer is, and on which rows it trains.
struct Case {
  std::vector<Layer> layers;
  TrainerConfig config;
  Index batch_size = 16;
  std::optional<Numbers32> rows{}, validation_rows{};
  bool weighted = false;
  bool shuffle = true;
};

std::vector<Layer> plain(Index outputs = 3) { return {Dense{9, Tanh{}}, Dense{outputs}}; }
std::vector<Layer> mixed() {
  return {Dense{.units = 11, .l2 = 0.02}, BatchNorm{}, ReLU{}, Dropout{.rate = 0.2}, Dense{3}};
}

Numbers32 every(Index step, Index first = 0) {
  Numbers32 rows;
  for (Index row = first; row < kRows; row += step) rows.push_back(static_cast<std::int32_t>(row));
  return rows;
}

// Every optimizer, and settings that change what an update or an epoch does.
std::vector<Case> cases() {
  std::vector<Case> all;
  const auto add = [&](const std::vector<Layer>& layers, const TrainerConfig& config, Index batch) -> Case& {
    Case& made = all.emplace_back();
    made.layers = layers;
    made.config = config;
    made.batch_size = batch;
    return made;
  };
  for (const Optimizer& optimizer : each_alternative<Optimizer>()) {
    const Index batch = is_full_batch(optimizer) ? kRows : 16;
    add(plain(), {.optimizer = optimizer}, batch);
    add(plain(), {.loss = MeanSquaredError{}, .optimizer = optimizer}, batch).rows = every(2);
  }
  const Numbers32 drawn = {5, 5, 80, 3, 3, 3, 41, 0, 89, 60, 61, 62, 7, 8, 9, 10, 11, 12};
  Case& folded = add(mixed(), {.optimizer = Adam{}, .seed = 3}, 7);
  folded.rows = drawn;
  folded.validation_rows = every(3, 1);
  add(mixed(), {.optimizer = SGD{.learning_rate = 0.05, .momentum = 0.9}, .ema = 0.9}, 16).weighted = true;
  Case& ordered = add(mixed(), {.optimizer = Adam{}, .accumulate = 3}, 8);
  ordered.rows = every(1, 5);
  ordered.weighted = true;
  ordered.shuffle = false;
  Case& limited = add(plain(), {.clip_norm = 0.1, .clip_value = 0.05, .max_norm = 1.0}, 16);
  limited.rows = every(4);
  limited.validation_rows = every(5);
  limited.weighted = true;
  Case& full = add({Dense{7, Tanh{}}, BatchNorm{}, Dense{3}}, {.optimizer = LBFGS{}, .ema = 0.5}, kRows);
  full.rows = drawn;
  full.validation_rows = every(2);
  full.weighted = true;
  add(plain(), {.optimizer = NewtonCG{}}, kRows).rows = drawn;
  return all;
}

std::vector<Case> equal(std::size_t count, const TrainerConfig& config = {}) {
  Case one;
  one.layers = plain();
  one.config = config;
  return std::vector<Case>(count, one);
}

template <class T>
class FitMany : public ::testing::Test {
 protected:
  // A trainer with its model, and its fit through fit_many or alone.
  struct Session {
    Session(const Case& of, std::uint64_t seed) : what(of), model({.input_dim = 4, .layers = of.layers, .seed = seed}) {
      TrainerConfig config = of.config;
      config.num_threads = 1;
      trainer = std::make_unique<Trainer<T>>(model, config);
    }
    Case what;
    Model<T> model;
    std::unique_ptr<Trainer<T>> trainer;
  };

  FitMany() {
    for (T& weight : weights_) weight = weight * weight;
    for (Index row = 0; row < kRows; row += 9) weights_[static_cast<std::size_t>(row)] = T(0);
  }

  FitJob<T> job_of(Session& session) const {
    FitJob<T> job{session.trainer.get(), samples_.x(), samples_.y(session.trainer->config().loss)};
    if (session.what.weighted) job.y.weights = weights_;
    job.options = options_of(session.what);
    if (session.what.rows) job.rows = *session.what.rows;
    if (session.what.validation_rows) job.validation_rows = *session.what.validation_rows;
    return job;
  }

  static FitOptions<T> options_of(const Case& what) {
    return {.epochs = 3, .batch_size = what.batch_size, .shuffle = what.shuffle};
  }

  // Copies of the rows, with everything that belongs to them.
  struct Copy {
    Samples<T> samples{1, 4, 3};
    std::vector<T> weights;
    Targets<T> y(const Loss& loss, bool weighted) const {
      Targets<T> y = samples.y(loss);
      if (weighted) y.weights = weights;
      return y;
    }
  };
  Copy copy_of(const Numbers32& rows) const {
    Copy copy;
    Samples<T>& to = copy.samples;
    to.features.clear(), to.values.clear(), to.classes.clear();
    to.rows = static_cast<Index>(rows.size());
    for (const std::int32_t row : rows) {
      to.features.insert(to.features.end(), &samples_.features[row * 4], &samples_.features[row * 4] + 4);
      to.values.insert(to.values.end(), &samples_.values[row * 3], &samples_.values[row * 3] + 3);
      to.classes.push_back(samples_.classes[static_cast<std::size_t>(row)]);
      copy.weights.push_back(weights_[static_cast<std::size_t>(row)]);
    }
    return copy;
  }

  History fit_alone(Session& session) const {
    const Case& what = session.what;
    const Loss& loss = session.trainer->config().loss;
    const Copy data = copy_of(what.rows ? *what.rows : every(1));
    const Copy validation = copy_of(what.validation_rows ? *what.validation_rows : every(1));
    FitOptions<T> options = options_of(what);
    if (what.validation_rows) options.validation_x = validation.samples.x();
    if (what.validation_rows) options.validation_y = validation.y(loss, what.weighted);
    return session.trainer->fit(data.samples.x(), data.y(loss, what.weighted), options);
  }

  static void expect_same(const Session& a, const Session& b) {
    const TrainingState<T> x = a.trainer->state(), y = b.trainer->state();
    EXPECT_TRUE(same_bits<T>(x.parameters, y.parameters));
    EXPECT_TRUE(same_bits<T>(x.buffers, y.buffers));
    EXPECT_TRUE(same_bits<T>(x.average, y.average));
    ASSERT_EQ(x.optimizer.size(), y.optimizer.size());
    for (std::size_t i = 0; i < x.optimizer.size(); ++i) EXPECT_TRUE(same_bits<T>(x.optimizer[i], y.optimizer[i]));
    EXPECT_EQ(x.epoch, y.epoch);
    EXPECT_EQ(x.steps, y.steps);
    EXPECT_EQ(x.fit.data, y.fit.data);
  }

  static void expect_same(const History& a, const History& b) {
    EXPECT_EQ(a.epochs, b.epochs);
    for (const auto column : {&History::loss, &History::accuracy, &History::val_loss, &History::val_accuracy,
                              &History::learning_rate, &History::grad_norm}) {
      EXPECT_TRUE(same_bits<double>(a.*column, b.*column));
    }
    EXPECT_EQ(a.stop_reason, b.stop_reason);
  }

  std::vector<std::unique_ptr<Session>> sessions(const std::vector<Case>& of) const {
    std::vector<std::unique_ptr<Session>> all;
    for (const Case& what : of) all.push_back(std::make_unique<Session>(what, all.size()));
    return all;
  }

  std::vector<FitResult> fit(std::vector<std::unique_ptr<Session>>& all, const FitManyOptions& options = {}) const {
    std::vector<AnyFitJob> jobs;
    for (const auto& session : all) jobs.push_back(job_of(*session));
    return fit_many(jobs, options);
  }

  const Samples<T> samples_{kRows, 4, 3};
  std::vector<T> weights_ = numbers<T>(kRows, 5, 2.0);
};
using FitManyTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(FitMany, FitManyTypes);

TYPED_TEST(FitMany, EndsWithTheBitsOfEachFitAlone) {
  auto alone = this->sessions(cases());
  std::vector<History> expected;
  for (const auto& session : alone) expected.push_back(this->fit_alone(*session));
  for (const int threads : {1, 2, 3}) {
    auto all = this->sessions(cases());
    if (threads == 3) std::ranges::reverse(all);
    const std::vector<FitResult> results = this->fit(all, {.num_threads = threads});
    ASSERT_EQ(results.size(), all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      const std::size_t same = threads == 3 ? all.size() - 1 - i : i;
      SCOPED_TRACE("case " + std::to_string(same) + ", " + std::to_string(threads) + " threads");
      EXPECT_EQ(results[i].error, nullptr);
      EXPECT_TRUE(results[i].has_begun);
      this->expect_same(*all[i], *alone[same]);
      this->expect_same(results[i].history, expected[same]);
      this->expect_same(all[i]->trainer->history(), expected[same]);
    }
  }
}

// The trainer takes the threads that it is given while it runs: nothing else changes.
TYPED_TEST(FitMany, OneThatIsLeftGetsMoreThreads) {
  std::vector<Case> of = equal(2);
  for (Case& each : of) each.layers = {Dense{200, Tanh{}}, BatchNorm{}, Dense{200, Tanh{}}, Dense{3}};
  of[0].batch_size = kRows;  // fewer updates
  auto alone = this->sessions(of);
  for (auto& session : alone) this->fit_alone(*session);
  auto all = this->sessions(of);
  for (auto& session : all) {
    TrainerConfig config = session->trainer->config();
    config.num_threads = 0;
    session->trainer = std::make_unique<Trainer<TypeParam>>(session->model, config);
  }
  std::vector<AnyFitJob> jobs;
  for (auto& session : all) jobs.push_back(this->job_of(*session));
  std::set<int> seen;
  std::get<FitJob<TypeParam>>(jobs[1]).options.on_epoch = [&](const EpochResult&) {
    seen.insert(TrainerAccess::core_of(*all[1]->trainer).most_threads());
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return true;
  };
  fit_many(jobs, {.num_threads = 4});
  EXPECT_TRUE(seen.contains(4));
  for (std::size_t i = 0; i < all.size(); ++i) this->expect_same(*all[i], *alone[i]);
}

TYPED_TEST(FitMany, OneThatFailsLeavesTheOthersRight) {
  std::vector<Case> of = equal(5, {.loss = MeanSquaredError{}});
  auto alone = this->sessions(of);
  for (auto& session : alone) this->fit_alone(*session);
  of[2].config.optimizer = SGD{.learning_rate = 1e20};
  auto all = this->sessions(of);
  std::vector<AnyFitJob> jobs;
  for (auto& session : all) jobs.push_back(this->job_of(*session));
  std::get<FitJob<TypeParam>>(jobs[3]).options.on_epoch = [](const EpochResult&) -> bool { throw 7; };
  const std::vector<FitResult> results = fit_many(jobs, {.num_threads = 2});
  EXPECT_THROW(std::rethrow_exception(results[2].error), NonFiniteLossError);
  EXPECT_THROW(std::rethrow_exception(results[3].error), int);
  EXPECT_EQ(results[3].history.epochs.size(), 1u);
  for (const std::size_t i : {0, 1, 4}) {
    EXPECT_EQ(results[i].error, nullptr);
    this->expect_same(*all[i], *alone[i]);
  }
}

TYPED_TEST(FitMany, RefusesBeforeAnythingIsChanged) {
  using T = TypeParam;
  auto all = this->sessions(equal(3));
  const std::vector<T> before = parameters_of(all[0]->model);
  const auto refuses = [&](auto change) {
    std::vector<AnyFitJob> jobs;
    for (auto& session : all) jobs.push_back(this->job_of(*session));
    change(std::get<FitJob<T>>(jobs[2]));
    EXPECT_THROW(fit_many(jobs), ValueError);
    EXPECT_TRUE(same_bits<T>(before, all[0]->model.parameter_block()));
    EXPECT_EQ(all[0]->trainer->epoch(), 0);
  };
  Trainer<T> second(all[0]->model);
  const Numbers32 beyond = {0, 90}, negative = {-1}, none;
  Numbers32 unweighted = every(9);
  std::vector<T> short_weights(5, T(1));
  refuses([&](FitJob<T>& job) { job.trainer = all[0]->trainer.get(); });
  refuses([&](FitJob<T>& job) { job.trainer = &second; });
  refuses([&](FitJob<T>& job) { job.trainer = nullptr; });
  refuses([&](FitJob<T>& job) { job.rows = beyond; });
  refuses([&](FitJob<T>& job) { job.rows = negative; });
  refuses([&](FitJob<T>& job) { job.rows = none; });
  refuses([&](FitJob<T>& job) { job.validation_rows = beyond; });
  refuses([&](FitJob<T>& job) { job.rows = unweighted, job.y.weights = this->weights_; });
  refuses([&](FitJob<T>& job) { job.y.weights = short_weights; });
  refuses([&](FitJob<T>& job) { job.options.epochs = 0; });
  refuses([&](FitJob<T>& job) { job.options.last_batch = LastBatch::drop, job.options.batch_size = 91; });
  EXPECT_THROW(fit_many({}, {.num_threads = -1}), ValueError);
  EXPECT_THROW(fit_many({}, {.max_seconds = -1.0}), ValueError);
  EXPECT_TRUE(fit_many({}).empty());
}

TYPED_TEST(FitMany, OnProgressEndsAllAfterTheirUpdates) {
  auto all = this->sessions(equal(6));
  std::vector<AnyFitJob> jobs;
  for (auto& session : all) {
    jobs.push_back(this->job_of(*session));
    std::get<FitJob<TypeParam>>(jobs.back()).options.epochs = 1'000'000'000;
  }
  const std::thread::id caller = std::this_thread::get_id();
  std::size_t ended = 0;
  std::atomic<std::size_t> told{0};
  FitManyOptions options{.num_threads = 2};
  options.on_progress = [&](const FitManyProgress& now) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_EQ(now.jobs, 6u);
    ended += now.running == 2 ? 1 : 0;
    return ended < 2;
  };
  options.on_end = [&](std::size_t, FitResult&) { ++told; };
  const std::vector<FitResult> results = fit_many(jobs, options);
  EXPECT_EQ(told.load(), 6u);
  EXPECT_EQ(std::ranges::count_if(results, [](const FitResult& result) { return result.has_begun; }), 2);
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(results[i].history.stop_reason, StopReason::interrupted);
    EXPECT_EQ(all[i]->trainer->steps() > 0, results[i].has_begun);
    EXPECT_NO_THROW(this->fit_alone(*all[i]));
  }
}

TYPED_TEST(FitMany, NoneBeginsOnceTheTimeIsOver) {
  auto all = this->sessions(equal(3));
  for (const FitResult& result : this->fit(all, {.num_threads = 2, .max_seconds = 0.0})) {
    EXPECT_FALSE(result.has_begun);
    EXPECT_EQ(result.history.stop_reason, StopReason::max_time);
  }
  for (const auto& session : all) EXPECT_EQ(session->trainer->steps(), 0);
}

// A finished trainer has let go of what only a fit needs, and its own plans were never made.
TYPED_TEST(FitMany, ATrainerThatIsDoneHoldsOnlyItsState) {
  auto all = this->sessions(equal(2, {.clip_norm = 1.0}));
  this->fit(all, {.num_threads = 1});
  for (const auto& session : all) {
    TrainerCore<TypeParam>& core = TrainerAccess::core_of(*session->trainer);
    EXPECT_EQ(core.order.capacity(), 0u);
    EXPECT_EQ(core.state.gradient.size(), 0);
    EXPECT_EQ(core.runners, &core.own_runners);
    EXPECT_EQ(core.granted, nullptr);
  }
}

// Threads of other languages are told of the threads.
TYPED_TEST(FitMany, TellsOfItsThreads) {
  auto all = this->sessions(equal(3));
  std::atomic<int> begun{0}, ended{0};
  FitManyOptions options{.num_threads = 2};
  options.on_thread_begin = [&] { ++begun; };
  options.on_thread_end = [&] { ++ended; };
  this->fit(all, options);
  EXPECT_EQ(begun.load(), 2);
  EXPECT_EQ(ended.load(), 2);
}

// Rows of a weighted data set that weigh next to nothing in it are a data set with weights of its own.
TEST(DatasetRows, ScaleWeightsByTheLargestOfTheRows) {
  const Samples<float> samples(4, 4, 3);
  Targets<float> y = samples.y(MeanSquaredError{});
  const std::vector<float> weights = {1e30f, 3e-30f, 1e-30f, 2e-30f}, own = {3e-30f, 2e-30f};
  y.weights = weights;
  const DataNeeds needs{4, 3, kind_of<MeanSquaredError>()};
  const Dataset<float> all("test", samples.x(), y, needs);
  const Numbers32 rows = {1, 3};
  const Dataset<float> some("test", all, rows);
  const Targets<float> same{matrix(samples.values.data(), 2, 3)};
  Targets<float> weighted = same;
  weighted.weights = own;
  const Dataset<float> alone("test", matrix(samples.features.data(), 2, 4), weighted, needs);
  EXPECT_EQ(some.weight_exponent(), alone.weight_exponent());
  EXPECT_EQ(some.weight(), alone.weight());
  EXPECT_EQ(some.rows(), 2);
  EXPECT_EQ(some.as_they_lie().sample(1), 3);
}

}  // namespace
}  // namespace stoop
