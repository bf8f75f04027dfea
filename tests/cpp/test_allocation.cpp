// Training steps allocate nothing: the allocation functions of this process are replaced by ones that count.
// glibc lets them be replaced and reached under other names; sanitizers replace them themselves, and the test skips.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include <stoop/ensemble.hpp>
#include <stoop/predictor.hpp>

#include "io/config_json.hpp"
#include "run/device.hpp"
#include "test_helpers.hpp"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STOOP_TEST_SANITIZED 1
#endif
#endif
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(STOOP_TEST_SANITIZED)

namespace {

std::atomic<long> g_allocations{0};

}  // namespace

// operator new calls malloc, so it is counted with it.
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* old, size_t size);
void* __libc_memalign(size_t alignment, size_t size);

void* malloc(size_t size) noexcept {
  ++g_allocations;
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) noexcept {
  ++g_allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* old, size_t size) noexcept {
  ++g_allocations;
  return __libc_realloc(old, size);
}
void* memalign(size_t alignment, size_t size) noexcept {
  ++g_allocations;
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(size_t alignment, size_t size) noexcept {
  ++g_allocations;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** out, size_t alignment, size_t size) noexcept {
  ++g_allocations;
  *out = __libc_memalign(alignment, size);
  return *out == nullptr ? 12 : 0;
}
}  // extern "C"

