// Aligned memory that is allocated once and reused.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <stoop/error.hpp>
#include <stoop/types.hpp>

namespace stoop {

inline constexpr Index kAlignment = 64;

constexpr Index round_up(Index n, Index multiple) { return (n + multiple - 1) / multiple * multiple; }

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
  ~AlignedBuffer() { std::free(data_); }

  void reset(Index size) {
    const std::size_t bytes = static_cast<std::size_t>(round_up(size * static_cast<Index>(sizeof(T)), kAlignment));
    void* fresh = size > 0 ? std::aligned_alloc(kAlignment, bytes) : nullptr;
    if (size > 0 && fresh == nullptr) throw_out_of_memory(size, sizeof(T));
    if (fresh != nullptr) std::memset(fresh, 0, bytes);
    std::free(data_);
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

 private:
  T* data_ = nullptr;
  Index size_ = 0;
};

}  // namespace stoop
