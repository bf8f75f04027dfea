#include "rollback.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "../base/finite.hpp"
#include "../team/team.hpp"

namespace stoop::inline v0_1 {
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

template <class T>
bool copies_optimizer(const LiveState<T>& state) {
  Index elements = 0;
  for (const AlignedBuffer<T>& array : state.optimizer) elements += array.size();
  return elements * static_cast<Index>(sizeof(T)) <= Rollback<T>::kMostOptimizerBytes;
}

}  // namespace

template <class T>
void Rollback<T>::save(LiveState<T>& state, int threads) {
  const std::vector<std::span<T>> arrays = state.changed_arrays(copies_optimizer(state));
  Index size = 0;
  for (const std::span<T>& array : arrays) size += static_cast<Index>(array.size());
  if (saved_.size() != size) saved_.reset_untouched(size);
  T* to = saved_.data();
  for (const std::span<T>& array : arrays) {
    copy_block(array.data(), to, array.size(), threads);
    to += array.size();
  }
  steps_ = state.steps;
}

template <class T>
bool Rollback<T>::restore(LiveState<T>& state, int threads) const {
  const bool is_saved = saved_.size() > 0;
  if (!is_saved || !copies_optimizer(state)) {
    for (AlignedBuffer<T>& array : state.optimizer) std::fill_n(array.data(), array.size(), T(0));
  }
  if (!is_saved) return false;
  const T* from = saved_.data();
  for (const std::span<T>& array : state.changed_arrays(copies_optimizer(state))) {
    copy_block(from, array.data(), array.size(), threads);
    from += array.size();
  }
  state.steps = steps_;
  return true;
}

template <class T>
void Rollback<T>::drop() {
  saved_ = AlignedBuffer<T>();
}

template <class T>
bool is_intact(const LiveState<T>& state, int threads) {
  return is_finite_block<T>(state.parameters, threads) && is_finite_block<T>(state.running, 1);
}

template <class T>
bool has_infinite_optimizer(const LiveState<T>& state, int threads) {
  return std::any_of(std::begin(state.optimizer), std::end(state.optimizer),
                     [&](const AlignedBuffer<T>& array) { return !is_finite_block<T>(array.elements(), threads); });
}

template class Rollback<float>;
template class Rollback<double>;
template bool is_intact(const LiveState<float>&, int);
template bool is_intact(const LiveState<double>&, int);
template bool has_infinite_optimizer(const LiveState<float>&, int);
template bool has_infinite_optimizer(const LiveState<double>&, int);

}  // namespace stoop
