// Optimizers on bare arrays, for parameters and gradients that no Trainer owns.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <stoop/optimizers.hpp>
#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// The state of an optimizer for a list of arrays: arrays[s][i] is state s of parameter i.
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
  // `where` opens the messages of errors, here and below.
  explicit ParameterUpdater(Optimizer optimizer, std::string_view where = "optimizer.step");
  ParameterUpdater(ParameterUpdater&&) noexcept;
  ParameterUpdater& operator=(ParameterUpdater&&) noexcept;
  ~ParameterUpdater();

  // Makes one update in place: parameters[i] (n) changes by gradients[i] (n); both are contiguous and of any length. The
  // first call fixes the number of arrays and their lengths; another list throws ValueError until reset(). Weight decay
  // applies to all arrays, since nothing tells which are weights. A schedule by epochs counts updates. Threads share large
  // arrays; the result does not depend on their number.
  void step(std::span<const std::span<T>> parameters, std::span<const std::span<const T>> gradients,
            std::string_view where = "optimizer.step");

  // Forgets state, count and lengths.
  void reset();
  Index steps() const;  // updates made
  // `state` returns a copy of the state; `set_state` puts one back, and throws ValueError for that of another optimizer.
  UpdaterState<T> state() const;
  void set_state(const UpdaterState<T>& state, std::string_view where = "optimizer.step");
  const Optimizer& optimizer() const;

 private:
  struct STOOP_PRIVATE Impl;
  std::unique_ptr<Impl> impl_;
};

extern template class ParameterUpdater<float>;
extern template class ParameterUpdater<double>;

}  // namespace stoop
