// What takes rows through the layers of a model. It is made at the first prediction: its plans take several times the memory of
// the layers, and a model that is only read or trained needs none.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>

#include "../run/device.hpp"

namespace stoop::inline v0_1 {

// Any number of threads may ask at once.
template <class T>
class Inference {
 public:
  Inference() = default;
  // Copies of a model share what was made.
  Inference(const Inference& other) : device_(other.device_), made_(other.made()) {}
  Inference& operator=(const Inference&) = delete;

  // `output` says what the outputs mean, which makes a difference to members alone.
  const InferenceExecutor<T>& of(const Graph& graph, OutputKind output) const {
    const OutputKind kind = graph.members() == 1 ? OutputKind::identity : output;
    const auto which = static_cast<std::size_t>(kind);
    if (const InferenceExecutor<T>* ready = ready_[which].load(std::memory_order_acquire)) return *ready;
    const std::lock_guard lock(mutex_);
    if (!made_[which]) {
      made_[which] = make_inference(device_, {.kind = PlanKind::inference, .graph = &graph, .output = kind});
    }
    ready_[which].store(made_[which].get(), std::memory_order_release);
    return *made_[which];
  }

 private:
  using Made = std::array<std::shared_ptr<const InferenceExecutor<T>>, kOutputKindCount>;

  Made made() const {
    const std::lock_guard lock(mutex_);
    return made_;
  }

  Device<T> device_ = make_device<T>();
  mutable std::mutex mutex_;
  mutable Made made_;
  mutable std::array<std::atomic<const InferenceExecutor<T>*>, kOutputKindCount> ready_{};
};

}  // namespace stoop
