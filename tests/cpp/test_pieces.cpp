// An update in pieces from C++: the bits of `step` for any number of threads, views with strides, and what is refused. tests/python/test_pieces.py has the rest.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "plan_of.hpp"
#include "test_helpers.hpp"

namespace stoop {
namespace {

template <class T>
class Pieces : public ::testing::Test {
 protected:
  static constexpr Index kRows = 32, kInputs = 6, kOutputs = 4;

  static Model<T> model() {
    return Model<T>({.input_dim = kInputs,
                     .layers = {Dense{24, Tanh{}}, BatchNorm{}, ReLU{}, Dropout{.rate = 0.3},
                                Residual{{Dense{24}, LayerNorm{}, GELU{}}}, Dense{kOutputs}}});
  }

  // The gradient of the mean squared error. The divisor is a power of two, so that no element rounds otherwise than in `step`.
  std::vector<T> slope(const std::vector<T>& out) const {
    std::vector<T> grad(out.size());
    const T scale = T(2) / static_cast<T>(out.size());
    for (std::size_t i = 0; i < out.size(); ++i) grad[i] = (out[i] - samples_.values[i]) * scale;
    return grad;
  }

  void update(Trainer<T>& trainer) const {
    std::vector<T> out(kRows * kOutputs);
    trainer.forward(samples_.x(), matrix(out.data(), kRows, kOutputs));
    const std::vector<T> grad = slope(out);
    trainer.backward(matrix(grad.data(), kRows, kOutputs));
    trainer.apply();
  }

  const Samples<T> samples_{kRows, kInputs, kOutputs};
};
using ElementTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Pieces, ElementTypes);

TYPED_TEST(Pieces, ComeToTheBitsOfAStep) {
  using T = TypeParam;
  for (const int threads : {1, 2, 3}) {
    const TrainerConfig config{
        .loss = MeanSquaredError{}, .l2 = 0.01, .clip_norm = 0.1, .ema = 0.9, .num_threads = threads};
    Model<T> whole = this->model(), parts = this->model();
    Trainer<T> a(whole, config), b(parts, config);
    for (int i = 0; i < 3; ++i) {
      a.step(this->samples_.x(), this->samples_.y(config.loss));
      this->update(b);
    }
    EXPECT_TRUE(same_bits<T>(whole.parameter_block(), parts.parameter_block())) << threads;
    EXPECT_TRUE(same_bits<T>(whole.buffer_block(), parts.buffer_block())) << threads;
    EXPECT_TRUE(same_bits<T>(a.ema_block(), b.ema_block())) << threads;
    EXPECT_EQ(a.steps(), b.steps());
  }
}

// Rows that are apart, of samples, outputs, and both gradients.
TYPED_TEST(Pieces, TakeViewsWithStrides) {
  using T = TypeParam;
  constexpr Index kApart = 11;
  Model<T> model = this->model();
  Trainer<T> trainer(model, {.loss = MeanSquaredError{}});
  const Index rows = this->kRows;
  std::vector<T> x(static_cast<std::size_t>(rows * kApart)), out(x.size(), T(7)), dx(x.size(), T(7));
  for (Index i = 0; i < rows; ++i) {
    std::copy_n(this->samples_.features.data() + i * this->kInputs, this->kInputs, x.data() + i * kApart);
  }
  std::vector<T> dense_out(rows * this->kOutputs), dense_dx(rows * this->kInputs);
  trainer.forward(this->samples_.x(), matrix(dense_out.data(), rows, this->kOutputs));
  trainer.backward(matrix<const T>(dense_out.data(), rows, this->kOutputs),
                   matrix(dense_dx.data(), rows, this->kInputs));
  const std::vector<T> gradient(trainer.gradient_block().begin(), trainer.gradient_block().end());
  trainer.zero_grad();
  trainer.forward(MatrixView<const T>{x.data(), rows, this->kInputs, kApart},
                  MatrixView<T>{out.data(), rows, this->kOutputs, kApart});
  trainer.backward(MatrixView<const T>{out.data(), rows, this->kOutputs, kApart},
                   MatrixView<T>{dx.data(), rows, this->kInputs, kApart});
  EXPECT_TRUE(same_bits<T>(trainer.gradient_block(), gradient));
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < kApart; ++j) {
      const auto place = static_cast<std::size_t>(i * kApart + j);
      const auto of = [&](const std::vector<T>& dense, Index cols) {
        return j < cols ? dense[static_cast<std::size_t>(i * cols + j)] : T(7);
      };
      ASSERT_EQ(out[place], of(dense_out, this->kOutputs));
      ASSERT_EQ(dx[place], of(dense_dx, this->kInputs));
    }
  }
}