namespace stoop {
namespace {

// Allocations while work() runs, in all threads.
template <class Work>
long allocations(Work work) {
  const long before = g_allocations;
  work();
  return g_allocations - before;
}

// The allocations of a call that is warm. A thread of a team keeps memory of its own once it has come for the first time, which
// may be in any call.
template <class Work>
long fewest_allocations(Work work) {
  long fewest = allocations(work);
  for (int i = 0; i < 50; ++i) fewest = std::min(fewest, allocations(work));
  return fewest;
}

// Keeps the compiler from leaving out an allocation that nobody uses.
void* kept(void* memory) {
  asm volatile("" : "+r"(memory) : : "memory");
  return memory;
}

Model<float> make_model() {
  return Model<float>({.input_dim = 20,
                       .layers = {Dense{.units = 64, .activation = Tanh{}}, ReLU{}, Dense{48}, BatchNorm{}, GELU{},
                                  Dropout{.rate = 0.2}, Residual{{Dense{32, ReLU{}}, LayerNorm{}, Dense{40}}},
                                  Residual{{Dropout{.rate = 0.1}, Dense{40}}}, Dense{.units = 5}}});
}

const Loss kLosses[] = {SoftmaxCrossEntropy{}, MeanSquaredError{}};

TEST(Counter, SeesEveryWayToAllocate) {
  EXPECT_EQ(allocations([] { free(kept(malloc(10))); }), 1);
  EXPECT_EQ(allocations([] { free(kept(calloc(10, 1))); }), 1);
  EXPECT_EQ(allocations([] { free(kept(realloc(nullptr, 10))); }), 1);
  EXPECT_EQ(allocations([] { free(kept(aligned_alloc(64, 64))); }), 1);
  EXPECT_EQ(allocations([] { ::operator delete(kept(::operator new(10))); }), 1);
  EXPECT_EQ(allocations([] { kept(AlignedBuffer<double>(10).data()); }), 1);
}

// Every optimizer of mini-batches, every loss, every setting of an update, and all of these settings at once.
std::vector<TrainerConfig> update_configs() {
  std::vector<TrainerConfig> configs;
  for (const Optimizer& optimizer : std::initializer_list<Optimizer>{
           SGD{}, SGD{.momentum = 0.9, .nesterov = true}, AdaGrad{}, RMSProp{.momentum = 0.9, .centered = true}, Adam{},
           Adam{.amsgrad = true}, AdamW{}, Nadam{}, Lion{},
           SGD{.learning_rate = schedules::Cosine{.lr = 0.1, .steps = 50}}}) {
    configs.push_back({.optimizer = optimizer});
  }
  for (const Loss& loss : std::initializer_list<Loss>{SoftmaxCrossEntropy{0.1}, BinaryCrossEntropy{},
                                                      MeanSquaredError{}, MeanAbsoluteError{}, Huber{}}) {
    configs.push_back({.loss = loss});
  }
  for (const TrainerConfig& config :
       {TrainerConfig{.l1 = 0.01}, TrainerConfig{.l2 = 0.01}, TrainerConfig{.clip_norm = 0.1},
        TrainerConfig{.clip_value = 0.01}, TrainerConfig{.max_norm = 0.5}, TrainerConfig{.accumulate = 3},
        TrainerConfig{.ema = 0.9}}) {
    configs.push_back(config);
  }
  configs.push_back({.optimizer = AdamW{.amsgrad = true},
                     .l1 = 0.01,
                     .l2 = 0.01,
                     .clip_norm = 0.1,
                     .clip_value = 0.01,
                     .max_norm = 0.5,
                     .accumulate = 2,
                     .ema = 0.9});
  return configs;
}

// One row through many members, and means of these.
TEST(Ensembles, PredictionsAllocateNothingPerMember) {
  const std::vector<float> x = numbers<float>(20, 1);
  const auto allocations_of = [&](Index members, bool means) {
    std::vector<Model<float>> models;
    for (Index i = 0; i < members; ++i) models.push_back(make_model());
    const Ensemble<float> ensemble(std::move(models));
    std::vector<float> out(static_cast<std::size_t>(members * 5));
    const auto call = [&] {
      if (means) ensemble.predict_mean(matrix(x.data(), 1, 20), matrix(out.data(), 1, 5));
      if (!means) ensemble.predict(matrix(x.data(), 1, 20), {out.data(), members, 1, 5});
    };
    return fewest_allocations(call);
  };
  EXPECT_EQ(allocations_of(64, false), 0);
  EXPECT_EQ(allocations_of(64, true), 1);  // the outputs of all members
}

// What fit allocates is independent of how many steps it makes.
TEST(Fit, StepsAllocateNothing) {
  constexpr Index kBatch = 8, kEpochs = 2;
  const auto allocations_of_fit = [&](Index steps, bool weighted, const TrainerConfig& config,
                                      std::optional<Augment> augment = {}) {
    Samples<float> samples(steps * kBatch, 20, 5);
    for (float& v : samples.values) v = std::abs(v);  // labels
    const std::vector<float> weights(samples.classes.size(), 2.0f);
    Model<float> model = make_model();
    Trainer<float> trainer(model, config);
    FitOptions<float> options{.epochs = kEpochs, .batch_size = kBatch};
    options.on_progress = [](const Progress&) { return Next::go_on; };
    options.augment = augment;
    Targets<float> y = samples.y(config.loss);
    if (weighted) y.weights = weights;
    return allocations([&] { trainer.fit(samples.x(), y, options); });
  };
  for (const int threads : {1, 2, 3}) {
    allocations_of_fit(5, false, {.num_threads = threads});  // the first team of a size starts its threads
    for (TrainerConfig config : update_configs()) {
      config.num_threads = threads;
      for (const bool weighted : {false, true}) {
        const long few = allocations_of_fit(5, weighted, config);
        EXPECT_GT(few, 0);
        // 190 updates more. On a busy machine a call may get another number of threads, which takes a few allocations.
        EXPECT_NEAR(few, allocations_of_fit(100, weighted, config), 20)
            << threads << " threads, " << weighted << ", " << to_json(config);
      }
    }
    const Augment augment{.height = 4, .width = 5, .rotate = 9.0, .elastic = 2.0, .noise = 0.1, .mixup = 0.3};
    EXPECT_NEAR(allocations_of_fit(5, false, {.num_threads = threads}, augment),
                allocations_of_fit(100, false, {.num_threads = threads}, augment), 20);
  }
}

// After the iterations that fill the history of LBFGS, with NewtonCG after one of each kind.
TEST(FullBatch, IterationsAllocateNothingOnceWarm) {
  constexpr int kWarm = 16, kCounted = 15;  // the columns of the history grow after iteration 16 and 32
  const Samples<float> samples(50, 20, 5);
  for (const Optimizer& optimizer :
       {Optimizer{LBFGS{.history_size = 4}}, Optimizer{NewtonCG{}}, Optimizer{NewtonCG{.saddle_tolerance = 1e3}}}) {
    for (const Loss& loss : kLosses) {
      Model<float> model(
          {.input_dim = 20, .layers = {Dense{16, Tanh{}}, BatchNorm{}, Dense{8, SiLU{}}, LayerNorm{}, Dense{5}}});
      Trainer<float> trainer(model, {.loss = loss, .optimizer = optimizer, .l2 = 0.01, .ema = 0.9, .num_threads = 1});
      long before = 0, after = 0;
      FitOptions<float> options{.epochs = kWarm + kCounted, .batch_size = 50};
      options.on_epoch = [&](const EpochResult& result) {
        if (result.epoch + 1 == kWarm + 1) before = g_allocations;
        after = g_allocations;
        return true;
      };
      trainer.fit(samples.x(), samples.y(loss), options);
      EXPECT_EQ(after, before) << name_of(optimizer) << ", " << name_of(kind_of(loss));
    }
  }
}

TEST(Executor, RunAllocatesNothing) {
  const Samples<float> samples(97, 20, 5);
  for (const int threads : {1, 2, 3}) {
    for (const PlanKind kind : {PlanKind::training, PlanKind::checked, PlanKind::gradient}) {
      Model<float> model = make_model();
      std::vector<float> gradient(model.parameter_block().size());
      const Graph graph = build_graph(model.config(), kAlignment / static_cast<Index>(sizeof(float)));
      PlanRequest request;
      request.kind = kind;
      request.graph = &graph;
      request.loss = kind_of<SoftmaxCrossEntropy>();
      request.class_targets = true;
      request.batch = 17;  // a last batch of one is merged into the one before it
      const Device<float> device{.ops = table_under_test<float>()};
      const std::unique_ptr<Executor<float>> executor = make_executor(device, request);
      const Optimizer optimizer = SGD{};
      const std::vector<double> rates(samples.classes.size(), 0.01);
      AlignedBuffer<float> running(static_cast<Index>(model.buffer_block().size()));
      TrainingRun<float> run;
      run.data.x = samples.x();
      run.data.classes = samples.classes.data();
      run.batch = 16;
      run.merged = 1;
      run.parameters = model.parameter_block().data();
      run.gradient = gradient.data();
      run.running = running.data();
      run.optimizer = &optimizer;
      run.learning_rates = rates.data();
      run.num_threads = threads;
      Cursor warm, cursor;
      executor->run(run, warm, run.data.x.rows);  // starts the threads
      ASSERT_GT(warm.updates, 0);
      EXPECT_EQ(allocations([&] { executor->run(run, cursor, run.data.x.rows); }), 0)
          << threads << " threads, " << static_cast<int>(kind);
      EXPECT_EQ(cursor.updates, warm.updates);
    }
  }
}

TEST(Trainer, CallsOnOneBatchAllocateNothingOnceWarm) {
  const Samples<float> samples(16, 20, 5);
  for (const Loss& loss : kLosses) {
    for (const int threads : {1, 2}) {
      Model<float> model = make_model();
      Trainer<float> trainer(model, {.loss = loss, .num_threads = threads});
      std::vector<float> gradient(model.parameter_block().size());
      const Targets<float> y = samples.y(loss);
      const auto step = [&] { trainer.step(samples.x(), y); };
      const auto differentiate = [&] { trainer.loss_and_grad(samples.x(), y, gradient); };
      step();
      differentiate();
      EXPECT_EQ(allocations(step), 0) << threads << " threads";
      EXPECT_EQ(allocations(differentiate), 0) << threads << " threads";
    }
  }
}

// Questions of several kinds by turns keep their plans and memory.
TEST(Trainer, AlternatingCallsOnOneBatchAllocateNothingOnceWarm) {
  const Samples<float> samples(16, 20, 5);
  Model<float> model = make_model();
  Trainer<float> trainer(model, {.num_threads = 1});
  std::vector<float> gradient(model.parameter_block().size());
  const auto ask_each_way = [&] {
    for (const bool training : {true, false}) {
      trainer.loss_and_grad(samples.x(), samples.classes, gradient, {.training = training});
      trainer.loss_and_grad(samples.x(), samples.classes, {}, {.training = training});
    }
    trainer.step(samples.x(), samples.classes);
  };
  ask_each_way();
  EXPECT_EQ(allocations(ask_each_way), 0);
}

// In every mode, by turns, with fewer rows than before, several passes to an update, and penalties that need a copy.
TEST(Trainer, PiecesOfAnUpdateAllocateNothingOnceWarm) {
  const Samples<float> samples(32, 20, 5);
  for (const int threads : {1, 2}) {
    for (const double l2 : {0.0, 0.1}) {
      Model<float> model = make_model();
      Trainer<float> trainer(model, {.optimizer = Lamb{}, .l2 = l2, .num_threads = threads});
      std::vector<float> out(32 * 5), input_gradient(32 * 20);
      const auto pass = [&](Index rows, GradientMode mode, bool wants_input) {
        MatrixView<const float> x = samples.x();
        x.rows = rows;
        trainer.forward(x, matrix(out.data(), rows, 5), mode);
        trainer.backward(matrix<const float>(out.data(), rows, 5),
                         wants_input ? matrix(input_gradient.data(), rows, 20) : MatrixView<float>{});
      };
      const auto update = [&] {
        for (const Index rows : {32, 16, 9}) {
          for (const bool training : {true, false}) {
            for (const bool dropout : {true, false}) pass(rows, {training, dropout}, dropout);
          }
        }
        trainer.gradient_block()[0] = 1.0f;
        trainer.apply();
        pass(8, {true, true}, false);
        trainer.zero_grad();
      };
      update();
      EXPECT_EQ(allocations(update), 0) << threads << " threads, l2=" << l2;
    }
  }
}

TEST(Trainer, StepsOnRowsOfABufferAllocateNothingOnceWarm) {
  const Samples<float> samples(200, 20, 5);
  const std::vector<Index> rows = {3, 199, 3, 0, 77, 12, 41, 100};
  for (const Loss& loss : kLosses) {
    Model<float> model = make_model();
    Trainer<float> trainer(model, {.loss = loss, .num_threads = 1});
    const auto step = [&] {
      trainer.step_rows(samples.x(), samples.y(loss), {rows});
      trainer.step_rows(samples.x(), samples.y(loss), {std::span(rows).first(5)});
    };
    step();
    EXPECT_EQ(allocations(step), 0);
  }
}

TEST(Model, DerivativesOfTheInputAllocateNothingOnceWarm) {
  const Samples<float> samples(40, 20, 5);
  Model<float> model = make_model();
  const Model<float> source = make_model();
  std::vector<float> out(40 * 5), gradient(40 * 20), jacobian(40 * 5 * 20);
  const auto ask = [&] {
    for (const Index rows : {40, 3}) {
      MatrixView<const float> x = samples.x();
      x.rows = rows;
      model.predict(x, matrix(out.data(), rows, 5));
      model.input_gradient(x, matrix<const float>(out.data(), rows, 5), matrix(gradient.data(), rows, 20));
      model.jacobian(x, matrix(jacobian.data(), rows, 100));
    }
    model.soft_update(source, 0.1);
  };
  EXPECT_EQ(fewest_allocations(ask), 0);
}

TEST(Trainer, OneNormOverSeveralAllocatesNothing) {
  const Samples<float> samples(32, 20, 5);
  Model<float> one = make_model(), other = make_model();
  Trainer<float> a(one), b(other);
  std::vector<float> out(32 * 5);
  for (Trainer<float>* trainer : {&a, &b}) {
    trainer->forward(samples.x(), matrix(out.data(), 32, 5));
    trainer->backward(matrix<const float>(out.data(), 32, 5));
  }
  double norm = 0.0;
  EXPECT_EQ(allocations([&] { norm = clip_grad_norm({&a, &b}, 1e-3); }), 0);
  EXPECT_GT(norm, 1e-3);
  EXPECT_NEAR(std::hypot(a.gradient_norm(), b.gradient_norm()), 1e-3, 1e-9);
}

TEST(Model, PredictionOfOneRowAllocatesNothingOnceWarm) {
  const Samples<float> samples(1, 20, 5);
  const Model<float> model = make_model();
  std::vector<float> out(5);
  const auto predict = [&] { model.predict(samples.x(), matrix(out.data(), 1, 5)); };
  predict();
  EXPECT_EQ(allocations(predict), 0);
  const Predictor<float> predictor(model);
  const auto predict_sooner = [&] { predictor.predict(samples.x(), matrix(out.data(), 1, 5)); };
  predict_sooner();
  EXPECT_EQ(allocations(predict_sooner), 0);
}

}  // namespace
}  // namespace stoop

#else

TEST(Allocation, Counted) { GTEST_SKIP() << "the allocation functions cannot be replaced here"; }

#endif
