// Allocations that fail when they are told to. A test that includes this is a program of its own: the allocation functions of
// C++ and aligned_alloc are replaced.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <limits>
#include <new>

namespace {

constexpr long kNever = std::numeric_limits<long>::max();
std::atomic<long> g_left{kNever};  // allocations until one fails

bool fails() { return g_left.load(std::memory_order_relaxed) != kNever && g_left.fetch_sub(1) <= 0; }

void* allocate(std::size_t size) { return fails() ? nullptr : ::malloc(size == 0 ? 1 : size); }

void* allocate_or_throw(std::size_t size) {
  if (void* memory = allocate(size)) return memory;
  throw std::bad_alloc();
}

// Calls `work` with the first allocation failing and all after it, then the second, and so on until none fails. After each failure
// `check` looks at what is left. Where there are very many, `growth` makes steps of 1 + n / growth after the n-th.
template <class Work, class Check>
void fail_each(const Work& work, const Check& check, long growth = kNever) {
  for (long n = 0; n < 100'000; n += 1 + n / growth) {
    bool failed = false;
    g_left = n;
    try {
      work();
    } catch (const std::bad_alloc&) {
      failed = true;
    } catch (...) {
      g_left = kNever;
      ADD_FAILURE() << "allocation " << n << " failed, and what was thrown is no bad_alloc";
      throw;
    }
    const bool was_reached = g_left.exchange(kNever) < 0;
    check(n);
    if (testing::Test::HasFailure() || (!failed && !was_reached)) return;
  }
  ADD_FAILURE() << "it never came to an end";
}

}  // namespace

void* operator new(std::size_t size) { return allocate_or_throw(size); }
void* operator new[](std::size_t size) { return allocate_or_throw(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void operator delete(void* memory) noexcept { ::free(memory); }
void operator delete[](void* memory) noexcept { ::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { ::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { ::free(memory); }

// Blocks of parameters and arenas ask for it. posix_memalign does the same work under another name.
extern "C" void* aligned_alloc(size_t alignment, size_t size) noexcept {
  void* memory = nullptr;
  return !fails() && ::posix_memalign(&memory, alignment, size) == 0 ? memory : nullptr;
}
