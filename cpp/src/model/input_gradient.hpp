// Derivatives of a model's outputs with respect to its inputs, in inference mode.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "../run/device.hpp"

namespace stoop::inline v0_1 {

// The derivatives at some samples.
template <class T>
struct Derivatives {
  const Graph* graph = nullptr;  // of the model
  OutputKind output = OutputKind::identity;
  const T* parameters = nullptr;
  const T* running = nullptr;
  SampleRows<T> data;
  MatrixView<const T> grad_output;  // of one product; without memory: all derivatives of each output are wanted
  MatrixView<T> out;                // (rows, inputs), or (rows, outputs * inputs)
  Poller* poller = nullptr;
};

// Keeps executors for calls to come. Each is used by one call at a time.
template <class T>
class InputGradients {
 public:
  InputGradients() = default;
  InputGradients(const InputGradients&) {}  // a copy of a model makes its own
  InputGradients& operator=(const InputGradients&) = delete;

  // Returns false if the poller said no; `out` then holds some of the result.
  bool compute(const Derivatives<T>& wanted);

 private:
  struct Worker {
    std::unique_ptr<Executor<T>> executor;
    std::vector<T> unit;  // (outputs), all but one 0
  };

  std::vector<Worker>& idle(const Derivatives<T>& wanted, bool few) {
    return idle_[static_cast<std::size_t>(wanted.output)][few ? 1 : 0];
  }
  Worker take(const Derivatives<T>& wanted, bool few);

  const Device<T> device_ = make_device<T>();
  std::mutex mutex_;
  std::vector<Worker> idle_[kOutputKindCount][2];  // for many and for few rows
};

}  // namespace stoop
