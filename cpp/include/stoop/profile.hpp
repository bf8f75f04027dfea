// Tells where the time of a training step goes.
#pragma once

#include <string>
#include <type_traits>
#include <vector>

#include <stoop/trainer.hpp>

namespace stoop::inline v0_1 {

// A step of the plan that fit walks for every batch, in the fastest of several measurements.
struct StepTime {
  std::string name;  // what it does, with the parameter and its size
  double seconds = 0.0;
  double flops = 0.0;  // of a matrix product, else 0
  double bytes = 0.0;  // that it reads and writes, from cache or memory; 0 for waiting
};

struct Profile {
  std::vector<StepTime> steps;  // the last one is "waiting": for other threads, and between batches
  double seconds = 0.0;         // of a whole batch, measured apart without a look at the clock between steps
  int threads = 1;              // that fit uses for this batch size
};

// Measures for about half a second, or for three batches where these take longer, how long each step of a batch of fit
// takes. It trains a copy with a learning rate so small that nothing changes, so the trainer and its model stay as they
// are. Throws ValueError for optimizers of the full batch, NonFiniteLossError, and Interrupted if keep_going says so.
template <class T>
STOOP_API Profile profile(const Trainer<T>& trainer, const InputView& x, const std::type_identity_t<Targets<T>>& y,
                          Index batch_size = 128, const KeepGoing& keep_going = {});

extern template Profile profile(const Trainer<float>&, const InputView&, const Targets<float>&, Index,
                                const KeepGoing&);
extern template Profile profile(const Trainer<double>&, const InputView&, const Targets<double>&, Index,
                                const KeepGoing&);

}  // namespace stoop
