// The device that computes. Only device.cpp chooses it, and makes what runs on it; so far there is only the CPU.
#pragma once

#include <memory>

#include <stoop/trainer.hpp>
#include <stoop/world.hpp>

#include "executor.hpp"

namespace stoop::inline v0_1 {

template <class T>
struct Device {
  OpTable<T> ops;  // also for arrays that belong to no plan
  // How the products of a plan are made: of those that train, which may round to bfloat16, and of all others.
  GemmProvider training_products = GemmProvider::native;
  GemmProvider products = GemmProvider::native;
  const ProductTable* table = nullptr;  // where they are `automatic`
  World world{};                        // the processes that make an update together

  // Whether plans for one of them are those for the other.
  bool operator==(const Device& other) const {
    return ops.name == other.ops.name && ops.bfloat16 == other.ops.bfloat16 && products == other.products &&
           training_products == other.training_products && world.shards == other.world.shards;
  }
};

// Returns the device in use. Throws ValueError for a setting of the environment that cannot be followed, and for a precision
// that the CPU lacks.
template <class T>
Device<T> make_device(Precision precision = Precision::float32);

// Makes an executor for a plan of training or of the gradient. It refers to the device.
template <class T>
std::unique_ptr<Executor<T>> make_executor(const Device<T>& device, PlanRequest request);

// Makes an executor for prediction or evaluation, whichever the kind of the plan says, of any number of rows.
template <class T>
std::unique_ptr<const InferenceExecutor<T>> make_inference(const Device<T>& device, PlanRequest request);

// Takes rows of x through all members, whose executors are of one device. At least one row and one member.
template <class T>
InferenceResult infer_members(const Networks<T>& members);

}  // namespace stoop
