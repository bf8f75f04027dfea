// The processes that train one model together, as an executor sees them. The core links no library of messages: whoever
// starts the processes gives functions.
#pragma once

#include <stoop/types.hpp>

namespace stoop {

// What a process of several can do with the others. All of them call these functions in the same order, each on the thread
// that called its trainer.
struct Collectives {
  void* context = nullptr;  // handed to the functions
  int rank = 0;             // of this process, from 0
  int size = 1;             // number of processes
  // Replaces each of `count` values by its sum over the processes, which all get with the same bits: the sum of the lower half
  // of the ranks, plus that of the upper half, each made in the same way. Returns 0, or another number if the others cannot be
  // reached.
  int (*sum_float32)(void* context, float* values, Index count) = nullptr;
  int (*sum_float64)(void* context, double* values, Index count) = nullptr;
};

// An update cuts its rows into shards and adds up their gradients in a binary tree. Each process takes as many of them, one
// after the other. So the shards decide the bits, and not the number of processes. Both numbers are powers of two, and there
// are at least as many shards as processes.
struct World {
  int shards = 1;  // 1: an update is not cut
  Collectives collectives{};
};

}  // namespace stoop
