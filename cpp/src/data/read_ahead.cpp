#include "read_ahead.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#define STOOP_HAS_MADVISE 1
#endif

#include <algorithm>

namespace stoop::inline v0_1 {
namespace {

// Far enough to keep the queue of a disk full while a step is computed, and near enough for the pages to stay until used.
constexpr Index kAheadBytes = 16 << 20;
constexpr Index kChunkBytes = 1 << 20;  // bytes of a request in sequence
constexpr Index kFillBytes = 64 << 20;  // bytes that are asked for beside each batch, of a matrix that fits into memory
constexpr int kBatchesPerLook = 8;

#if defined(STOOP_HAS_MADVISE)
std::uintptr_t page_size() {
  static const auto size = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  return size;
}

// Asks for pages. If the system refuses, they are read when they are touched. Linux ignores the part of a request beyond the
// read-ahead window of the disk, which is 128 KB by default.
void ask_for_bytes(const void* data, Index begin, Index end) {
  constexpr std::uintptr_t kRequestBytes = 128 << 10;
  const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(data);
  const std::uintptr_t last = address + static_cast<std::uintptr_t>(end);
  std::uintptr_t from = (address + static_cast<std::uintptr_t>(begin)) / page_size() * page_size();
  for (; from < last; from += kRequestBytes) {
    madvise(reinterpret_cast<void*>(from), std::min(last - from, kRequestBytes), MADV_WILLNEED);
  }
}

Index machine_memory() {
  static const Index bytes = static_cast<Index>(sysconf(_SC_PHYS_PAGES)) * static_cast<Index>(page_size());
  return bytes;
}

// Returns the number of pages read for this process, by its own requests and by faults.
long disk_reads() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_majflt + usage.ru_inblock;
}
#else
std::uintptr_t page_size() { return 4096; }
void ask_for_bytes(const void*, Index, Index) {}
Index machine_memory() { return 0; }
long disk_reads() { return 0; }
#endif

Index stride_bytes(const InputView& x) { return x.stride * x.element_size(); }

}  // namespace

void ask_in_sequence(const InputView& x, Index begin, Index end, Index last) noexcept {
  if (begin >= end) return;
  const Index stride = stride_bytes(x);
  const Index from = begin * stride / kChunkBytes * kChunkBytes;
  const Index to =
      end < last ? end * stride / kChunkBytes * kChunkBytes : (last - 1) * stride + x.cols * x.element_size();
  if (from < to) ask_for_bytes(x.data, from, to);
}

Index rows_ahead(const InputView& x, bool scattered) noexcept {
  const Index least = scattered ? static_cast<Index>(page_size()) : 1;
  return std::max<Index>(kAheadBytes / std::max(stride_bytes(x), least), 1);
}

ReadAhead::ReadAhead() noexcept : memory_(machine_memory() / 2) {}

void ReadAhead::start(const InputView& x, const std::int32_t* order, Index samples) noexcept {
  const bool same = x.data == x_.data && x.rows == x_.rows && x.stride == x_.stride;
  x_ = x;
  if (!same) filled_ = bytes() <= memory_ ? 0 : bytes();
  if (!same || order == nullptr) resident_ = false;
  order_ = order;
  samples_ = samples;
  ahead_ = rows_ahead(x, order != nullptr);
  asked_ = 0;
}

void ReadAhead::ask(Index begin, Index end, int thread, int team) const noexcept {
  const Index from = std::max(asked_, begin), to = std::min(end + ahead_, samples_);
  if (resident_) return;
  if (order_ == nullptr) {
    if (thread == 0) ask_in_sequence(x_, from, to, samples_);
    return;
  }
  const Index stride = stride_bytes(x_), row_bytes = x_.cols * x_.element_size(), count = std::max<Index>(to - from, 0);
  // The rows come first, because they are needed now.
  for (Index i = from + count * thread / team; i < from + count * (thread + 1) / team; ++i) {
    ask_for_bytes(x_.data, order_[i] * stride, order_[i] * stride + row_bytes);
  }
  const Index last = (x_.rows - 1) * stride + row_bytes, share = kFillBytes / team;
  ask_for_bytes(x_.data, std::min(filled_ + thread * share, last), std::min(filled_ + (thread + 1) * share, last));
}

void ReadAhead::ask_row(Index row) const noexcept {
  const Index stride = stride_bytes(x_);
  if (!resident_) ask_for_bytes(x_.data, row * stride, row * stride + x_.cols * x_.element_size());
}

void ReadAhead::advance(Index end) noexcept {
  if (!resident_) asked_ = std::min(end + ahead_, samples_);
  if (!resident_ && order_ != nullptr) filled_ = std::min(filled_ + kFillBytes, bytes());
  if (order_ == nullptr || ++batches_ < kBatchesPerLook) return;
  batches_ = 0;
  resident_ = !reads_from_disk();
}

bool ReadAhead::reads_from_disk() noexcept {
  const long before = reads_;
  reads_ = disk_reads();
  return reads_ != before;
}

}  // namespace stoop
