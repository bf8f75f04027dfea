// What the processes of a training must have in common before a call begins. One that cannot make the call says why, so that
// none of the others waits for it.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

#include <stoop/world.hpp>

#include "trainer_core.hpp"

namespace stoop::inline v0_1 {

// Checksums of what all must have alike.
struct Claims {
  std::uint64_t machine = 0;
  std::uint64_t settings = 0;
  std::uint64_t options = 0;
  std::uint64_t samples = 0;
  std::uint64_t validation = 0;
  std::uint64_t state = 0;
  std::uint64_t checkpoint = 0;
};

// Compares the claims of all processes. With a fault, which is the reason why this process cannot make the call, it only tells
// the others. Throws ValueError if the claims differ, and std::runtime_error if another process has a fault or cannot be
// reached.
void compare(const World& world, std::string_view where, const Claims& claims, const char* fault = nullptr);

// Calls `prepare`, which checks the arguments of a call and returns claims. What it throws in one process ends the call in all.
template <class Prepare>
void agree(const World& world, std::string_view where, const Prepare& prepare) {
  if (world.collectives.size == 1) return static_cast<void>(prepare());
  Claims claims;
  try {
    claims = prepare();
  } catch (const std::exception& error) {
    compare(world, where, {}, error.what());
    throw;
  }
  compare(world, where, claims);
}

// Throws ValueError for a world that cannot be.
void check_collectives(const World& world);

// Covers what may have other last digits: the kernels, and the library.
template <class T>
std::uint64_t claim_of_machine(const TrainerCore<T>& core);
// Covers all but the functions among the learning rates, whose values the reports of updates compare.
template <class T>
std::uint64_t claim_of_settings(const TrainerCore<T>& core);
// Covers all values, but for a mapped x, of which it covers some rows.
template <class T>
std::uint64_t claim_of_data(const Dataset<T>& data);
// Covers all that training carries on, or, for calls that are made for each update, other parts of it in each.
template <class T>
std::uint64_t claim_of_state(const TrainerCore<T>& core, bool whole);

template <class T>
std::uint64_t claim_of_checkpoint(const Checkpoint<T>& checkpoint);

// For a call that takes these data; `whole` as below.
template <class T>
Claims claims_of(const TrainerCore<T>& core, const Dataset<T>& data, bool whole) {
  return {.machine = claim_of_machine(core),
          .settings = claim_of_settings(core),
          .samples = claim_of_data(data),
          .state = claim_of_state(core, whole)};
}

}  // namespace stoop
