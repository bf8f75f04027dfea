// The processes that train one model together, each with a Trainer of its own and with all samples. The library links no
// library of messages: whoever starts the processes gives functions.
#pragma once

#include <cstdint>
#include <string_view>

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// What a process of several can do with the others. The functions only move bytes, so that they cannot change a sum. All
// processes call them in the same order, each on the thread that called its trainer. They return 0, or another number if the
// others cannot be reached, and must not throw. The memory of `send` and `receive` is aligned for double and does not overlap.
struct Collectives {
  void* context = nullptr;  // handed to the functions
  int rank = 0;             // of this process, from 0
  int size = 1;             // number of processes
  // Each process gives `bytes` bytes at `send`. `receive` gets those of all, in the order of their ranks (MPI_Allgather).
  int (*allgather)(void* context, const void* send, void* receive, Index bytes) = nullptr;
  // Each process gives `bytes` bytes to every process, in the order of their ranks. `receive` gets those that were given to
  // this one, in the order of the ranks that gave them (MPI_Alltoall).
  int (*alltoall)(void* context, const void* send, void* receive, Index bytes) = nullptr;
};

// An update cuts its rows into shards and adds up their gradients in a binary tree. Each process takes as many of them. So
// the bits of a training follow from the number of shards, and not from that of processes. Both are powers of two, and there are
// at least as many shards as processes.
struct World {
  int shards = 1;  // 1: an update is not cut
  Collectives collectives{};
};

// For a program that finds, in one process alone, that it cannot make a call of a trainer that the others make: these then
// throw std::runtime_error with this reason, and do not wait for ever. `where` is the call, such as "Trainer.fit".
STOOP_API void decline(const World& world, std::string_view where, std::string_view reason);

// Throws ValueError in all processes where they do not give the same number, such as Trainer<T>::fingerprint().
STOOP_API void check_alike(const World& world, std::string_view where, std::uint64_t state);

}  // namespace stoop
