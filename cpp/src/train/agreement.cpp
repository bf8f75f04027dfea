#include "agreement.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <vector>

#include <stoop/error.hpp>
#include <stoop/runtime.hpp>

#include "../base/fingerprint.hpp"
#include "../io/config_json.hpp"
#include "../run/exchange.hpp"
#include "../spec/schedules.hpp"
#include "fit_record.hpp"

namespace stoop::inline v0_1 {
namespace {

// What a process says of itself. Texts that are longer are cut.
struct Statement {
  std::uint64_t call = 0;
  Claims claims;
  bool has_fault = false;
  char where[40] = {};
  char fault[640] = {};
};

template <std::size_t size>
void copy_text(char (&to)[size], std::string_view from) {
  std::size_t length = std::min(from.size(), size - 1);
  while (length < from.size() && length > 0 && (from[length] & 0xC0) == 0x80) --length;  // no part of a UTF-8 character
  std::memcpy(to, from.data(), length);
}

constexpr struct {
  std::uint64_t Claims::* claim;
  const char* what;
  const char* hint;
} kClaims[] = {
    {&Claims::machine, "another version of the library, instruction set or provider of products",
     "start all processes alike (STOOP_ISA, STOOP_GEMM), on machines of one kind"},
    {&Claims::settings, "other layers or settings", "make model and trainer alike in all processes"},
    {&Claims::options, "other arguments", "make the same call in all processes"},
    {&Claims::samples, "other samples, targets or weights",
     "give all samples to all processes, which share them out by themselves"},
    {&Claims::validation, "other validation data", "give the same to all processes"},
    {&Claims::state, "other parameters or another state of the training",
     "make the model with the same seed, or load the same file, in all processes"},
    {&Claims::checkpoint, "another checkpoint, or none", "give a path that all processes can read"},
};

std::string name_of_rank(std::size_t rank) { return "rank " + std::to_string(rank); }

// Without the place that opens it, which the new message names.
std::string_view reason_in(std::string_view fault) {
  const std::size_t end = fault.starts_with('[') ? fault.find("] ") : std::string_view::npos;
  fault = end == std::string_view::npos ? fault : fault.substr(end + 2);
  return fault.ends_with('.') ? fault.substr(0, fault.size() - 1) : fault;
}

void refuse_differences(std::string_view where, const std::vector<Statement>& statements) {
  const Statement& first = statements.front();
  for (std::size_t rank = 1; rank < statements.size(); ++rank) {
    const Statement& other = statements[rank];
    if (other.call != first.call) {
      throw_value_error(where, name_of_rank(rank) + " calls " + other.where + " and rank 0 " + first.where,
                        "expected the same calls in all processes", "make them in the same order");
    }
    for (const auto& [claim, what, hint] : kClaims) {
      if (other.claims.*claim == first.claims.*claim) continue;
      throw_value_error(where, name_of_rank(rank) + " has " + what, "expected those of rank 0", hint);
    }
  }
}

}  // namespace

void compare(const World& world, std::string_view where, const Claims& claims, const char* fault) {
  Statement own{.call = Fingerprint().add(where).value(), .claims = claims, .has_fault = fault != nullptr};
  copy_text(own.where, where);
  if (fault != nullptr) copy_text(own.fault, fault);
  std::vector<Statement> statements;
  if (!gather(world.collectives, own, statements)) {
    throw std::runtime_error(format_error(where, "the other processes of this training cannot be reached",
                                          "expected all of them to make this call", "start them again"));
  }
  if (fault != nullptr) return;
  const auto faulty = std::ranges::find_if(statements, &Statement::has_fault);
  if (faulty != statements.end()) {
    const std::string rank = name_of_rank(static_cast<std::size_t>(faulty - statements.begin()));
    throw std::runtime_error(format_error(where, rank + " raised an error: " + std::string(reason_in(faulty->fault)),
                                          "", "so no process made this call"));
  }
  refuse_differences(where, statements);
}

void decline(const World& world, std::string_view where, std::string_view reason) {
  if (world.collectives.size > 1) compare(world, where, {}, std::string(reason).c_str());
}

void check_alike(const World& world, std::string_view where, std::uint64_t state) {
  if (world.collectives.size > 1) compare(world, where, {.state = state});
}

void check_collectives(const World& world) {
  const Collectives& all = world.collectives;
  if (all.size > 1 && (all.allgather == nullptr || all.alltoall == nullptr)) {
    throw_value_error("Trainer", "collectives without functions", "expected allgather and alltoall",
                      "give both, as stoop/world.hpp says");
  }
  if (all.size > 0 && all.rank >= 0 && all.rank < all.size) return;
  throw_value_error("Trainer", "rank " + std::to_string(all.rank) + " of " + std::to_string(all.size) + " processes",
                    "expected 0 to size-1", "give those of the communicator");
}

template <class T>
std::uint64_t claim_of_machine(const TrainerCore<T>& core) {
  const Device<T>& device = core.device;
  return Fingerprint()
      .add(build_info().version)
      .add(std::string_view(device.ops.name))
      .add_number(device.products)
      .add_number(device.training_products)
      .value();
}

// It is made anew where settings have changed, and not for each update.
template <class T>
std::uint64_t claim_of_settings(const TrainerCore<T>& core) {
  if (core.claimed_version == core.settings_version) return core.settings_claim;
  TrainerConfig config = core.config;
  config.num_threads = 0;  // which change no bits
  if (schedules::has_functions(schedule_of(config.optimizer))) set_learning_rate(config.optimizer, 0.0);
  ModelConfig model = core.model.config_now();
  model.seed = 0;        // what came of it are the parameters
  model.output.reset();  // these two follow from training
  model.classes.reset();
  model.metadata.clear();
  core.settings_claim = Fingerprint().add(to_json(model)).add(to_json(config)).value();
  core.claimed_version = core.settings_version;
  return core.settings_claim;
}

namespace {

void add_rows(Fingerprint& sum, const void* data, Index rows, Index row_bytes, Index stride_bytes) {
  if (row_bytes == stride_bytes) return static_cast<void>(sum.add(data, static_cast<std::size_t>(rows * row_bytes)));
  for (Index i = 0; i < rows; ++i) {
    sum.add(static_cast<const std::byte*>(data) + i * stride_bytes, static_cast<std::size_t>(row_bytes));
  }
}

template <class T>
void add_matrix(Fingerprint& sum, const MatrixView<const T>& matrix) {
  constexpr Index kBytes = sizeof(T);
  if (matrix.data != nullptr) {
    add_rows(sum, matrix.data, matrix.rows, matrix.cols * kBytes, matrix.row_stride() * kBytes);
  }
}

}  // namespace

template <class T>
std::uint64_t claim_of_data(const Dataset<T>& data) {
  const InputView& x = data.x();
  const Targets<T>& y = data.y();
  Fingerprint sum;
  sum.add_number(x.rows).add_number(x.cols).add_number(x.type);
  sum.add_number(x.mapped);
  const Index bytes = x.element_size();
  if (x.mapped) {
    sum.add_number(checksum_of(data));
  } else {
    add_rows(sum, x.data, x.rows, x.cols * bytes, x.row_stride() * bytes);
  }
  sum.add(y.classes.data(), y.classes.size_bytes());
  if (y.has_values) add_matrix(sum, y.values);
  sum.add(y.weights.data(), y.weights.size_bytes());
  add_matrix(sum, y.element_weights);
  return sum.value();
}

template <class T>
std::uint64_t claim_of_state(const TrainerCore<T>& core, bool whole) {
  constexpr Index kSome = 1024;
  Fingerprint sum;
  sum.add_number(core.state.steps).add_number(core.state.epoch).add_number(core.state.swapped);
  const auto add = [&](std::span<const T> block) {
    const auto size = static_cast<Index>(block.size());
    const Index begin = whole || size <= kSome ? 0 : core.state.steps * kSome % size;
    const Index end = whole ? size : std::min(begin + kSome, size);
    sum.add(block.data() + begin, static_cast<std::size_t>(end - begin) * sizeof(T));
  };
  add(core.state.parameters);
  add(core.state.running);
  add(core.state.average.elements());
  for (const std::span<const T>& array : core.optimizer_arrays()) add(array);
  return sum.value();
}

template <class T>
std::uint64_t claim_of_checkpoint(const Checkpoint<T>& checkpoint) {
  const TrainingState<T>& state = checkpoint.state;
  Fingerprint sum;
  sum.add_number(state.steps).add_number(state.epoch).add_number(state.place.row);
  const auto add = [&](const std::vector<T>& block) { sum.add(block.data(), block.size() * sizeof(T)); };
  add(state.parameters);
  add(state.buffers);
  add(state.average);
  for (const std::vector<T>& array : state.optimizer) add(array);
  return sum.add(checkpoint.extras.text).value();
}

template std::uint64_t claim_of_machine(const TrainerCore<float>&);
template std::uint64_t claim_of_machine(const TrainerCore<double>&);
template std::uint64_t claim_of_settings(const TrainerCore<float>&);
template std::uint64_t claim_of_settings(const TrainerCore<double>&);
template std::uint64_t claim_of_data(const Dataset<float>&);
template std::uint64_t claim_of_data(const Dataset<double>&);
template std::uint64_t claim_of_state(const TrainerCore<float>&, bool);
template std::uint64_t claim_of_state(const TrainerCore<double>&, bool);
template std::uint64_t claim_of_checkpoint(const Checkpoint<float>&);
template std::uint64_t claim_of_checkpoint(const Checkpoint<double>&);

}  // namespace stoop
