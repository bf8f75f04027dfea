// Hessian-vector products on STOOP_ISA, and what the full-batch optimizers are made of.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <set>
#include <string_view>

#include <stoop/diagnose.hpp>
#include <stoop/error.hpp>
#include <stoop/minimize.hpp>
#include <stoop/trainer.hpp>

#include "alternatives.hpp"
#include "test_helpers.hpp"
#include "train/line_search.hpp"
#include "train/spectrum.hpp"

namespace stoop {
namespace {

constexpr Index kSamples = 21, kFeatures = 5, kOutputs = 4;

// Every layer, with widths that fill no vector.
std::vector<Layer> all_layers() {
  return {Normalization{.clip = 2.0},
          Dense{17},
          BatchNorm{},
          GELU{},
          Dropout{0.2},
          Residual{{LayerNorm{}, Dense{33, Tanh{}}, Dense{19, SiLU{}}}},
          Dense{9, ELU{0.7}},
          BatchNorm{.eps = 1e-2},
          Dense{35, Softplus{}},
          LayerNorm{},
          Dense{6, Sigmoid{}},
          Dense{7, LeakyReLU{0.2}},
          Dense{kOutputs}};
}

// The layers of tables, whose first column holds codes.
constexpr Index kCodes = 12;
std::vector<Layer> layers_of_tables() {
  return {Columns{.categories = {{0, kCodes}}, .bins = {4}, .embedding_dim = 3},
          FeatureScale{},
          Members{.k = 3, .bias = true},
          MemberDense{.units = 7, .activation = Tanh{}, .shared = true},
          Dense{9, SiLU{}},
          MemberDense{.units = kOutputs}};
}

template <class T>
Targets<T> targets_of(const Loss& loss, const std::vector<std::int32_t>& classes, const std::vector<T>& values) {
  if (takes_classes(kind_of(loss))) return classes;
  return matrix(values.data(), kSamples, target_columns(kind_of(loss), kOutputs));
}

template <class T>
struct Problem {
  std::vector<T> x = numbers<T>(kSamples * kFeatures, 1, 2.0), values = numbers<T>(kSamples * kOutputs, 2);
  std::vector<T> labels;  // 0 or 1
  std::vector<T> weights = numbers<T>(kSamples, 3);
  std::vector<std::int32_t> classes;
  Model<T> model;

