// A view whose stride is left 0 has contiguous rows, in every call that takes a view.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include <stoop/stoop.hpp>

#include "test_helpers.hpp"

namespace stoop {
namespace {

constexpr Index kRows = 12, kInputs = 5, kOutputs = 3;

template <class T>
class Views : public ::testing::Test {
 protected:
  // The two ways to say the same; the second is what each test compares the first with.
  template <class Element>
  static MatrixView<const Element> bare(const std::vector<Element>& values, Index cols) {
    return {values.data(), static_cast<Index>(values.size()) / cols, cols};
  }
  template <class Element>
  static MatrixView<const Element> whole(const std::vector<Element>& values, Index cols) {
    return matrix(values.data(), static_cast<Index>(values.size()) / cols, cols);
  }

  static Model<T> model() { return Model<T>({.input_dim = kInputs, .layers = {Dense{4, Tanh{}}, Dense{kOutputs}}}); }
  static TrainerConfig config(const Loss& loss = MeanSquaredError{}) { return {.loss = loss, .optimizer = SGD{}}; }

  std::vector<T> x = numbers<T>(kRows * kInputs, 1), y = numbers<T>(kRows * kOutputs, 2);
  std::vector<T> other_x = numbers<T>(kRows * kInputs, 3), other_y = numbers<T>(kRows * kOutputs, 4);
};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Views, ElementTypes);

TYPED_TEST(Views, PredictReadsAndWrites) {
  const auto model = this->model();
  std::vector<TypeParam> expected(kRows * kOutputs), got(kRows * kOutputs);
  model.predict(this->whole(this->x, kInputs), matrix(expected.data(), kRows, kOutputs));
  model.predict(this->bare(this->x, kInputs), MatrixView<TypeParam>{got.data(), kRows, kOutputs});
  EXPECT_EQ(got, expected);
}

TYPED_TEST(Views, Fit) {
  auto left = this->model(), right = this->model();
  Trainer<TypeParam> with_bare(left, this->config()), with_whole(right, this->config());
  const History got = with_bare.fit(this->bare(this->x, kInputs), this->bare(this->y, kOutputs),
                                    {.epochs = 2,
                                     .batch_size = 5,
                                     .validation_x = this->bare(this->other_x, kInputs),
                                     .validation_y = this->bare(this->other_y, kOutputs)});
  const History expected = with_whole.fit(this->whole(this->x, kInputs), this->whole(this->y, kOutputs),
                                          {.epochs = 2,
                                           .batch_size = 5,
                                           .validation_x = this->whole(this->other_x, kInputs),
                                           .validation_y = this->whole(this->other_y, kOutputs)});
  EXPECT_EQ(got.loss, expected.loss);
  EXPECT_EQ(got.val_loss, expected.val_loss);
  EXPECT_EQ(parameters_of(left), parameters_of(right));
}

TYPED_TEST(Views, FitOfTheFullBatch) {
  auto left = this->model(), right = this->model();
  const TrainerConfig config{.loss = MeanSquaredError{}, .optimizer = LBFGS{}};
  Trainer<TypeParam> with_bare(left, config), with_whole(right, config);
  with_bare.fit(this->bare(this->x, kInputs), this->bare(this->y, kOutputs), {.epochs = 3, .batch_size = kRows});
  with_whole.fit(this->whole(this->x, kInputs), this->whole(this->y, kOutputs), {.epochs = 3, .batch_size = kRows});
  EXPECT_EQ(parameters_of(left), parameters_of(right));
}

TYPED_TEST(Views, Step) {
  auto left = this->model(), right = this->model();
  Trainer<TypeParam> with_bare(left, this->config()), with_whole(right, this->config());
  EXPECT_EQ(with_bare.step(this->bare(this->x, kInputs), this->bare(this->y, kOutputs)),
            with_whole.step(this->whole(this->x, kInputs), this->whole(this->y, kOutputs)));
  EXPECT_EQ(parameters_of(left), parameters_of(right));
}

TYPED_TEST(Views, GradientAndHessian) {
  auto model = this->model();
  Trainer<TypeParam> trainer(model, this->config());
  const std::size_t size = model.parameter_block().size();
  const auto direction = numbers<TypeParam>(static_cast<Index>(size), 7);
  std::vector<TypeParam> got(size), expected(size), got_product(size), expected_product(size);
  EXPECT_EQ(trainer.loss_and_grad(this->bare(this->x, kInputs), this->bare(this->y, kOutputs), got),
            trainer.loss_and_grad(this->whole(this->x, kInputs), this->whole(this->y, kOutputs), expected));
  EXPECT_EQ(got, expected);
  trainer.hessian_vector_product(this->bare(this->x, kInputs), this->bare(this->y, kOutputs), direction, got_product);
  trainer.hessian_vector_product(this->whole(this->x, kInputs), this->whole(this->y, kOutputs), direction,
                                 expected_product);
  EXPECT_EQ(got_product, expected_product);
}

// Rows of probabilities are read by a check of their own.
TYPED_TEST(Views, EvaluateProbabilities) {
  auto model = this->model();
  std::vector<TypeParam> rows(kRows * kOutputs, TypeParam(0));
  for (Index i = 0; i < kRows; ++i) rows[static_cast<std::size_t>(i * kOutputs + i % kOutputs)] = TypeParam(1);
  for (const Loss& loss : {Loss(SoftmaxCrossEntropy{}), Loss(BinaryCrossEntropy{})}) {
    Trainer<TypeParam> trainer(model, this->config(loss));
    const Metrics got = trainer.evaluate(this->bare(this->x, kInputs), this->bare(rows, kOutputs));
    const Metrics expected = trainer.evaluate(this->whole(this->x, kInputs), this->whole(rows, kOutputs));
    EXPECT_EQ(got.loss, expected.loss);
    EXPECT_EQ(got.accuracy, expected.accuracy);
  }
}

TYPED_TEST(Views, CriticalPoint) {
  auto model = this->model();
  Trainer<TypeParam> trainer(model, this->config());
  const CriticalPoint got =
      critical_point<TypeParam>(trainer, this->bare(this->x, kInputs), this->bare(this->y, kOutputs));
  const CriticalPoint expected =
      critical_point<TypeParam>(trainer, this->whole(this->x, kInputs), this->whole(this->y, kOutputs));
  EXPECT_EQ(got.loss, expected.loss);
  EXPECT_EQ(got.largest_eigenvalue, expected.largest_eigenvalue);
}

// Bytes and the other floats, and a stride set to 0 in the view itself.
TYPED_TEST(Views, InputOfEveryType) {
  const auto model = this->model();
  const auto expect_same = [&](InputView got, const InputView& expected) {
    std::vector<TypeParam> left(kRows * kOutputs), right(kRows * kOutputs);
    model.predict(expected, matrix(right.data(), kRows, kOutputs));
    for (const bool mapped : {false, true}) {
      got.mapped = mapped;
      model.predict(got, matrix(left.data(), kRows, kOutputs));
      EXPECT_EQ(left, right);
      got.stride = 0;
      model.predict(got, matrix(left.data(), kRows, kOutputs));
      EXPECT_EQ(left, right);
    }
  };
  std::vector<std::uint8_t> bytes(kRows * kInputs);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 37);
  expect_same({bytes.data(), kRows, kInputs, 0}, this->whole(bytes, kInputs));
  expect_same(this->bare(bytes, kInputs), this->whole(bytes, kInputs));
  const auto floats = numbers<float>(kRows * kInputs, 5);
  expect_same({floats.data(), kRows, kInputs, 0}, this->whole(floats, kInputs));
  const auto doubles = numbers<double>(kRows * kInputs, 6);
  expect_same({doubles.data(), kRows, kInputs, 0}, this->whole(doubles, kInputs));
}

