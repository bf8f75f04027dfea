// Files of ensembles: what is read must predict.
#include <stoop/ensemble.hpp>
#include <stoop/error.hpp>

#include "fuzz.hpp"

namespace {

using namespace stoop;

template <class T>
void use_all(const Ensemble<T>& ensemble) {
  constexpr Index kRows = 3;
  for (Index i = 0; i < ensemble.size(); ++i) fuzz::use(ensemble[i]);
  const std::vector<T> x = fuzz::some_rows<T>(kRows, ensemble.input_dim());
  std::vector<T> mean(static_cast<std::size_t>(kRows * ensemble.output_dim()));
  fuzz::ends<ValueError>([&] {
    ensemble.predict_mean(matrix(x.data(), kRows, ensemble.input_dim()),
                          matrix(mean.data(), kRows, ensemble.output_dim()));
  });
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const fuzz::MemoryFile file({data, size});
  fuzz::g_accepted = fuzz::ends<CheckpointError>(
      [&] { std::visit([](const auto& ensemble) { use_all(ensemble); }, load_ensemble(file.path())); });
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  return fuzz::mutate_tensor_file(data, size, most, seed);
}
