// Keeps a copy of what an epoch starts from, and puts it back (docs/decisions/0008). All threads of the trainer share the
// passes over blocks, since for large blocks one thread would take longer than a step.

#include <atomic>
#include <cstring>

#include "../base/finite.hpp"
#include "../team/team.hpp"
#include "trainer_impl.hpp"

namespace stoop {
namespace {

template <class T>
void copy_block(const T* from, T* to, std::size_t size, int threads) {
  share_elements(static_cast<Index>(size), threads, [&](const Range& part) {
    std::memcpy(to + part.begin, from + part.begin, static_cast<std::size_t>(part.end - part.begin) * sizeof(T));
  });
}

template <class T>
bool is_finite_block(std::span<const T> block, int threads) {
  std::atomic<bool> finite{true};
  share_elements(static_cast<Index>(block.size()), threads, [&](const Range& part) {
    if (!all_finite(block.data() + part.begin, part.end - part.begin)) finite.store(false);
  });
  return finite.load();
}

}  // namespace

// Everything that an update changes.
template <class T>
std::vector<std::span<T>> Trainer<T>::Impl::changed_blocks() {
  std::vector<std::span<T>> blocks = {model.parameter_block(), model.buffer_block(), average.elements()};
  for (AlignedBuffer<T>& s : state) blocks.push_back(s.elements());
  std::erase_if(blocks, [](const std::span<T>& block) { return block.empty(); });
  return blocks;
}

template <class T>
void Trainer<T>::Impl::save() {
  const std::vector<std::span<T>> blocks = changed_blocks();
  Index size = 0;
  for (const std::span<T>& block : blocks) size += static_cast<Index>(block.size());
  if (saved.size() != size) saved.reset_untouched(size);
  T* to = saved.data();
  for (const std::span<T>& block : blocks) {
    copy_block(block.data(), to, block.size(), most_threads());
    to += block.size();
  }
}

template <class T>
void Trainer<T>::Impl::restore() {
  const T* from = saved.data();
  for (const std::span<T>& block : changed_blocks()) {
    copy_block(from, block.data(), block.size(), most_threads());
    from += block.size();
  }
}

// Returns whether all parameters and buffers of the model are finite.
template <class T>
bool Trainer<T>::Impl::is_intact() {
  return is_finite_block<T>(model.parameter_block(), most_threads()) && is_finite_block<T>(model.buffer_block(), 1);
}

// Returns whether the optimizer has met a square beyond T. A parameter whose update is divided by its root would never
// change again.
template <class T>
bool Trainer<T>::Impl::has_infinite_state() const {
  for (const AlignedBuffer<T>& s : state) {
    if (s.size() > 0 && !is_finite_block<T>({s.data(), static_cast<std::size_t>(s.size())}, most_threads()))
      return true;
  }
  return false;
}

template bool Trainer<float>::Impl::has_infinite_state() const;
template bool Trainer<double>::Impl::has_infinite_state() const;
template void Trainer<float>::Impl::save();
template void Trainer<double>::Impl::save();
template void Trainer<float>::Impl::restore();
template void Trainer<double>::Impl::restore();
template bool Trainer<float>::Impl::is_intact();
template bool Trainer<double>::Impl::is_intact();

}  // namespace stoop
