// Everything that training carries from one update to the next, in one object. Executors read and write it,
// Trainer::state() is a copy of it, and a rollback restores it.
#pragma once

#include <span>
#include <vector>

#include <stoop/optimizers.hpp>
#include <stoop/types.hpp>

#include "../base/memory.hpp"
#include "../ops/ops.hpp"

namespace stoop::inline v0_1 {

// Pointers to the state for an executor. Arrays are laid out as the parameters, except `running`.
template <class T>
struct StateView {
  T* parameters = nullptr;
  T* running = nullptr;        // statistics of batch normalisation, laid out as Model::buffer_block()
  T* state[kMostStates] = {};  // of the optimizer
  T* average = nullptr;        // moving average of the parameters, or null
  T* gradient = nullptr;       // of plans that keep it
};

// Sums over the blocks of the parameters in the last update. The next update looks at their sizes.
struct BlockSums {
  std::vector<double> penalties;  // the part of the regularisation term of the loss
  std::vector<double> squares;    // of the gradient, regularisation included
  std::vector<double> norms;      // the root of these, where they leave the range of double
  std::vector<double> steps;      // two for each block: what an optimizer that needs norms gives in its first pass

  void resize(Index blocks) {
    if (static_cast<Index>(squares.size()) == blocks) return;
    for (std::vector<double>* sums : {&penalties, &squares, &norms})
      sums->assign(static_cast<std::size_t>(blocks), 0.0);
    steps.assign(2 * squares.size(), 0.0);
  }
};

template <class T>
struct LiveState {
  // The model owns these two, because it lives without a trainer and several trainers may share it.
  std::span<T> parameters, running;
  AlignedBuffer<T> optimizer[kMostStates];
  AlignedBuffer<T> average;   // of the parameters, or the parameters while the average is in the model
  AlignedBuffer<T> gradient;  // made when the first plan keeps it
  bool swapped = false;
  Index epoch = 0;  // epochs completed
  Index steps = 0;  // updates made

  StateView<T> view() {
    StateView<T> view{.parameters = parameters.data(), .running = running.data()};
    for (int i = 0; i < kMostStates; ++i) view.state[i] = optimizer[i].data();
    view.average = average.data();
    view.gradient = gradient.data();
    return view;
  }

  // The arrays that an update changes.
  std::vector<std::span<T>> changed_arrays(bool with_optimizer = true) {
    std::vector<std::span<T>> arrays = {parameters, running, average.elements()};
    for (AlignedBuffer<T>& array : optimizer) arrays.push_back(with_optimizer ? array.elements() : std::span<T>());
    std::erase_if(arrays, [](const std::span<T>& array) { return array.empty(); });
    return arrays;
  }
};

}  // namespace stoop
