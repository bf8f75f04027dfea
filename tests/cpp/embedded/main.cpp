// Trains, and catches what the library throws, by the library's type and by the standard one, across the border of a
// shared library. Prints "ok".
#include <cstdint>
#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

#include <stoop/stoop.hpp>

namespace {

template <class Error, class Call>
bool throws(const char* what, Call&& call) {
  try {
    call();
  } catch (const Error&) {
    return true;
  } catch (const std::exception& error) {
    std::printf("%s: another type was caught: %s\n", what, error.what());
    return false;
  }
  std::printf("%s: nothing was thrown\n", what);
  return false;
}

// Whoever throws it, a handler for any of `Bases` takes it.
template <class Error, class... Bases, class Call>
bool throws_each(const char* what, Call&& call) {
  return (throws<Error>(what, call) & ... & throws<Bases>(what, call));
}

template <class T>
bool learns() {
  const std::vector<T> x = {0, 0, 0, 1, 1, 0, 1, 1};
  const std::vector<std::int32_t> y = {0, 1, 1, 0};
  stoop::Model<T> model({.input_dim = 2, .layers = {stoop::Dense{16, stoop::Tanh{}}, stoop::Dense{2}}});
  stoop::Trainer<T> trainer(model, {.optimizer = stoop::Adam{.learning_rate = stoop::schedules::Constant{0.02}}});
  const stoop::MatrixView<const T> inputs{x.data(), 4, 2};
  trainer.fit(inputs, y, {.epochs = 300, .batch_size = 4});
  return trainer.evaluate(inputs, y).accuracy == 1.0;
}

bool diverges() {
  const std::vector<float> x(8, 1e30f);
  stoop::Model<float> model({.input_dim = 2, .layers = {stoop::Dense{2}}});
  stoop::Trainer<float> trainer(model, {.loss = stoop::MeanSquaredError{}, .optimizer = stoop::SGD{1e30}});
  const stoop::MatrixView<const float> rows{x.data(), 4, 2};
  return throws_each<stoop::NonFiniteLossError, std::runtime_error>(
      "fit", [&] { trainer.fit(rows, rows, {.epochs = 5, .batch_size = 4}); });
}

}  // namespace

int main() {
  bool good = learns<float>() && learns<double>() && diverges();
  good &= throws_each<stoop::ValueError, std::invalid_argument, std::logic_error>(
      "Model", [] { stoop::Model<float>({.input_dim = 0, .layers = {stoop::Dense{1}}}); });
  good &= throws_each<stoop::TypeError, std::invalid_argument>("throw_type_error",
                                                               [] { stoop::throw_type_error("a", "b", "c", "d"); });
  good &=
      throws_each<stoop::OutOfMemory, std::bad_alloc>("throw_out_of_memory", [] { stoop::throw_out_of_memory(1, 4); });
  good &= throws_each<stoop::CheckpointError, std::runtime_error>(
      "throw_checkpoint_error", [] { stoop::throw_checkpoint_error("a", "b", "c", "d"); });
  good &= throws_each<stoop::FileError, std::system_error>("load",
                                                           [] { stoop::Model<float>::load("no-such.safetensors"); });
  // What this program throws itself is the same type.
  good &= throws_each<stoop::NonFiniteLossError, std::runtime_error>(
      "own", [] { throw stoop::NonFiniteLossError(1, 1, "a test"); });
  std::puts(good ? "ok" : "failed");
  return good ? 0 : 1;
}
