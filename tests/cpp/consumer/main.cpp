// Uses stoop as an application would: through the installed headers and library alone.
//   consumer                                     trains XOR and a digits-like set, saves, loads, predicts, compares
//   consumer check-model MODEL IO.csv [exactly]  loads a model and compares its outputs with those in the file
//   consumer write-model MODEL IO.csv            trains and saves a model and writes inputs with its outputs
// IO.csv: a line `rows,inputs,outputs`, then per row the inputs and the outputs. The exit status is 1 on any failure.
#include <stoop/stoop.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using stoop::Index;

constexpr double kTolerance = 1e-6;

// A row-major matrix that owns its elements.
template <class T>
struct Matrix {
  Matrix(Index row_count, Index col_count)
      : rows(row_count), cols(col_count), data(static_cast<std::size_t>(row_count * col_count)) {}
  stoop::MatrixView<const T> view() const { return stoop::matrix(data.data(), rows, cols); }
  stoop::MatrixView<T> writable_view() { return stoop::matrix(data.data(), rows, cols); }
  T& at(Index row, Index col) { return data[static_cast<std::size_t>(row * cols + col)]; }
  const T& at(Index row, Index col) const { return data[static_cast<std::size_t>(row * cols + col)]; }

  Index rows, cols;
  std::vector<T> data;
};

void require(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error("failed: " + what);
}

template <class T>
Matrix<T> predict(const stoop::Model<T>& model, const Matrix<T>& x) {
  Matrix<T> out(x.rows, model.output_dim());
  model.predict(x.view(), out.writable_view());
  return out;
}

template <class T>
double largest_difference(const Matrix<T>& a, const Matrix<T>& b) {
  require(a.rows == b.rows && a.cols == b.cols, "outputs have the same shape");
  double largest = 0.0;
  for (std::size_t i = 0; i < a.data.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a.data[i]) - static_cast<double>(b.data[i]));
    // A NaN must not compare as small.
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, difference / std::max(1.0, std::abs(static_cast<double>(b.data[i]))));
  }
  return largest;
}

// Saves, loads, and compares the bits of the predictions.
template <class T>
void check_round_trip(const stoop::Model<T>& model, const Matrix<T>& x) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("stoop_consumer_" + std::to_string(std::random_device{}()) + ".safetensors");
  model.save(path);
  const auto again = stoop::Model<T>::load(path);
  const bool same_dtype = stoop::file_dtype(path) == stoop::kDType<T>;
  std::filesystem::remove(path);
  require(same_dtype, "the file says which element type it holds");
  require(predict(model, x).data == predict(again, x).data, "a loaded model predicts the same bits");
}

void train_xor() {
  Matrix<double> x(4, 2);
  x.data = {0, 0, 0, 1, 1, 0, 1, 1};
  Matrix<double> y(4, 1);
  y.data = {0, 1, 1, 0};
  stoop::Model<double> model({.input_dim = 2, .layers = {stoop::Dense{16, stoop::Tanh{}}, stoop::Dense{1}}, .seed = 1});
  stoop::Trainer<double> trainer(model,
                                 {.loss = stoop::MeanSquaredError{}, .optimizer = stoop::Adam{.learning_rate = 0.02}});
  const stoop::History history = trainer.fit(x.view(), y.view(), {.epochs = 2000, .batch_size = 4});
  const Matrix<double> out = predict(model, x);
  std::printf("xor: loss %.2e -> %.2e, outputs %.3f %.3f %.3f %.3f\n", history.loss.front(), history.loss.back(),
              out.data[0], out.data[1], out.data[2], out.data[3]);
  require(trainer.epoch() == 2000 && trainer.steps() == 2000, "one update per epoch of one batch");
  require(largest_difference(out, y) < 0.05, "xor is learned");
  check_round_trip(model, x);
}

struct Digits {
  Matrix<float> x;
  std::vector<std::int32_t> y;
};

// Ten random 8 x 8 patterns with noise on top: as separable as written digits, without a file.
Digits make_digits(Index rows, std::uint32_t seed) {
  std::mt19937 patterns(7), rng(seed);
  const auto uniform = [](std::mt19937& source) { return static_cast<float>(source() >> 8) * 0x1p-24f; };
  Matrix<float> pattern(10, 64);
  for (float& value : pattern.data) value = uniform(patterns) < 0.5f ? 0.0f : 1.0f;
  Digits digits{Matrix<float>(rows, 64), std::vector<std::int32_t>(static_cast<std::size_t>(rows))};
  for (Index i = 0; i < rows; ++i) {
    const auto digit = static_cast<std::int32_t>(rng() % 10);
    digits.y[static_cast<std::size_t>(i)] = digit;
    for (Index j = 0; j < 64; ++j) digits.x.at(i, j) = pattern.at(digit, j) + 1.5f * (uniform(rng) - 0.5f);
  }
  return digits;
}

