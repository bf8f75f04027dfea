// Checkpoints: a trainer that takes one up must make an update. The checksum is set right first, since a file that somebody
// makes on purpose has a right one.
#include <algorithm>
#include <cstring>
#include <string>

#include <stoop/error.hpp>
#include <stoop/trainer.hpp>

#include "fuzz.hpp"
#include "io/safetensors.hpp"

namespace {

using namespace stoop;

constexpr std::string_view kSum = "crc32:";

std::vector<uint8_t> with_right_sum(fuzz::Bytes data) {
  std::vector<uint8_t> bytes(data.begin(), data.end());
  const fuzz::MemoryFile written(data);
  try {
    TensorFile(written.path()).check_sum();
  } catch (const CheckpointError& error) {  // its message holds the right one, then the one that is stated
    const std::string_view message = error.what();
    const std::size_t right = message.find(kSum);
    const auto stated = std::search(bytes.begin(), bytes.end(), kSum.begin(), kSum.end());
    const auto length = static_cast<std::ptrdiff_t>(kSum.size() + 8);
    if (right != std::string_view::npos && bytes.end() - stated >= length) {
      std::copy_n(message.begin() + static_cast<std::ptrdiff_t>(right), length, stated);
    }
  }
  return bytes;
}

template <class T>
void train(Trainer<T>& trainer, const Model<T>& model, const Loss& loss) {
  constexpr Index kRows = 4;
  const std::vector<T> x = fuzz::some_rows<T>(kRows, model.input_dim());
  const Index columns = target_columns(kind_of(loss), model.output_dim());
  const std::vector<T> values(static_cast<std::size_t>(kRows * columns), T(0));
  const std::vector<std::int32_t> classes(kRows, 0);
  Targets<T> y(matrix(values.data(), kRows, columns));
  if (takes_classes(kind_of(loss))) y = Targets<T>(classes);
  const auto inputs = matrix(x.data(), kRows, model.input_dim());
  fuzz::ends<ValueError, TypeError, NonFiniteLossError>([&] { trainer.evaluate(inputs, y); });
  fuzz::ends<ValueError, TypeError, NonFiniteLossError>([&] { trainer.step(inputs, y); });
}

template <class T>
void take_up(const std::filesystem::path& path) {
  Checkpoint<T> checkpoint = read_checkpoint<T>(path);
  checkpoint.trainer.num_threads = 1;
  Model<T> model(checkpoint.model);
  fuzz::use(model);
  Trainer<T> trainer(model, checkpoint.trainer);
  trainer.load_checkpoint(checkpoint);
  train(trainer, model, checkpoint.trainer.loss);
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const fuzz::MemoryFile file(with_right_sum({data, size}));
  // A checkpoint may be whole and say what no trainer accepts: ValueError.
  fuzz::g_accepted = fuzz::ends<CheckpointError, ValueError>([&] {
    if (file_dtype(file.path()) == DType::float32) return take_up<float>(file.path());
    take_up<double>(file.path());
  });
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  return fuzz::mutate_tensor_file(data, size, most, seed);
}
