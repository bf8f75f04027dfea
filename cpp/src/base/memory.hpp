// Aligned memory that is allocated once and reused.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#elif defined(_WIN32)
#include <malloc.h>
#endif

#include <stoop/error.hpp>
#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

inline constexpr Index kAlignment = 64;

constexpr Index round_up(Index n, Index multiple) { return (n + multiple - 1) / multiple * multiple; }

// Allocations of this size and more ask for pages of 2 MiB, where the system has them. Products walk down columns of
// weights, and pages of 4 KiB would cost a miss of the address cache on every row.
inline constexpr Index kHugePage = Index{1} << 21;
inline constexpr Index kHugeFrom = kHugePage / 2;

// Returns null if there is no memory. The caller frees it with free_aligned.
#if defined(_WIN32)
inline void* allocate_aligned(Index bytes) {
  return ::_aligned_malloc(static_cast<std::size_t>(round_up(bytes, kAlignment)), static_cast<std::size_t>(kAlignment));
}
inline void free_aligned(void* memory) { ::_aligned_free(memory); }
#else
inline void* allocate_aligned(Index bytes) {
  if (bytes < kHugeFrom) {
    return std::aligned_alloc(kAlignment, static_cast<std::size_t>(round_up(bytes, kAlignment)));
  }
  const auto whole = static_cast<std::size_t>(round_up(bytes, kHugePage));
  void* memory = std::aligned_alloc(kHugePage, whole);
#if defined(__linux__)
  if (memory != nullptr) static_cast<void>(madvise(memory, whole, MADV_HUGEPAGE));  // advice: it may be refused
#endif
  return memory;
}
inline void free_aligned(void* memory) { std::free(memory); }
#endif

// `size()` zeroed elements on a 64-byte boundary.
template <class T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(Index size) { reset(size); }
  AlignedBuffer(const AlignedBuffer& other) : AlignedBuffer(other.size_) {
    if (size_ > 0) std::memcpy(data_, other.data_, static_cast<std::size_t>(size_) * sizeof(T));
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~AlignedBuffer() { free_aligned(data_); }

  void reset(Index size) {
    reset_untouched(size);
    if (size > 0) std::memset(data_, 0, static_cast<std::size_t>(size) * sizeof(T));
  }
  // The memory is not zeroed here: large memory lies near the thread that touches it first.
  void reset_untouched(Index size) {
    void* fresh = size > 0 ? allocate_aligned(size * static_cast<Index>(sizeof(T))) : nullptr;
    if (size > 0 && fresh == nullptr) throw_out_of_memory(size, sizeof(T));
    free_aligned(data_);
    data_ = static_cast<T*>(fresh);
    size_ = size;
  }
  // Makes room for `size` elements; the contents are lost when it has to grow.
  void reserve(Index size) {
    if (size > size_) reset(size);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  Index size() const { return size_; }
  std::span<T> elements() { return {data_, static_cast<std::size_t>(size_)}; }
  std::span<const T> elements() const { return {data_, static_cast<std::size_t>(size_)}; }

 private:
  T* data_ = nullptr;
  Index size_ = 0;
};

}  // namespace stoop
