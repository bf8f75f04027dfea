#include "device.hpp"

#include <utility>

#include "../cpu/select.hpp"
#include "infer.hpp"
#include "infer_members.hpp"
#include "sharded_executor.hpp"
#include "sharded_inference.hpp"
#include "team_executor.hpp"

namespace stoop::inline v0_1 {

template <class T>
Device<T> make_device(Precision precision) {
  Device<T> device{.ops = active_table<T>()};
  device.products = device.training_products = select_gemm_provider();
  device.table = product_table(device.ops.name);
  if (precision == Precision::bfloat16) {
    device.ops.bfloat16 = &bfloat16_table(select_bfloat16());
    device.training_products = GemmProvider::bfloat16;
  }
  return device;
}

namespace {

template <class T>
void set_products(const Device<T>& device, PlanRequest& request) {
  const bool trains = request.kind == PlanKind::training || request.kind == PlanKind::checked ||
                      request.kind == PlanKind::gradient || request.kind == PlanKind::pieces;
  request.element_size = sizeof(T);
  request.provider = trains ? device.training_products : device.products;
  request.table = device.table;
}

// Returns how many elements of the parameters a process updates at a time, or 0 where it has to update all: they are few, or one
// element's update depends on others of its parameter.
template <class T>
Index slice_of(const World& world, const PlanRequest& request) {
  using Array = SharedArray<T>;
  const Index elements = Array::padded(world, request.graph->parameter_elements);
  return Array::is_small(elements) || request.apply_updates || request.limit_norm ? 0 : elements / world.shards;
}

template <class T>
std::unique_ptr<Executor<T>> make_sharded(const Device<T>& device, const PlanRequest& request) {
  PlanRequest gradient = request, apply = request;
  gradient.kind = PlanKind::gradient;
  gradient.raw = true;
  gradient.groups = device.world.shards / device.world.collectives.size;
  gradient.update_statistics = has_node(*request.graph, NodeKind::batch_norm);
  if (gradient.update_statistics) gradient.batch += 1;  // a piece of one row joins another
  apply.kind = PlanKind::apply;
  apply.batch = 1;
  apply.slice = slice_of<T>(device.world, request);
  set_products(device, apply);
  return std::make_unique<ShardedExecutor<T>>(
      device.world, device.ops,
      typename ShardedExecutor<T>::Plans{make_executor(device, gradient),
                                         std::make_unique<TeamExecutor<T>>(build_plan(apply), device.ops),
                                         apply.slice > 0},
      request);
}

}  // namespace

template <class T>
std::unique_ptr<Executor<T>> make_executor(const Device<T>& device, PlanRequest request) {
  if (device.world.shards > 1 && (request.kind == PlanKind::training || request.kind == PlanKind::checked)) {
    return make_sharded(device, request);
  }
  set_products(device, request);
  return std::make_unique<TeamExecutor<T>>(build_plan(request), device.ops);
}

template <class T>
std::unique_ptr<const InferenceExecutor<T>> make_inference(const Device<T>& device, PlanRequest request) {
  set_products(device, request);
  auto team = std::make_unique<const TeamInference<T>>(request, device.ops);
  if (device.world.shards == 1 || request.kind != PlanKind::evaluation) return team;
  return std::make_unique<const ShardedInference<T>>(device.world, std::move(team));
}

template <class T>
InferenceResult infer_members(const Networks<T>& members) {
  return infer_members_on_team(members);
}

template Device<float> make_device(Precision);
template Device<double> make_device(Precision);
template std::unique_ptr<Executor<float>> make_executor(const Device<float>&, PlanRequest);
template std::unique_ptr<Executor<double>> make_executor(const Device<double>&, PlanRequest);
template std::unique_ptr<const InferenceExecutor<float>> make_inference(const Device<float>&, PlanRequest);
template std::unique_ptr<const InferenceExecutor<double>> make_inference(const Device<double>&, PlanRequest);
template InferenceResult infer_members(const Networks<float>&);
template InferenceResult infer_members(const Networks<double>&);

}  // namespace stoop
