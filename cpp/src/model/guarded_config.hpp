// The configuration of a model. Its output, classes and metadata may be set while other threads read it.
#pragma once

#include <mutex>
#include <optional>
#include <utility>

#include <stoop/model.hpp>

namespace stoop::inline v0_1 {

class GuardedConfig {
 public:
  explicit GuardedConfig(ModelConfig config) : config_(std::move(config)), output_given_(config_.output.has_value()) {}
  GuardedConfig(const GuardedConfig& other) : GuardedConfig(other, std::lock_guard(other.mutex_)) {}
  GuardedConfig& operator=(const GuardedConfig&) = delete;

  // Any thread may read what nobody sets: the layers, the seed and all that concerns the input.
  const ModelConfig& get() const { return config_; }

  ModelConfig now() const {
    const std::lock_guard lock(mutex_);
    return config_;
  }
  std::optional<OutputKind> output() const {
    const std::lock_guard lock(mutex_);
    return config_.output;
  }
  bool output_given() const {
    const std::lock_guard lock(mutex_);
    return output_given_;
  }

  void set_output(std::optional<OutputKind> output) {
    const std::lock_guard lock(mutex_);
    config_.output = output;
    output_given_ = output.has_value();
  }
  void set_output_by_training(OutputKind output) {
    const std::lock_guard lock(mutex_);
    if (!output_given_) config_.output = output;
  }
  // The old values are destroyed after the lock is released.
  void exchange(std::optional<ClassNames>& classes) {
    const std::lock_guard lock(mutex_);
    std::swap(config_.classes, classes);
  }
  void exchange(Metadata& metadata) {
    const std::lock_guard lock(mutex_);
    std::swap(config_.metadata, metadata);
  }

 private:
  GuardedConfig(const GuardedConfig& other, const std::lock_guard<std::mutex>&)
      : config_(other.config_), output_given_(other.output_given_) {}

  ModelConfig config_;
  bool output_given_;  // by the caller, not by training
  mutable std::mutex mutex_;
};

}  // namespace stoop
