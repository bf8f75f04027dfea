// Predictor gives the bits of Model::predict: for any layers, widths, number of rows and threads, in every call.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include <stoop/predictor.hpp>
#include <stoop/runtime.hpp>

#include "test_helpers.hpp"

namespace stoop {
namespace {

constexpr Index kInputs = 37, kMostRows = 130;

struct Case {
  const char* name;
  std::vector<Layer> layers;
};

std::vector<Case> cases() {
  return {
      {"one output", {Dense{1}}},
      {"narrower than a strip", {Dense{63, ReLU{}}, Dense{5}}},
      {"strips that end with the weight", {Dense{64, Tanh{}}, Dense{128, ReLU{}}, Dense{32}}},
      {"a last strip of one column", {Dense{129, GELU{}}, Dense{65, Sigmoid{}}, Dense{193}}},
      {"enough work for threads", {Dense{512, ReLU{}}, Dense{256, ReLU{}}, Dense{300, ReLU{}}, Dense{10}}},
      {"tried in several places", {Dense{512, ReLU{}}, Dense{512, ReLU{}}, Dense{10}}},
      {"no bias", {Dense{.units = 200, .activation = ReLU{}, .use_bias = false}, Dense{3}}},
      {"normalisations",
       {Dense{150}, BatchNorm{}, Dense{150, ReLU{}}, LayerNorm{}, Dropout{0.5}, Dense{70, Softplus{}}, Dense{4}}},
      {"residual", {Dense{100, ReLU{}}, Residual{{Dense{100, ReLU{}}, Dense{100}}}, Dense{7}}},
      {"members", {Members{.k = 3}, MemberDense{100, ReLU{}}, Dense{70, ReLU{}}, MemberDense{5}}},
  };
}

template <class T>
Model<T> make_model(const std::vector<Layer>& layers) {
  Model<T> model({.input_dim = kInputs, .layers = layers, .seed = 3});
  // Biases and means of zero would not show where they are read.
  const std::vector<T> drawn = numbers<T>(static_cast<Index>(model.parameter_block().size()), 5);
  for (const ParameterInfo& info : model.parameter_infos()) {
    if (info.rank > 1) continue;
    for (Index i = 0; i < info.cols; ++i) model.parameter_block()[static_cast<std::size_t>(info.offset + i)] = drawn[i];
  }
  return model;
}

class Threads {
 public:
  ~Threads() { set_num_threads(before_); }

