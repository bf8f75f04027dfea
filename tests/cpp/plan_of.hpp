// The plan of a model, for tests of plans.
#pragma once

#include "base/memory.hpp"
#include "plan/lower.hpp"
#include "plan/plan.hpp"
#include "test_helpers.hpp"

namespace stoop {

template <class T>
Plan plan_of(const Model<T>& model, PlanKind kind, LossKind loss, Index batch) {
  const Graph graph = build_graph(model.config(), kAlignment / static_cast<Index>(sizeof(T)));
  PlanRequest request;
  request.kind = kind;
  request.graph = &graph;
  request.loss = loss;
  request.class_targets = takes_classes(loss);
  request.batch = batch;
  request.element_size = sizeof(T);
  return build_plan(request);
}

}  // namespace stoop
