// Model files: what is read must predict.
#include <stoop/error.hpp>

#include "fuzz.hpp"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace stoop;
  const fuzz::MemoryFile file({data, size});
  fuzz::g_accepted = fuzz::ends<CheckpointError>(
      [&] { std::visit([](const auto& model) { fuzz::use(model); }, load_model(file.path())); });
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  return stoop::fuzz::mutate_tensor_file(data, size, most, seed);
}