  explicit Problem(std::vector<Layer> layers = all_layers())
      : model({.input_dim = kFeatures, .layers = std::move(layers), .seed = 5}) {
    for (Index i = 0; i < kSamples; ++i) classes.push_back(static_cast<std::int32_t>(i % kOutputs));
    for (T& w : weights) w = std::abs(w) + T(0.1);
    for (T& v : values) v = std::abs(v);
    for (const T v : values) labels.push_back(v > T(0.5) ? T(1) : T(0));
    if (std::holds_alternative<Columns>(model.config().layers.front())) {
      for (Index i = 0; i < kSamples; ++i) x[static_cast<std::size_t>(i * kFeatures)] = static_cast<T>(i % kCodes);
    }
    if (!model.is_adapted()) model.adapt(input());
  }
  Targets<T> targets(const Loss& loss) const {
    return targets_of(loss, classes, kind_of(loss) == kind_of<Hinge>() ? labels : values);
  }
  MatrixView<const T> input() const { return matrix<const T>(x.data(), kSamples, kFeatures); }
  std::vector<T> product(const Loss& loss, GradientMode mode, const std::vector<T>& direction) {
    Trainer<T> trainer(model, {.loss = loss, .optimizer = SGD{}, .l2 = 0.1});
    std::vector<T> result(model.parameter_block().size());
    Targets<T> y = targets(loss);
    y.weights = weights;
    trainer.hessian_vector_product(input(), y, direction, result, mode);
    return result;
  }
};

template <class T>
std::vector<T> direction_for(const Model<T>& model) {
  std::vector<T> direction(model.parameter_block().size(), T(0));
  const std::vector<T> drawn = numbers<T>(static_cast<Index>(direction.size()), 9);
  for (const ParameterInfo& info : model.parameter_infos()) {
    std::copy_n(drawn.begin() + info.offset, info.rows * info.cols, direction.begin() + info.offset);
  }
  return direction;
}

double relative_error(std::span<const double> got, std::span<const double> want) {
  double difference = 0.0, size = 0.0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    difference += (got[i] - want[i]) * (got[i] - want[i]);
    size += want[i] * want[i];
  }
  return std::sqrt(difference / size);
}

std::vector<Loss> all_losses() {
  std::vector<Loss> all = each_alternative<Loss>();
  for (Loss& loss : all) {
    if (auto* softmax = std::get_if<SoftmaxCrossEntropy>(&loss)) softmax->label_smoothing = 0.1;
    if (auto* huber = std::get_if<Huber>(&loss)) huber->delta = 0.5;
  }
  return all;
}
constexpr GradientMode kModes[] = {{true, false}, {false, false}, {true, true}};

// The error of the product relative to (gradient(w + step*v) - gradient(w - step*v)) / (2*step).
double error_of_product(Problem<double>& problem, const Loss& loss, const GradientMode& mode) {
  const std::vector<double> direction = direction_for(problem.model);
  const std::vector<double> product = problem.product(loss, mode, direction);
  Trainer<double> trainer(problem.model, {.loss = loss, .optimizer = SGD{}, .l2 = 0.1});
  Targets<double> y = problem.targets(loss);
  y.weights = problem.weights;
  std::vector<double> sides[2], difference(product.size());
  const auto block = problem.model.parameter_block();
  const std::vector<double> kept(block.begin(), block.end());
  constexpr double kStep = 1e-6;
  for (int side = 0; side < 2; ++side) {
    for (std::size_t i = 0; i < block.size(); ++i) block[i] = kept[i] + (side == 0 ? kStep : -kStep) * direction[i];
    sides[side].resize(product.size());
    trainer.loss_and_grad(problem.input(), y, sides[side], mode);
  }
  for (std::size_t i = 0; i < difference.size(); ++i) difference[i] = (sides[0][i] - sides[1][i]) / (2.0 * kStep);
  return relative_error(product, difference);
}

TEST(HessianVectorProduct, IsTheDifferenceOfGradients) {
  for (const Loss& loss : all_losses()) {
    for (const GradientMode& mode : kModes) {
      Problem<double> problem;
      EXPECT_LT(error_of_product(problem, loss, mode), 1e-6) << name_of(kind_of(loss));
    }
  }
}

TEST(HessianVectorProduct, OfTheLayersOfTables) {
  for (const Loss& loss : all_losses()) {
    Problem<double> problem(layers_of_tables());
    EXPECT_LT(error_of_product(problem, loss, {}), 1e-6) << name_of(kind_of(loss));
  }
}

TEST(HessianVectorProduct, OfEveryActivation) {
  for (const Activation& activation : each_alternative<Activation>()) {
    Problem<double> problem({Dense{17, activation}, Dense{9, activation}, Dense{kOutputs}});
    EXPECT_LT(error_of_product(problem, MeanSquaredError{}, {}), 1e-6) << name_of(kind_of(activation));
  }
}

void add_names(const std::vector<Layer>& layers, std::set<std::string_view>& names) {
  for (const Layer& layer : layers) {
    names.insert(name_of(layer));
    if (const auto* block = std::get_if<Residual>(&layer)) add_names(block->layers, names);
  }
}

TEST(HessianVectorProduct, EveryLayerIsThere) {
  std::set<std::string_view> names;
  add_names(all_layers(), names);
  add_names(layers_of_tables(), names);
  for (const Layer& layer : each_alternative<Layer>()) {
    EXPECT_TRUE(as_activation(layer).has_value() || names.contains(name_of(layer))) << name_of(layer);
  }
}

TEST(HessianVectorProduct, InFloatIsThatInDouble) {
  for (const Loss& loss : all_losses()) {
    Problem<float> narrow;
    Problem<double> wide;
    std::copy(narrow.x.begin(), narrow.x.end(), wide.x.begin());
    std::copy(narrow.values.begin(), narrow.values.end(), wide.values.begin());
    std::copy(narrow.labels.begin(), narrow.labels.end(), wide.labels.begin());
    std::copy(narrow.weights.begin(), narrow.weights.end(), wide.weights.begin());
    for (const ParameterInfo& info : narrow.model.parameter_infos()) {
      const MatrixView<const float> from = std::as_const(narrow.model).parameter(info.name);
      std::copy_n(from.data, info.rows * info.cols, wide.model.parameter(info.name).data);
    }
    const std::vector<float> product = narrow.product(loss, {}, direction_for(narrow.model));
    const std::vector<double> reference = wide.product(loss, {}, [&] {
      std::vector<double> direction(wide.model.parameter_block().size(), 0.0);
      const std::vector<float> drawn = direction_for(narrow.model);
      for (std::size_t p = 0; p < narrow.model.parameter_infos().size(); ++p) {
        const ParameterInfo &from = narrow.model.parameter_infos()[p], &to = wide.model.parameter_infos()[p];
        std::copy_n(drawn.begin() + from.offset, from.rows * from.cols, direction.begin() + to.offset);
      }
      return direction;
    }());
    for (std::size_t p = 0; p < narrow.model.parameter_infos().size(); ++p) {
      const ParameterInfo &from = narrow.model.parameter_infos()[p], &to = wide.model.parameter_infos()[p];
      double size = 1e-3;
      for (Index i = 0; i < to.rows * to.cols; ++i) {
        size = std::max(size, std::abs(reference[static_cast<std::size_t>(to.offset + i)]));
      }
      for (Index i = 0; i < from.rows * from.cols; ++i) {
        EXPECT_NEAR(static_cast<double>(product[static_cast<std::size_t>(from.offset + i)]),
                    reference[static_cast<std::size_t>(to.offset + i)], 1e-3 * size)
            << from.name << " of " << name_of(kind_of(loss));
      }
    }
  }
}

// ---- the line search ----

LineSearch search(const std::function<double(double)>& f, const std::function<double(double)>& slope, double first) {
  return line_search([&](double t) { return LineSample{t, f(t), slope(t)}; }, {0.0, f(0.0), slope(0.0)}, first, 30,
                     1e-14);
}

TEST(LineSearch, FulfilsTheStrongWolfeConditions) {
  for (const double first : {1e-6, 1e-2, 1.0, 1e4}) {
    const auto f = [](double t) { return (t - 3.0) * (t - 3.0) + 2.0 * std::sin(3.0 * t); };
    const auto slope = [](double t) { return 2.0 * (t - 3.0) + 6.0 * std::cos(3.0 * t) - 3.0; };
    const auto tilted = [&](double t) { return f(t) - 3.0 * t; };
    const LineSearch found = search(tilted, slope, first);
    ASSERT_GT(found.accepted.step, 0.0) << first;
    EXPECT_LE(found.accepted.value, tilted(0.0) + 1e-4 * found.accepted.step * slope(0.0)) << first;
    EXPECT_LE(std::abs(found.accepted.slope), 0.9 * std::abs(slope(0.0))) << first;
    EXPECT_LE(found.evaluations, 30);
  }
}

TEST(LineSearch, ComesBackFromWhereTheValueIsNoNumber) {
  const auto f = [](double t) { return t < 0.01 ? -t : std::numeric_limits<double>::quiet_NaN(); };
  const LineSearch found = search(f, [](double t) { return t < 0.01 ? -1.0 : 0.0; }, 1.0);
  EXPECT_GT(found.accepted.step, 0.0);
  EXPECT_LT(found.accepted.step, 0.01);
}

TEST(LineSearch, StaysWhereNothingIsLower) {
  const LineSearch found =
      search([](double t) { return t == 0.0 ? 0.0 : 1.0 + t; }, [](double t) { return t == 0.0 ? -1.0 : 1.0; }, 1.0);
  EXPECT_EQ(found.accepted.step, 0.0);
}

// ---- eigenvalues ----

TEST(ExtremeEigenvalues, OfADiagonalMatrixOnTheFreeElements) {
  constexpr std::size_t kSize = 60;
  std::vector<bool> free(kSize, true);
  free[0] = free[7] = false;  // what would be the smallest and largest
  const auto value = [](std::size_t i) {
    return i == 0 ? -100.0 : i == 7 ? 100.0 : -2.0 + 0.25 * static_cast<double>(i);
  };
  const auto multiply = [&](std::span<const double> v, std::span<double> product) {
    for (std::size_t i = 0; i < kSize; ++i) product[i] = free[i] ? value(i) * v[i] : 0.0;
  };
  std::vector<double> lowest(kSize);
  const Spectrum whole = Lanczos<double>().extreme_eigenvalues(multiply, free, 100, 1, lowest);
  EXPECT_NEAR(whole.smallest, value(1), 1e-10);
  EXPECT_NEAR(whole.largest, value(kSize - 1), 1e-10);
  EXPECT_NEAR(std::abs(lowest[1]), 1.0, 1e-8);
  EXPECT_LE(whole.products, static_cast<Index>(kSize - 2));
  const Spectrum part = Lanczos<double>().extreme_eigenvalues(multiply, free, 12, 1);
  EXPECT_NEAR(part.smallest, value(1), part.smallest_residual + 1e-12);  // the residual is an honest bound
  EXPECT_EQ(part.products, 12);
  EXPECT_EQ(Lanczos<double>().extreme_eigenvalues(multiply, std::vector<bool>(kSize, false), 5, 1).products, 0);
}

TEST(CriticalPoint, KindsByEigenvaluesAndTheirResiduals) {
  struct Case {
    double smallest, smallest_residual, largest, largest_residual;
    PointKind kind;
  };
  const Case cases[] = {
      {-1.0, 2.0, 3.0, 5.0, PointKind::saddle},  // proven by curvature of both signs
      {0.5, 0.4, 3.0, 9.0, PointKind::minimum},       {0.5, 0.6, 3.0, 0.0, PointKind::undecided},
      {0.0, 1.0e-4, 1.0, 0.0, PointKind::minimum},    {0.0, 1.1e-4, 1.0, 0.0, PointKind::undecided},
      {-3.0, 9.0, -0.5, 0.4, PointKind::maximum},     {-3.0, 9.0, -0.5, 0.6, PointKind::undecided},
      {1e-9, 1e-9, 1e-7, 1e-8, PointKind::plateau},   {1e-9, 1e-3, 1e-7, 1e-8, PointKind::undecided},
      {1e-9, 1e-8, 1e-7, 1e-3, PointKind::undecided}, {NAN, 0.0, 1.0, 0.0, PointKind::undecided},
  };
  for (const Case& c : cases) {
    CriticalPoint point;
    point.smallest_eigenvalue = c.smallest;
    point.smallest_residual = c.smallest_residual;
    point.largest_eigenvalue = c.largest;
    point.largest_residual = c.largest_residual;
    EXPECT_EQ(name_of(kind_of(point)), name_of(c.kind)) << c.smallest << ", " << c.smallest_residual;
    point.gradient_norm = 1.0;
    EXPECT_EQ(name_of(kind_of(point)), "slope");
  }
}

TEST(CriticalPoint, RefusesTolerancesThatAreNone) {
  Problem<double> problem;
  Trainer<double> trainer(problem.model, {.loss = MeanSquaredError{}});
  const Targets<double> y = matrix<const double>(problem.values.data(), kSamples, kOutputs);
  EXPECT_THROW(critical_point(trainer, problem.input(), y, {.gradient_tolerance = -1.0}), ValueError);
  EXPECT_THROW(critical_point(trainer, problem.input(), y, {.iterations = 0}), ValueError);
}

TEST(CriticalPoint, RefusesWhatIsNotFinite) {
  Problem<double> problem;
  Trainer<double> trainer(problem.model, {.loss = MeanSquaredError{}});
  const std::vector<double> values(problem.values.size(), 1e300);
  const Targets<double> far = matrix<const double>(values.data(), kSamples, kOutputs);
  EXPECT_THROW(critical_point(trainer, problem.input(), far), ValueError);
  problem.model.parameter_block()[0] = std::numeric_limits<double>::quiet_NaN();
  const Targets<double> y = matrix<const double>(problem.values.data(), kSamples, kOutputs);
  EXPECT_THROW(critical_point(trainer, problem.input(), y), ValueError);
}

// ---- minimize ----

double rosenbrock(std::span<const double> w, std::span<double> gradient) {
  const double a = w[1] - w[0] * w[0], b = 1.0 - w[0];
  gradient[0] = -400.0 * w[0] * a - 2.0 * b;
  gradient[1] = 200.0 * a;
  return 100.0 * a * a + b * b;
}

TEST(Minimize, RosenbrocksValley) {
  std::vector<double> w = {-1.2, 1.0};
  const std::vector<double> values = minimize(rosenbrock, w, LBFGS{}, 60);
  EXPECT_EQ(values.size(), 60u);
  EXPECT_NEAR(w[0], 1.0, 1e-9);
  EXPECT_NEAR(w[1], 1.0, 1e-9);
  for (std::size_t i = 1; i < values.size(); ++i) EXPECT_LE(values[i], values[i - 1]);
  w = {0.9, 0.8};
  minimize(rosenbrock, w, Adam{.learning_rate = 0.01}, 4000);
  EXPECT_NEAR(w[0], 1.0, 1e-3);
  EXPECT_THROW(minimize(rosenbrock, w, NewtonCG{}, 3), ValueError);
  EXPECT_THROW(minimize(rosenbrock, w, LBFGS{}, 0), ValueError);
}

TEST(Minimize, RefusesAGradientThatIsNotFinite) {
  constexpr double kBad[] = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()};
  for (const Optimizer& optimizer : {Optimizer{LBFGS{}}, Optimizer{SGD{.learning_rate = 0.5}}, Optimizer{Adam{}}}) {
    for (const double bad : kBad) {
      std::vector<double> w = {1.0, 2.0};
      const auto cost = [bad](std::span<const double>, std::span<double> gradient) {
        gradient[0] = bad;
        gradient[1] = 1.0;
        return 1.0;
      };
      EXPECT_THROW(minimize(cost, w, optimizer, 5), NonFiniteLossError);
      EXPECT_EQ(w, (std::vector<double>{1.0, 2.0}));
    }
  }
}

