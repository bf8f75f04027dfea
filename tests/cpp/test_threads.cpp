// What threads must not change: the same bits for any team, in concurrent trainings and after a fork; and the
// floating-point mode of the caller, which a team sets for itself only.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cfenv>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include <stoop/error.hpp>
#include <stoop/runtime.hpp>
#include <stoop/trainer.hpp>

#include "team/tuner.hpp"
#include "test_helpers.hpp"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STOOP_TEST_TSAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define STOOP_TEST_TSAN 1
#endif

namespace stoop {
namespace {

const Loss kLosses[] = {SoftmaxCrossEntropy{}, MeanSquaredError{}};

struct Shape {
  ModelConfig config;
  Index rows, batch;
};

// From less than a row block to more than a team of 8 has work for; widths around and above the blocks of parameters.
// Two have batch normalisations: between products cut by rows, in groups of 24 of them, and by columns. The last has
// dropouts in the epilogues of either.
const std::vector<Shape>& shapes() {
  // One statement for each: GCC takes a minute for all of them in one.
  static const std::vector<Shape> kShapes = [] {
    std::vector<Shape> all;
    const auto add = [&](Index inputs, std::vector<Layer> layers, Index rows, Index batch) {
      all.push_back({{.input_dim = inputs, .layers = std::move(layers)}, rows, batch});
    };
    add(1, {Dense{1}}, 5, 2);
    add(4, {Tanh{}, Dense{9, ReLU{}}, Sigmoid{}, Dense{3}}, 61, 20);
    add(33, {Dense{70, Tanh{}}, Dense{65, LeakyReLU{}}, Dense{10}}, 300, 64);
    add(130, {Dense{.units = 300, .activation = ReLU{}, .use_bias = false}, Dense{17}}, 290, 97);
    const Residual residual{{Dense{33}, BatchNorm{}, Tanh{}}};
    add(20, {BatchNorm{}, Dense{33}, BatchNorm{}, LeakyReLU{}, residual, Dense{5}}, 700, 300);
    add(40, {Dense{300}, BatchNorm{}, ReLU{}, Dropout{0.2}, Dense{300, Tanh{}}, BatchNorm{}, Dense{3}}, 130, 50);
    const Dense wide{300, ReLU{}};
    add(40, {wide, Dropout{0.5}, Dense{300, Tanh{}}, Dropout{0.2}, Dense{150}, Dropout{0.1}, BatchNorm{}, Dense{3}},
        130, 50);
    return all;
  }();
  return kShapes;
}

// Everything a training computes.
template <class T>
struct Outcome {
  std::vector<T> parameters, predictions;
  std::vector<double> loss, grad_norm;
  Metrics metrics;

  bool same_bits_as(const Outcome& other) const {
    return same_bits<T>(parameters, other.parameters) && same_bits<T>(predictions, other.predictions) &&
           same_bits<double>(loss, other.loss) && same_bits<double>(grad_norm, other.grad_norm) &&
           metrics.loss == other.metrics.loss;
  }
};

template <class T>
Outcome<T> train(const Shape& shape, const TrainerConfig& config, Index epochs = 2) {
  Model<T> model(shape.config);
  const Samples<T> samples(shape.rows, model.input_dim(), model.output_dim());
  Trainer<T> trainer(model, config);
  const History history =
      trainer.fit(samples.x(), samples.y(config.loss), {.epochs = epochs, .batch_size = shape.batch});
  return {parameters_of(model), predictions_of(model, samples.x()), history.loss, history.grad_norm,
          trainer.evaluate(samples.x(), samples.y(config.loss))};
}

template <class T>
class Threads : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Threads, ElementTypes);

TYPED_TEST(Threads, TheSameBitsForAnyTeam) {
  using T = TypeParam;
  for (const Shape& shape : shapes()) {
    const bool one_output = Model<T>(shape.config).output_dim() == 1;
    for (const Loss& loss : kLosses) {
      if (one_output && std::holds_alternative<SoftmaxCrossEntropy>(loss)) continue;  // a trainer refuses it
      for (const Optimizer& optimizer : {Optimizer{SGD{.momentum = 0.9, .nesterov = true}}, Optimizer{Adam{}}}) {
        TrainerConfig config{.loss = loss, .optimizer = optimizer, .l2 = 0.01, .num_threads = 1};
        const Outcome<T> alone = train<T>(shape, config);
        for (const int threads : {1, 2, 3, 8}) {
          config.num_threads = threads;
          EXPECT_TRUE(train<T>(shape, config).same_bits_as(alone))
              << threads << " threads, input_dim " << shape.config.input_dim << ", " << name_of(kind_of(loss));
        }
      }
    }
  }
}

TYPED_TEST(Threads, StepsAndGradientsHaveTheSameBitsForAnyTeam) {
  using T = TypeParam;
  for (const Shape& shape : shapes()) {
    std::vector<T> first, first_gradient;
    for (const int threads : {1, 2, 3, 8}) {
      Model<T> model(shape.config);
      const Samples<T> samples(shape.batch, model.input_dim(), model.output_dim());
      Trainer<T> trainer(model, {.loss = MeanSquaredError{}, .l2 = 0.01, .num_threads = threads});
      std::vector<T> gradient(model.parameter_block().size());
      for (int i = 0; i < 3; ++i) trainer.step(samples.x(), samples.y(MeanSquaredError{}));
      trainer.loss_and_grad(samples.x(), samples.y(MeanSquaredError{}), gradient);
      if (threads == 1) first = parameters_of(model), first_gradient = gradient;
      EXPECT_TRUE(same_bits<T>(first, parameters_of(model))) << threads << " threads";
      EXPECT_TRUE(same_bits<T>(first_gradient, gradient)) << threads << " threads";
    }
  }
}

// Sets the process-wide limit for one scope.
class WithThreads {
 public:
  explicit WithThreads(int n) : old_(get_num_threads()) { set_num_threads(n); }
  ~WithThreads() { set_num_threads(old_); }