 private:
  const int before_ = get_num_threads();
};

template <class T>
class Predictors : public testing::Test {
  const Threads restored_{};
};
using ElementTypes = testing::Types<float, double>;
TYPED_TEST_SUITE(Predictors, ElementTypes);

TYPED_TEST(Predictors, GiveTheBitsOfTheModel) {
  using T = TypeParam;
  const std::vector<T> x = numbers<T>(kMostRows * kInputs, 1);
  for (const Case& tried : cases()) {
    const Model<T> model = make_model<T>(tried.layers);
    const Predictor<T> predictor(model);
    const Index outputs = model.output_dim();
    for (const int threads : {1, 2, 3, 8}) {
      set_num_threads(threads);
      for (const Index rows : {Index{1}, Index{2}, Index{7}, Index{8}, Index{9}, kMostRows}) {
        const MatrixView<const T> view = matrix(x.data(), rows, kInputs);
        std::vector<T> expected(static_cast<std::size_t>(rows * outputs));
        model.predict(view, matrix(expected.data(), rows, outputs));
        // Calls one after the other find a team awake, and every second one reads the strips backwards.
        for (int call = 0; call < 4; ++call) {
          std::vector<T> out(expected.size(), T(7));
          predictor.predict(view, matrix(out.data(), rows, outputs));
          EXPECT_TRUE(same_bits<T>(out, expected))
              << tried.name << ", " << rows << " rows, " << threads << " threads, call " << call;
        }
      }
    }
  }
}

// The places that are tried lie over each other, and any of them may win.
TYPED_TEST(Predictors, GiveTheBitsInWhateverPlaceIsFastest) {
  using T = TypeParam;
  const std::vector<T> x = numbers<T>(kInputs, 1);
  const Model<T> model = make_model<T>({Dense{512, ReLU{}}, Dense{512, ReLU{}}, Dense{10}});
  std::vector<T> expected(10), out(10);
  model.predict(matrix(x.data(), 1, kInputs), matrix(expected.data(), 1, 10));
  for (int made = 0; made < 12; ++made) {
    const Predictor<T> predictor(model);
    predictor.predict(matrix(x.data(), 1, kInputs), matrix(out.data(), 1, 10));
    EXPECT_TRUE(same_bits<T>(out, expected)) << made;
  }
}

TYPED_TEST(Predictors, KeepTheModelAsItWas) {
  using T = TypeParam;
  Model<T> model = make_model<T>({Dense{100, ReLU{}}, Dense{3}});
  const std::vector<T> x = numbers<T>(kInputs, 1);
  const Predictor<T> predictor(model);
  std::vector<T> before(3), after(3);
  model.predict(matrix(x.data(), Index{1}, kInputs), matrix(before.data(), Index{1}, Index{3}));
  for (T& value : model.parameter_block()) value = T(0);
  predictor.predict(matrix(x.data(), Index{1}, kInputs), matrix(after.data(), Index{1}, Index{3}));
  EXPECT_EQ(before, after);
  EXPECT_EQ(predictor.model().num_parameters(), model.num_parameters());
}

TYPED_TEST(Predictors, ConvertTheInput) {
  using T = TypeParam;
  const Model<T> model({.input_dim = kInputs, .layers = {Dense{100, ReLU{}}, Dense{3}}, .input_scale = 1.0 / 255});
  const Predictor<T> predictor(model);
  std::vector<std::uint8_t> bytes(kInputs * 3);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 7);
  const InputView x = matrix(static_cast<const std::uint8_t*>(bytes.data()), Index{3}, kInputs);
  std::vector<T> expected(9), out(9);
  model.predict(x, matrix(expected.data(), Index{3}, Index{3}));
  predictor.predict(x, matrix(out.data(), Index{3}, Index{3}));
  EXPECT_EQ(expected, out);
}

TYPED_TEST(Predictors, ServeSeveralThreads) {
  using T = TypeParam;
  const Model<T> model = make_model<T>({Dense{512, ReLU{}}, Dense{256, ReLU{}}, Dense{10}});
  const Predictor<T> predictor(model);
  const std::vector<T> x = numbers<T>(kInputs, 1);
  std::vector<T> expected(10);
  model.predict(matrix(x.data(), Index{1}, kInputs), matrix(expected.data(), Index{1}, Index{10}));
  std::vector<int> wrong(3, 0);
  std::vector<std::thread> threads;
  for (int& mine : wrong) {
    threads.emplace_back([&] {
      for (int call = 0; call < 200; ++call) {
        std::vector<T> out(10);
        predictor.predict(matrix(x.data(), Index{1}, kInputs), matrix(out.data(), Index{1}, Index{10}));
        mine += !same_bits<T>(out, expected);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(3, 0));
}

TYPED_TEST(Predictors, NameTheirCallInErrors) {
  using T = TypeParam;
  const Predictor<T> predictor(make_model<T>({Dense{3}}));
  const std::vector<T> x = numbers<T>(kInputs, 1);
  std::vector<T> out(3);
  try {
    predictor.predict(matrix(x.data(), Index{1}, kInputs - 1), matrix(out.data(), Index{1}, Index{3}));
    FAIL() << "it took a row that is too short";
  } catch (const ValueError& error) {
    EXPECT_NE(std::string(error.what()).find("[Predictor.predict]"), std::string::npos) << error.what();
  }
  EXPECT_NO_THROW(predictor.predict(matrix(x.data(), Index{0}, kInputs), matrix(out.data(), Index{0}, Index{3})));
}

}  // namespace
}  // namespace stoop
