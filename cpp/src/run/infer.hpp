// Inference: takes rows through a plan in which no row needs another.
#pragma once

#include "../data/sample_rows.hpp"
#include "../data/input_rows.hpp"
#include "../plan/plan.hpp"
#include "../spec/losses.hpp"
#include "../team/poller.hpp"

namespace stoop {

// Takes rows of x through an inference plan, or through an evaluation plan, whose loss is added up (`out` is then not used).
template <class T>
struct InferenceRun {
  const Plan* plan = nullptr;
  const OpTable<T>* ops = nullptr;
  const T* parameters = nullptr;
  const T* running = nullptr;
  Numbers<Loss> loss_numbers;
  SampleRows<T> data;
  MatrixView<T> out;
  int threads = 1;
  Poller* poller = nullptr;
};

struct InferenceResult {
  double loss_sum = 0.0;  // weighted
  double correct = 0.0;
  Index non_finite_row = kNone;  // of a mapped x; nothing else counts then
  BadLabel bad_label{};          // the same
  bool interrupted = false;      // the same: the poller said no
};

template <class T>
InferenceResult run_inference(const InferenceRun<T>& run);

}  // namespace stoop