 private:
  int old_;
};

TYPED_TEST(Threads, PredictionsHaveTheSameBitsForAnyTeam) {
  using T = TypeParam;
  const Model<T> model({.input_dim = 60, .layers = {Dense{200, Tanh{}}, Dense{31}}});
  const Samples<T> samples(1500, 60, 31);
  std::vector<T> first;
  for (const int threads : {1, 2, 3, 8}) {
    const WithThreads limit(threads);
    const std::vector<T> out = predictions_of(model, samples.x());
    if (threads == 1) first = out;
    EXPECT_TRUE(same_bits<T>(first, out)) << threads << " threads";
  }
}

// Few rows are cut by columns, more by rows; the first network has every layer and outputs that are no whole blocks.
TYPED_TEST(Threads, FewRowsHaveTheSameBitsForAnyTeam) {
  using T = TypeParam;
  const Residual block{{Dense{300, Tanh{}}, LayerNorm{}, Dense{600}}};
  const ModelConfig configs[] = {
      {.input_dim = 700, .layers = {Dense{600}, BatchNorm{}, ReLU{}, block, Dropout{0.5}, GELU{}, Dense{35}}},
      {.input_dim = 784, .layers = {Dense{512, ReLU{}}, Dense{256, ReLU{}}, Dense{1}}}};
  for (const ModelConfig& config : configs) {
    const Model<T> model(config);
    const Samples<T> samples(130, config.input_dim, 1);
    for (const Index rows : {1, 2, 7, 8, 9, 31, 128, 130}) {
      const MatrixView<const T> x{samples.x().data, rows, samples.x().cols, samples.x().stride};
      std::vector<T> first;
      for (const int threads : {1, 2, 3, 8}) {
        const WithThreads limit(threads);
        if (threads == 1) first = predictions_of(model, x);
        for (int call = 0; call < 3; ++call) {  // a team is used from the second on
          EXPECT_TRUE(same_bits<T>(first, predictions_of(model, x))) << rows << " rows, " << threads << " threads";
        }
      }
    }
  }
}

// With num_threads unset, the size of the team is found out by measuring and may change from step to step.
TYPED_TEST(Threads, TheSameBitsForATeamOfItsOwnChoice) {
  using T = TypeParam;
  const Shape shape{{.input_dim = 64, .layers = {Dense{128, Tanh{}}, Dense{10}}}, 4000, 64};
  Outcome<T> first;
  for (const int threads : {1, 2, 3, 8}) {
    const WithThreads limit(threads);
    const Outcome<T> outcome = train<T>(shape, {}, 3);
    if (threads == 1) first = outcome;
    EXPECT_TRUE(same_bits<T>(outcome.parameters, first.parameters)) << "at most " << threads << " threads";
    EXPECT_TRUE(outcome.same_bits_as(first)) << "what is reported, at most " << threads << " threads";
  }
}

// ---- several users in one process ----

TYPED_TEST(Threads, ConcurrentTrainingsDoNotMeet) {
  using T = TypeParam;
  for (const int team : {1, 2}) {
    const TrainerConfig config{.num_threads = team};
    const Outcome<T> alone[] = {train<T>(shapes()[2], config, 5), train<T>(shapes()[3], config, 5)};
    Outcome<T> together[2];
    std::thread other([&] { together[1] = train<T>(shapes()[3], config, 5); });
    together[0] = train<T>(shapes()[2], config, 5);
    other.join();
    for (int i = 0; i < 2; ++i)
      EXPECT_TRUE(together[i].same_bits_as(alone[i])) << "training " << i << ", teams of " << team;
  }
}

TYPED_TEST(Threads, OneModelPredictsForSeveralThreads) {
  using T = TypeParam;
  const Model<T> model({.input_dim = 20, .layers = {Dense{50, Tanh{}}, Dense{7}}});
  const Samples<T> samples(200, 20, 7);
  const std::vector<T> alone = predictions_of(model, samples.x());
  std::vector<T> results[3];
  std::vector<std::thread> users;
  for (std::vector<T>& result : results) {
    users.emplace_back([&] {
      for (int i = 0; i < 20; ++i) result = predictions_of(model, samples.x());
    });
  }
  for (std::thread& user : users) user.join();
  for (const std::vector<T>& result : results) EXPECT_TRUE(same_bits<T>(result, alone));
}

// ---- fork ----

// Runs work() in a forked child; its exit status, or -1 when it did not end by itself within 20 seconds.
template <class Work>
int status_of_child(Work work) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    int status = 3;
    try {
      status = work() ? 0 : 2;
    } catch (...) {
    }
    ::_exit(status);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TYPED_TEST(Threads, AChildForkedAfterTrainingWorks) {
#if defined(STOOP_TEST_TSAN)
  GTEST_SKIP() << "ThreadSanitizer does not follow a fork of a process with threads";
#endif
  using T = TypeParam;
  const Shape& shape = shapes()[2];
  const TrainerConfig config{.num_threads = 2};
  const Outcome<T> parent = train<T>(shape, config);
  EXPECT_EQ(status_of_child([&] { return train<T>(shape, config).same_bits_as(parent); }), 0) << "the child";
  EXPECT_TRUE(train<T>(shape, config).same_bits_as(parent)) << "the parent after it";
  const auto grandchild = [&] {
    return status_of_child([&] { return train<T>(shape, config).same_bits_as(parent); }) == 0;
  };
  EXPECT_EQ(status_of_child(grandchild), 0);
}

// ---- flush to zero ----

// True where this thread computes with denormal numbers: both as operands and as results.
bool denormals_work() {
  volatile double normal = std::numeric_limits<double>::min(), denormal = std::numeric_limits<double>::denorm_min();
  volatile float small = std::numeric_limits<float>::min();
  return normal / 2 > 0 && denormal * 2 > 0 && small / 4 > 0 && normal / 2 * 2 == normal;
}

TYPED_TEST(Threads, TheCallersFloatingPointModeIsRestored) {
  using T = TypeParam;
  ASSERT_TRUE(denormals_work());
  const Samples<T> samples(64, 4, 3);
  for (const int threads : {1, 2}) {
    Model<T> model({.input_dim = 4, .layers = {Dense{9}, Dense{3}}});
    Trainer<T> trainer(model, {.num_threads = threads});
    trainer.fit(samples.x(), samples.classes, {.batch_size = 8});
    EXPECT_TRUE(denormals_work()) << "after fit";
    trainer.step(samples.x(), samples.classes);
    EXPECT_TRUE(denormals_work()) << "after step";
    trainer.evaluate(samples.x(), samples.classes);
    predictions_of(model, samples.x());
    EXPECT_TRUE(denormals_work()) << "after evaluate and predict";
    model.parameter("1.bias").data[0] = kNaN<T>;
    EXPECT_THROW(trainer.fit(samples.x(), samples.classes), NonFiniteLossError);
    EXPECT_TRUE(denormals_work()) << "after an error";
  }
}

TYPED_TEST(Threads, CallbacksComputeInTheCallersMode) {
  using T = TypeParam;
  const Samples<T> samples(50000, 4, 3);
  Model<T> model({.input_dim = 4, .layers = {Dense{9}, Dense{3}}});
  Trainer<T> trainer(model, {.num_threads = 2});
  int called = 0, in_mode = 0;
  const auto start = std::chrono::steady_clock::now();
  FitOptions<T> options{.epochs = 1 << 30, .batch_size = 1};
  options.on_progress = [&](const Progress&) {
    in_mode += denormals_work();
    return ++called < 2 ? Next::go_on : Next::stop;
  };
  options.on_epoch = [&](const EpochResult&) {
    return denormals_work() && std::chrono::steady_clock::now() - start < std::chrono::seconds(10);
  };
  trainer.fit(samples.x(), samples.classes, options);
  EXPECT_EQ(called, 2);
  EXPECT_EQ(in_mode, called);
}

#if defined(__GLIBC__)
// Kernels compute infinities that they do not use: exp of the lanes that another branch decides.
TYPED_TEST(Threads, ExceptionsThatTrapInTheCallerDoNotTrapWithin) {
  using T = TypeParam;
  std::vector<T> x(64 * 4);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = (i % 2 == 0 ? T(-1) : T(1)) * static_cast<T>(i * i);
  const MatrixView<const T> rows = matrix(std::as_const(x).data(), 64, 4);
  const std::vector<std::int32_t> classes(64, 1);
  constexpr int kTraps = FE_OVERFLOW | FE_DIVBYZERO | FE_INVALID;
  const int before = fegetexcept();
  std::feclearexcept(FE_ALL_EXCEPT);  // what earlier tests have left would trap at once
  if (feenableexcept(kTraps) == -1) GTEST_SKIP() << "this processor cannot trap";
  for (const Activation& activation :
       {Activation{Sigmoid{}}, Activation{SiLU{}}, Activation{ELU{}}, Activation{SELU{}}, Activation{Softplus{}}}) {
    Model<T> model({.input_dim = 4, .layers = {Dense{.units = 37, .activation = activation}, Dense{3}}});
    Trainer<T> trainer(model, {.optimizer = SGD{.learning_rate = T(1e-9)}, .num_threads = 2});
    trainer.fit(rows, classes, {.epochs = 1, .batch_size = 13});
    predictions_of(model, rows);
    EXPECT_EQ(fegetexcept(), kTraps | before);
  }
  fedisableexcept(kTraps & ~before);
}
#endif

// A trainer that makes single steps must not go by the luckiest of them.
TEST(TeamTuner, ComparesMeansOfStepsHoweverTheyAreCounted) {
  TeamTuner tuner(2, 1e6);
  for (int i = 0; tuner.steps() == 8; ++i) {
    ASSERT_LT(i, 48);
    const bool team = tuner.threads() == 2;
    tuner.record(!team ? 20e-6 : i % 8 == 3 ? 10e-6 : 25e-6, 1, team ? 2 : 1);
  }
  EXPECT_EQ(tuner.threads(), 1);
}

// The barriers of many threads may take longer than what they save.
TEST(TeamTuner, FindsAPartOfTheTeamThatIsFaster) {
  TeamTuner tuner(96, 3e8);
  for (int look = 0; look < 3 * 7; ++look) {  // 96, 48, 24, 12, 6, 3 and 1
    const int threads = tuner.threads();
    const double work = 2000e-6 / threads, barriers = 10e-6 * threads;
    tuner.record(static_cast<double>(tuner.steps()) * (work + barriers), tuner.steps(), threads);
  }
  EXPECT_EQ(tuner.threads(), 12);
}

// A team that was alone for a while, because its other thread had no core, says nothing of what two threads are worth.
TEST(TeamTuner, DoesNotTakeASecludedThreadForATeam) {
  TeamTuner tuner(2, 1e6);
  for (int i = 0; i < 10; ++i) tuner.record(8 * 20e-6, 8, 1);
  EXPECT_EQ(tuner.threads(), 2) << "the first look is still to come";
  for (int look = 0; look < 6; ++look) {
    const int threads = tuner.threads();
    tuner.record(threads == 2 ? 8 * 10e-6 : 8 * 20e-6, 8, threads);
  }
  EXPECT_EQ(tuner.threads(), 2);
}

}  // namespace
}  // namespace stoop