// A mapped matrix takes the way of the read-ahead.
TYPED_TEST(Views, FitOfAMappedMatrix) {
  auto left = this->model(), right = this->model();
  Trainer<TypeParam> with_bare(left, this->config()), with_whole(right, this->config());
  InputView got = this->bare(this->x, kInputs), expected = this->whole(this->x, kInputs);
  got.mapped = expected.mapped = true;
  got.stride = 0;
  with_bare.fit(got, this->bare(this->y, kOutputs), {.epochs = 2, .batch_size = 4});
  with_whole.fit(expected, this->whole(this->y, kOutputs), {.epochs = 2, .batch_size = 4});
  EXPECT_EQ(parameters_of(left), parameters_of(right));
}

TEST(ViewsOfDouble, Gradcheck) {
  const Model<double> model({.input_dim = kInputs, .layers = {Dense{4, Tanh{}}, Dense{kOutputs}}});
  const auto x = numbers<double>(kRows * kInputs, 1), y = numbers<double>(kRows * kOutputs, 2);
  const GradcheckResult result =
      gradcheck(model, MeanSquaredError{}, MatrixView<const double>{x.data(), kRows, kInputs},
                MatrixView<const double>{y.data(), kRows, kOutputs});
  EXPECT_TRUE(result.passed) << result.relative_error;
}

template <class Call>
std::string message_of(Call&& call) {
  try {
    call();
  } catch (const ValueError& error) {
    return error.what();
  }
  return "no error";
}

// What is wrong is the stride, and the message says so.
TEST(ViewsOfDouble, AStrideBelowTheColumnsIsNamed) {
  Model<double> model({.input_dim = kInputs, .layers = {Dense{kOutputs}}});
  Trainer<double> trainer(model, {.loss = MeanSquaredError{}, .optimizer = SGD{}});
  auto x = numbers<double>(kRows * kInputs, 1), y = numbers<double>(kRows * kOutputs, 2);
  const MatrixView<const double> good_x = matrix(std::as_const(x).data(), kRows, kInputs);
  const MatrixView<const double> good_y = matrix(std::as_const(y).data(), kRows, kOutputs);
  for (const Index stride : {Index{2}, Index{-kInputs}}) {
    const MatrixView<const double> bad_x{x.data(), kRows, kInputs, stride};
    const MatrixView<const double> bad_y{y.data(), kRows, kOutputs, stride};
    const std::string number = "stride " + std::to_string(stride);
    EXPECT_NE(message_of([&] { trainer.step(bad_x, good_y); }).find("X has 5 columns and " + number),
              std::string::npos);
    EXPECT_NE(message_of([&] { trainer.step(good_x, bad_y); }).find("y has 3 columns and " + number),
              std::string::npos);
    EXPECT_NE(message_of([&] {
                model.predict(good_x, {y.data(), kRows, kOutputs, stride});
              }).find("out has 3 columns and " + number),
              std::string::npos);
  }
}

}  // namespace
}  // namespace stoop