TYPED_TEST(Pieces, RefuseWhatDoesNotFit) {
  using T = TypeParam;
  Model<T> model = this->model();
  Trainer<T> trainer(model, {.loss = MeanSquaredError{}});
  std::vector<T> memory(this->kRows * 10);
  const auto view = [&](Index rows, Index cols) { return matrix(memory.data(), rows, cols); };
  EXPECT_THROW(trainer.forward(this->samples_.x(), view(this->kRows, 3)), ValueError);
  EXPECT_THROW(trainer.forward(this->samples_.x(), view(this->kRows - 1, 4)), ValueError);
  EXPECT_THROW(trainer.backward(view(this->kRows, 4)), ValueError);
  trainer.forward(this->samples_.x(), view(this->kRows, 4));
  EXPECT_THROW(trainer.backward(view(this->kRows - 1, 4)), ValueError);
  EXPECT_THROW(trainer.backward(view(this->kRows, 4), view(this->kRows, 5)), ValueError);
  memory[5] = std::numeric_limits<T>::infinity();
  EXPECT_THROW(trainer.backward(view(this->kRows, 4)), NonFiniteLossError);
  memory[5] = T(0);
  trainer.backward(view(this->kRows, 4));
  trainer.set_state(trainer.state());
  EXPECT_THROW(trainer.apply(), ValueError);  // a state has no gradient
  trainer.forward(this->samples_.x(), view(this->kRows, 4));
  model = this->model();  // in the place of the one that forward used
  EXPECT_THROW(trainer.backward(view(this->kRows, 4)), ValueError);
}

TEST(PiecesOfAPlan, AsText) {
  const Model<float> model({.input_dim = 2, .layers = {Dense{16, Tanh{}}, BatchNorm{}, Dense{3}}});
  const auto steps_of = [&](PlanKind kind) {
    const std::string text = describe(plan_of(model, kind, kind_of<MeanSquaredError>(), 20));
    return text.substr(text.find("\n", text.rfind("alive") == std::string::npos ? 0 : text.rfind("alive")) + 1);
  };
  EXPECT_EQ(steps_of(PlanKind::pieces), R"(  gather - -> x
  dense x -> h1 2x16 tanh
+ batch_moments h1 -> - 16x16
= batch_norm h1 -> h3 16x16
  dense h3 -> h4 16x3
  give_outputs h4 -> -
= check_statistics
  update_statistics - -> - 16x16 by 16/16
  gather_gradient - -> d_out4
  input_gradient d_out4 -> d3 16x3
+ batch_sums h1 -> - with d3 16x16
= batch_norm_gradient h1 -> d3 16x16
  activation_gradient - -> d3 with h1 2x16 tanh
  input_gradient d3 -> d0 2x16
  give_input_gradient d0 -> -
= weight_gradient d_out4 -> - with h3 16x3 by 4/16
  bias_gradient d_out4 -> - 16x3 by 3/3
  stored_gradient sums3 -> - 16x16 by 16/16
  stored_gradient sums3 -> - 16x16 by 16/16
  weight_gradient d3 -> - with x 2x16 by 2/2
  bias_gradient d3 -> - 2x16 by 16/16
)");
  EXPECT_EQ(steps_of(PlanKind::apply), R"(  regularize_parameter - -> - 16x3 by 4/16 then regularize
  regularize_parameter - -> - 16x3 by 3/3 then regularize
  regularize_parameter - -> - 16x16 by 16/16 then regularize
  regularize_parameter - -> - 16x16 by 16/16 then regularize
  regularize_parameter - -> - 2x16 by 2/2 then regularize
  regularize_parameter - -> - 2x16 by 16/16 then regularize
= check_gradient
  update_parameter - -> - 16x3 by 4/16 then update
  update_parameter - -> - 16x3 by 3/3 then update
  update_parameter - -> - 16x16 by 16/16 then update
  update_parameter - -> - 16x16 by 16/16 then update
  update_parameter - -> - 2x16 by 2/2 then update
  update_parameter - -> - 2x16 by 16/16 then update
)");
}

}  // namespace
}  // namespace stoop
