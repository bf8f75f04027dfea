// The safetensors format alone: the header, the layout of the data, the checksum.
#include <stoop/error.hpp>

#include "fuzz.hpp"
#include "io/safetensors.hpp"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace stoop;
  const fuzz::MemoryFile bytes({data, size});
  fuzz::g_accepted = fuzz::ends<CheckpointError>([&] {
    const TensorFile file(bytes.path());
    std::vector<std::byte> values(size);  // no tensor is larger than the file
    for (const TensorEntry& tensor : file.tensors()) {
      fuzz::require(tensor.end - tensor.begin <= static_cast<Index>(size), "a tensor that is larger than its file");
      file.dtype(tensor);
      file.read(tensor, values.data());
    }
    fuzz::ends<CheckpointError>([&] { file.check_sum(); });
  });
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  return stoop::fuzz::mutate_tensor_file(data, size, most, seed);
}
