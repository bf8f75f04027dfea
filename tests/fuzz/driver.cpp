// Runs a fuzzer where there is no libFuzzer, with its options: -runs=N (mutations), -seed=N, -max_total_time=SECONDS, and files or
// folders. It runs each file, then changes of them; what a reader accepts is changed further. A crash leaves the input in
// the working directory.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <random>
#include <string_view>

#include "fuzz.hpp"

// Sanitizers call this before they end the process.
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());

namespace {

using Input = std::vector<uint8_t>;

constexpr size_t kMostBytes = size_t{1} << 16;
constexpr size_t kMostInputs = 2000;

std::mt19937 g_random;
const Input* g_running = nullptr;

void keep_input() {
  if (g_running == nullptr) return;
  const char* name = "crash-input";
  std::ofstream(name, std::ios::binary)
      .write(reinterpret_cast<const char*>(g_running->data()), static_cast<std::streamsize>(g_running->size()));
  std::fprintf(stderr, "the input is in ./%s\n", name);
  g_running = nullptr;
}

void on_signal(int signal) {
  keep_input();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void install_handlers() {
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(keep_input);
  std::signal(SIGABRT, on_signal);
  if (__sanitizer_set_death_callback == nullptr) std::signal(SIGSEGV, on_signal);
}

struct Options {
  long long runs = 10'000;
  unsigned seed = 1;
  double seconds = 1e9;
  std::vector<std::filesystem::path> places{};
};

template <class Number>
bool take(std::string_view argument, std::string_view name, Number& out) {
  if (!argument.starts_with(name)) return false;
  const auto [end, error] = std::from_chars(argument.data() + name.size(), argument.data() + argument.size(), out);
  stoop::fuzz::require(error == std::errc() && end == argument.data() + argument.size(), "an option without a number");
  return true;
}

Options options_of(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string_view argument = arguments[i];
    if (take(argument, "-runs=", options.runs) || take(argument, "-seed=", options.seed) ||
        take(argument, "-max_total_time=", options.seconds)) {
      continue;
    }
    stoop::fuzz::require(!argument.starts_with("-"), "an option that is not known");
    options.places.emplace_back(argument);
  }
  return options;
}

std::vector<Input> read_inputs(const std::vector<std::filesystem::path>& places) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  for (const fs::path& place : places) {
    if (!fs::is_directory(place)) files.push_back(place);
    if (fs::is_directory(place)) std::copy(fs::directory_iterator(place), {}, std::back_inserter(files));
  }
  std::sort(files.begin(), files.end());
  std::vector<Input> inputs;
  for (const fs::path& file : files) {
    std::ifstream in(file, std::ios::binary);
    stoop::fuzz::require(in.good(), "a file that cannot be read");
    inputs.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return inputs;
}

// Returns whether the input was accepted.
bool run(const Input& input) {
  g_running = &input;
  stoop::fuzz::g_accepted = false;
  LLVMFuzzerTestOneInput(input.data(), input.size());
  g_running = nullptr;
  return stoop::fuzz::g_accepted;
}

Input changed(const std::vector<Input>& inputs) {
  Input input = inputs[g_random() % inputs.size()];
  size_t size = input.size();
  input.resize(std::max(kMostBytes, size));
  for (size_t changes = 1 + g_random() % 3; changes > 0; --changes) {
    size = LLVMFuzzerCustomMutator(input.data(), size, input.size(), static_cast<unsigned>(g_random()));
  }
  input.resize(size);
  input.shrink_to_fit();  // so that a read past its end is seen
  return input;
}

}  // namespace

size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most) {
  const size_t at = size == 0 ? 0 : g_random() % size;
  if (size == 0) {
    data[0] = static_cast<uint8_t>(g_random());
    return 1;
  }
  switch (g_random() % 5) {
    case 0:
      data[at] ^= static_cast<uint8_t>(1u << g_random() % 8);
      return size;
    case 1:
      data[at] = static_cast<uint8_t>(g_random());
      return size;
    case 2:
      return at;
    case 3: {  // a part moves over another one
      const size_t from = g_random() % size, count = std::min(g_random() % 64, size - std::max(at, from));
      std::memmove(data + at, data + from, count);
      return size;
    }
    default: {  // more bytes
      const size_t more = std::min<size_t>(g_random() % 16, most - size);
      std::memmove(data + at + more, data + at, size - at);
      for (size_t i = 0; i < more; ++i) data[at + i] = static_cast<uint8_t>(g_random());
      return size + more;
    }
  }
}

int main(int count, char** arguments) {
  using Clock = std::chrono::steady_clock;
  const Options options = options_of(count, arguments);
  const Clock::time_point start = Clock::now();
  const auto seconds = [&](Clock::time_point since) {
    return std::chrono::duration<double>(Clock::now() - since).count();
  };
  g_random.seed(options.seed);
  install_handlers();
  std::vector<Input> inputs = read_inputs(options.places);
  if (inputs.empty()) inputs.emplace_back();
  const size_t given = inputs.size();
  for (const Input& input : inputs) run(input);
  long long runs = 0, accepted = 0;
  double slowest = 0.0;
  for (; runs < options.runs && seconds(start) < options.seconds; ++runs) {
    Input input = changed(inputs);
    const Clock::time_point begun = Clock::now();
    const bool is_accepted = run(input);
    slowest = std::max(slowest, seconds(begun));
    if (!is_accepted) continue;
    ++accepted;
    if (inputs.size() < given + kMostInputs)
      inputs.push_back(std::move(input));
    else
      inputs[given + g_random() % kMostInputs] = std::move(input);
  }
  std::printf("%zu files, %lld mutations, %lld of them accepted, in %.1f s; the slowest took %.3f s\n", given, runs,
              accepted, seconds(start), slowest);
  return 0;
}
