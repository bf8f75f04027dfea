// Trains on a table with numbers, a category and gaps, saves the network, loads it and predicts with it. The layer Columns
// encodes the columns of X, Members makes sixteen networks that predict together, and the file has all of it: a loaded
// model takes the same raw rows.
//   c++ -std=c++20 tables.cpp $(pkg-config --static --cflags --libs stoop) -o tables && ./tables rents.safetensors
#include <stoop/stoop.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

namespace {

constexpr stoop::Index kColumns = 3;  // size in square metres, age in years (may be missing), code of the district

struct Table {
  std::vector<float> x;  // (rows, kColumns)
  std::vector<float> y;  // (rows, 1): rent in hundreds
  stoop::Index rows = 0;
};

Table make_table(stoop::Index rows, std::uint32_t seed) {
  std::mt19937 source(seed);
  const auto uniform = [&source] { return static_cast<float>(source() >> 8) * 0x1p-24f; };
  constexpr float per_district[] = {1.0f, 1.4f, 0.8f, 2.0f};
  Table table{.x = {}, .y = {}, .rows = rows};
  for (stoop::Index row = 0; row < rows; ++row) {
    const float size = 20.0f + 100.0f * uniform(), age = 120.0f * uniform();
    const auto district = static_cast<std::size_t>(4.0f * uniform());
    const bool age_is_known = uniform() > 0.2f;
    table.x.insert(table.x.end(),
                   {size, age_is_known ? age : std::numeric_limits<float>::quiet_NaN(), static_cast<float>(district)});
    table.y.push_back(0.1f * size * per_district[district] * (age > 60.0f ? 0.8f : 1.0f) + uniform());
  }
  return table;
}

double error_of(const stoop::Model<float>& model, const Table& table) {
  std::vector<float> out(table.y.size());
  model.predict(stoop::matrix(table.x.data(), table.rows, kColumns), stoop::matrix(out.data(), table.rows, 1));
  double sum = 0.0;
  for (std::size_t i = 0; i < out.size(); ++i) sum += std::abs(static_cast<double>(out[i] - table.y[i]));
  return sum / static_cast<double>(table.rows);
}

}  // namespace

int main(int argc, char** argv) {
  const char* path = argc > 1 ? argv[1] : "rents.safetensors";
  const Table training = make_table(4000, 1), test = make_table(1000, 2);

  stoop::Model<float> model(
      {.input_dim = kColumns,
       .layers = {stoop::Columns{.categories = {{2, 4}}}, stoop::Members{.k = 16},
                  stoop::Dense{.units = 64, .activation = stoop::ReLU{}}, stoop::MemberDense{.units = 1}}});
  stoop::Trainer<float> trainer(model,
                                {.loss = stoop::MeanSquaredError{}, .optimizer = stoop::AdamW{.learning_rate = 2e-3}});
  trainer.fit(stoop::matrix(training.x.data(), training.rows, kColumns),
              stoop::matrix(training.y.data(), training.rows, 1), {.epochs = 40, .batch_size = 128});
  const double error = error_of(model, test);
  model.save(path);

  const double again = error_of(stoop::Model<float>::load(path), test);
  std::printf("mean error %.2f hundred, of the loaded model %.2f\n", error, again);
  return error == again && error < 1.0 ? 0 : 1;
}
