// Configurations as text. The first byte says of what: m model, t trainer, o optimizer, r learning rate, l loss, c checkpoint,
// h header of a safetensors file.
#include <string>
#include <string_view>

#include <stoop/error.hpp>

#include "fuzz.hpp"
#include "graph/graph.hpp"
#include "io/config_json.hpp"

namespace {

using namespace stoop;

// What was read is written as a text that reads as the same.
template <class Read>
auto read_twice(std::string_view text, const Read& read) {
  const auto config = read(text);
  std::string written;
  if (!fuzz::ends<ValueError>([&] { written = to_json(config); })) return config;
  fuzz::require(to_json(read(written)) == written, "a configuration that was read is written as another one");
  return config;
}

void read_model_config(std::string_view text) {
  const ModelConfig config = read_twice(text, [](std::string_view from) { return model_config_from_json(from); });
  if (config.input_dim <= 1000) build_graph(config, 1);  // a table of the columns is made
}

// Returns false for a kind that is none, and for a header that is refused.
bool read(char kind, std::string_view text) {
  switch (kind) {
    case 'm':
      read_model_config(text);
      return true;
    case 't':
      read_twice(text, [](std::string_view from) { return trainer_config_from_json(from); });
      return true;
    case 'o':
      optimizer_from_json(text);
      return true;
    case 'r':
      learning_rate_from_json(text);
      return true;
    case 'l':
      loss_from_json(text);
      return true;
    case 'c':
      read_twice(text, [](std::string_view from) { return checkpoint_info_from_json(from); });
      return true;
    case 'h':
      return fuzz::ends<CheckpointError>([&] { tensor_header_from_json(text); });
    default:
      return false;
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  bool accepted = false;
  fuzz::ends<ValueError>([&] { accepted = read(text.front(), text.substr(1)); });
  fuzz::g_accepted = accepted;
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  if (size == 0 || seed % 64 == 0) return LLVMFuzzerMutate(data, size, most);
  return 1 + fuzz::mutate_text(data + 1, size - 1, most - 1, seed / 64);
}
