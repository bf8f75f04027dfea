// Optimizers on bare arrays, for parameters and gradients that no Trainer owns.
#pragma once

#include <memory>
#include <span>

#include <stoop/optimizers.hpp>
#include <stoop/types.hpp>

namespace stoop {

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
  const Optimizer& optimizer() const;

 private:
  struct STOOP_PRIVATE Impl;
  std::unique_ptr<Impl> impl_;
};

extern template class ParameterUpdater<float>;
extern template class ParameterUpdater<double>;

}  // namespace stoop