stoop::Model<float> train_digits() {
  const Digits train = make_digits(1500, 1);
  Digits test = make_digits(300, 2);
  stoop::Model<float> model(
      {.input_dim = 64,
       .layers = {stoop::Dense{48}, stoop::ReLU{}, stoop::Dense{32, stoop::LeakyReLU{0.1}}, stoop::Dense{10}},
       .seed = 3});
  stoop::Trainer<float> trainer(model, {.loss = stoop::SoftmaxCrossEntropy{},
                                        .optimizer = stoop::SGD{.learning_rate = 0.05, .momentum = 0.9},
                                        .l2 = 1e-4});
  const stoop::History history = trainer.fit(
      train.x.view(), train.y, {.epochs = 8, .batch_size = 64, .validation_x = test.x.view(), .validation_y = test.y});
  const stoop::Metrics metrics = trainer.evaluate(test.x.writable_view(), test.y);  // what may be written may be read
  std::printf("digits: loss %.3f -> %.3f, test accuracy %.3f\n", history.loss.front(), history.loss.back(),
              metrics.accuracy);
  require(history.loss.size() == 8 && history.val_accuracy.size() == 8, "one value per epoch");
  require(history.loss.back() < 0.3 * history.loss.front(), "the loss falls");
  require(metrics.accuracy >= 0.97, "the digits are learned");
  check_round_trip(model, test.x);
  return model;
}

void check_errors() {
  try {
    stoop::Model<float> model({.input_dim = 0, .layers = {stoop::Dense{1}}});
  } catch (const stoop::ValueError&) {
    return;
  }
  require(false, "a model without inputs is refused");
}

template <class T>
void check_model(const std::filesystem::path& model_path, const std::filesystem::path& io_path, double tolerance) {
  std::ifstream file(io_path);
  Index rows = 0, inputs = 0, outputs = 0;
  char comma = 0;
  file >> rows >> comma >> inputs >> comma >> outputs;
  require(file.good() && rows > 0, "the first line of " + io_path.string() + " is rows,inputs,outputs");
  Matrix<T> x(rows, inputs), expected(rows, outputs);
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < inputs + outputs; ++j) {
      if (j > 0) file >> comma;
      file >> (j < inputs ? x.at(i, j) : expected.at(i, j - inputs));
    }
  }
  require(!file.fail(), "the numbers of " + io_path.string() + " can be read");
  const auto model = stoop::Model<T>::load(model_path);
  require(model.input_dim() == inputs && model.output_dim() == outputs, "the model has the columns of the file");
  const double difference = largest_difference(predict(model, x), expected);
  std::printf("%s: %lld parameters, largest difference %.1e\n", model_path.filename().c_str(),
              static_cast<long long>(model.num_parameters()), difference);
  require(difference <= tolerance, tolerance == 0.0 ? "outputs are the same" : "outputs agree within 1e-6");
}

void write_model(const std::filesystem::path& model_path, const std::filesystem::path& io_path) {
  const auto model = train_digits();
  const Digits digits = make_digits(20, 4);
  model.save(model_path);
  const Matrix<float> out = predict(model, digits.x);
  std::ofstream file(io_path);
  file.precision(std::numeric_limits<float>::max_digits10);
  file << out.rows << ',' << digits.x.cols << ',' << out.cols << '\n';
  for (Index i = 0; i < out.rows; ++i) {
    for (Index j = 0; j < digits.x.cols; ++j) file << digits.x.at(i, j) << ',';
    for (Index j = 0; j < out.cols; ++j) file << out.at(i, j) << (j + 1 < out.cols ? ',' : '\n');
  }
  require(file.flush().good(), io_path.string() + " is written");
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (argc == 1) {
    const stoop::BuildInfo info = stoop::build_info();
    std::printf("stoop %s (%s), %s, %d threads\n", info.version.c_str(), info.compiler.c_str(),
                stoop::active_isa().c_str(), stoop::get_num_threads());
    train_xor();
    train_digits();
    check_errors();
  } else if ((argc == 4 || (argc == 5 && argv[4] == std::string_view("exactly"))) && command == "check-model") {
    const double tolerance = argc == 5 ? 0.0 : kTolerance;
    if (stoop::file_dtype(argv[2]) == stoop::DType::float32) {
      check_model<float>(argv[2], argv[3], tolerance);
    } else {
      check_model<double>(argv[2], argv[3], tolerance);
    }
  } else if (argc == 4 && command == "write-model") {
    write_model(argv[2], argv[3]);
  } else {
    std::fprintf(stderr, "usage: consumer [check-model MODEL IO.csv [exactly] | write-model MODEL IO.csv]\n");
    return 2;
  }
  std::puts("ok");
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