TEST(Minimize, KeepsThePointWhoseGradientIsNotFinite) {
  std::vector<double> w = {0.0};
  int calls = 0;
  const auto cost = [&calls](std::span<const double>, std::span<double> gradient) {
    gradient[0] = ++calls == 4 ? std::numeric_limits<double>::quiet_NaN() : 1.0;
    return 1.0;
  };
  try {
    minimize(cost, w, SGD{.learning_rate = 0.5}, 9);
    ADD_FAILURE() << "no error";
  } catch (const NonFiniteLossError& error) {
    EXPECT_EQ(error.step, 3);
  }
  EXPECT_EQ(w[0], -1.5);
}

TEST(Minimize, AsksWhetherToGoOnThoughLbfgsHasConverged) {
  for (const Optimizer& optimizer : {Optimizer{LBFGS{}}, Optimizer{SGD{}}}) {
    std::vector<double> w = {0.0};
    int asked = 0;
    const auto cost = [](std::span<const double> at, std::span<double> gradient) {
      gradient[0] = 2.0 * at[0] - 10.0;
      return (at[0] - 5.0) * (at[0] - 5.0);
    };
    const auto values = minimize(cost, w, optimizer, 100'000'000, [&] { return ++asked < 3; });
    EXPECT_EQ(asked, 3);
    EXPECT_LT(values.size(), 100'000'000u);
    EXPECT_NEAR(w[0], 5.0, 1e-6);
  }
}

}  // namespace
}  // namespace stoop
