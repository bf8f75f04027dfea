#include "fuzz.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "io/config_json.hpp"

namespace stoop::fuzz {

MemoryFile::MemoryFile(Bytes content) : descriptor_(::memfd_create("fuzz", MFD_CLOEXEC)) {
  require(descriptor_ >= 0, "there is no file in memory");
  path_ = "/proc/self/fd/" + std::to_string(descriptor_);
  const ssize_t written = ::write(descriptor_, content.data(), content.size());
  require(written == static_cast<ssize_t>(content.size()), "the file in memory takes no bytes");
}

MemoryFile::~MemoryFile() { ::close(descriptor_); }

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "found: %s\n", what);
  std::abort();
}

template <class T>
void use(const Model<T>& model) {
  constexpr Index kRows = 3;
  const std::vector<T> x = some_rows<T>(kRows, model.input_dim());
  std::vector<T> out(static_cast<std::size_t>(kRows * model.output_dim()));
  ends<ValueError>([&] {
    model.predict(matrix(x.data(), kRows, model.input_dim()), matrix(out.data(), kRows, model.output_dim()));
  });
  const std::string text = to_json(model.config());
  require(to_json(model_config_from_json(text)) == text, "a configuration that was read is written as another one");
}

template void use(const Model<float>&);
template void use(const Model<double>&);

}  // namespace stoop::fuzz
