// What runs the plans of a network: its executors. A trainer has its own. In fit_many each thread has some for every kind of
// network that it meets, and lends them to a trainer as long as its fit lasts, so that equal trainers share plans and
// arenas, and a trainer that waits or is done holds none.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "../graph/graph.hpp"
#include "../run/plan_cache.hpp"

namespace stoop::inline v0_1 {

// The graph and the device must outlive it.
template <class T>
class Runners {
 public:
  Runners(const Graph& of, const Device<T>& with) : graph(of), device(with), plans(with) {}

  const Graph& graph;
  const Device<T>& device;
  PlanCache<T> plans;

  // Returns what evaluates for this request. Trainers that share runners may have different losses.
  const InferenceExecutor<T>& evaluation(const PlanRequest& request) {
    const auto found = std::ranges::find(evaluations_, request, &Evaluation::request);
    if (found != evaluations_.end()) return *found->executor;
    evaluations_.push_back({request, make_inference(device, request)});
    return *evaluations_.back().executor;
  }

 private:
  struct Evaluation {
    PlanRequest request;
    std::unique_ptr<const InferenceExecutor<T>> executor;
  };
  std::vector<Evaluation> evaluations_;  // made when they are needed
};

}  // namespace stoop
