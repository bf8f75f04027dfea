// Optimizers on bare arrays, for parameters and gradients that no Trainer owns.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include <stoop/optimizers.hpp>
#include <stoop/types.hpp>

namespace stoop {

// What has been accumulated for a list of arrays: arrays[s][i] is state s of parameter i.
template <class T>
struct UpdaterState {
  std::vector<std::vector<std::vector<T>>> arrays;
  std::vector<Index> sizes;  // of the parameters
  Index steps = 0;
};

// Keeps an optimizer's state for a list of arrays and its count of updates.
template <class T>
class STOOP_API ParameterUpdater {
 public:
  explicit ParameterUpdater(Optimizer optimizer);
  ParameterUpdater(ParameterUpdater&&) noexcept;
  ParameterUpdater& operator=(ParameterUpdater&&) noexcept;
  ~ParameterUpdater();

  // One update in place: parameters[i] (n) from gradients[i] (n), contiguous, of any length. The first call sets how
  // many arrays there are and how long; another list throws ValueError until reset(). Weight decay is for all of them:
  // nothing says which are weights. A schedule by epochs counts updates. Large arrays are shared among threads; the
  // result does not depend on how many.
  void step(std::span<const std::span<T>> parameters, std::span<const std::span<const T>> gradients);

  // Forgets state, count and lengths.
  void reset();
  Index steps() const;  // updates made
  // A copy of the state, and one of the same optimizer to go on from. ValueError for that of another.
  UpdaterState<T> state() const;
  void set_state(const UpdaterState<T>& state);
  const Optimizer& optimizer() const;

 private:
  struct STOOP_PRIVATE Impl;
  std::unique_ptr<Impl> impl_;
};

extern template class ParameterUpdater<float>;
extern template class ParameterUpdater<double>;

}  // namespace stoop
