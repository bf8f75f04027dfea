// What the fuzzers share: bytes as a file, exceptions that are an answer, and changes that keep a file readable.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <stoop/model.hpp>

extern "C" {
// What libFuzzer calls, and driver.cpp in its place.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed);
// What libFuzzer and driver.cpp give: a change of some bytes at random.
size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);
}

namespace stoop::fuzz {

using Bytes = std::span<const uint8_t>;

// Whether the last input was read without an error: the driver keeps such inputs to change them further.
inline bool g_accepted = false;

// A file in memory.
class MemoryFile {
 public:
  explicit MemoryFile(Bytes content);
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  int descriptor_;
  std::filesystem::path path_;
};

// Calls work and returns whether it came to an end; these exceptions are the only other end that is allowed.
template <class... Allowed, class Work>
bool ends(const Work& work) {
  bool done = false;
  const auto attempt = [&](auto&& self, auto first, auto... rest) -> void {
    using Exception = typename decltype(first)::type;
    try {
      if constexpr (sizeof...(rest) == 0) {
        work();
        done = true;
      } else {
        self(self, rest...);
      }
    } catch (const Exception&) {
    }
  };
  attempt(attempt, std::type_identity<Allowed>{}...);
  return done;
}

// Ends the process with a message, which the driver and libFuzzer take for a crash.
void require(bool condition, const char* what);

// Few rows for a model: small whole numbers, which are codes of categories too.
template <class T>
std::vector<T> some_rows(Index rows, Index columns) {
  std::vector<T> values(static_cast<std::size_t>(rows * columns));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(i * 7 % 3);
  return values;
}

// Asks a model that was read for its outputs, and for its configuration as text.
template <class T>
void use(const Model<T>& model);

// Changes words of a text that is JSON or nearly so: numbers to ones that matter, words to other words of it, parts to other
// parts. `data` has room for `most` bytes; returns the new size.
size_t mutate_text(uint8_t* data, size_t size, size_t most, unsigned seed);
// The same for the header of a safetensors file, whose length is kept right, or its data.
size_t mutate_tensor_file(uint8_t* data, size_t size, size_t most, unsigned seed);

}  // namespace stoop::fuzz
