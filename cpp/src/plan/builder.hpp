// What the passes that make a plan share: the notes about each node, and how steps and their buffers are added. What is
// only declared here is defined in the file named above it. Calls go one way: build.cpp calls the passes, the way back
// those that add a parameter's steps, all of them what is defined here.
//
// Decides for all passes how far apart the rows of a buffer lie (padded_stride), whether a product is cut by rows or by
// columns (product_cut), and when a barrier stands in front of a step (push).
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../base/memory.hpp"
#include "hazards.hpp"
#include "plan.hpp"

namespace stoop {

inline std::string numbered(const char* prefix, int number) {
  return std::string(prefix).append(std::to_string(number));
}

// Rows begin on cache lines, and not all on the same few sets of the cache when the width is a power of two.
inline Index padded_stride(Index width, Index element_size) {
  Index bytes = round_up(width * element_size, kAlignment);
  if (bytes % 4096 == 0) bytes += kAlignment;
  return bytes / element_size;
}

// What the plan decides about a node of the graph.
struct NodePlan {
  int value = kNone;  // buffers: the output,
  int saved = kNone;  // what the derivative of the activation is computed from,
  int statistics = kNone;
  int partials = kNone;
  int mask = kNone;
  int grad = kNone;      // and the gradient with respect to the output
  Activation fused{};    // activation computed with the product
  bool gated = false;    // f' of that activation is in `grad` already
  bool dropped = false;  // the mask of this dropout is
  bool summed = false;   // the sums its gradient needs are taken with the product that makes `grad`
  bool skipped = false;  // does nothing here: its value is its input's
  bool needs_grad = false;
};

class PlanBuilder {
 public:
  explicit PlanBuilder(const PlanRequest& request)
      : request_(request), graph_(*request.graph), nodes_(graph_.nodes.size()) {
    plan_.kind = request.kind;
    plan_.loss = request.loss;
    plan_.class_targets = request.class_targets;
    plan_.batch = request.batch;
    plan_.output_dim = graph_.output_dim();
  }

  Plan build();

 private:
  // ---- build_forward.cpp ----

  void forward();
  void forward(int i);
  void forward_input(int i);
  void forward_dense(int i);
  int following_activation(int i) const;
  int fusable_activation(int i) const;
  void skip(int i);
  Step start_elementwise(StepKind kind, int i, bool own_buffer = true);
  bool is_kept(int i) const;
  void forward_activation(int i);
  void forward_dropout(int i);
  void forward_batch_norm(int i);
  int forward_moments(int i);
  void forward_layer_norm(int i);
  void forward_add(int i);
  void loss();

  // ---- build_backward.cpp ----

  void backward();
  void backward(int i);
  void gate(int i, const Activation& activation);
  void pass(int buffer, int to);
  int copy_gradient(int from, int to, StepKind kind, int output);
  void backward_add(int i);
  void backward_dense(int i);
  bool is_dropped_with_product(int i) const;
  Step start_dropout_gradient(int i, int gradient, Cut cut);
  int summed_source(int i);
  Step start_sums(int i, int gradient, Cut cut);
  int gated_source(int i);
  void backward_dropout(int i);
  void backward_batch_norm(int i);
  void backward_layer_norm(int i);

  // ---- build_parameters.cpp ----

  void add_weight_steps(int i);
  void add_vector_step(StepKind kind, int i, int parameter, int sums, int row);
  void add_parameter_step(Step step, int parameter);
  void follow_statistics();
  void append_parameter_steps();
  void finish_gradients();
  void limit_norms();

  // ---- the request and the graph ----

  bool updates() const { return request_.kind == PlanKind::training || request_.kind == PlanKind::checked; }
  bool uses_batch_statistics() const { return trains_ && request_.batch_statistics; }

  static std::size_t index(int i) { return static_cast<std::size_t>(i); }
  const Node& node(int i) const { return graph_.nodes[index(i)]; }
  NodePlan& planned(int i) { return nodes_[index(i)]; }
  Index offset(int parameter) const {
    return parameter == kNone ? kNone : graph_.parameters[index(parameter)].info.offset;
  }
  int node_count() const { return static_cast<int>(graph_.nodes.size()); }

  double product_flops(const Node& n) const {
    return 2.0 * static_cast<double>(request_.batch) * static_cast<double>(n.in_features) *
           static_cast<double>(n.out_features);
  }

  // ---- buffers ----

  int add_buffer(std::string name, Index width, Index rows = 0) {
    const Index stride = rows > 0 ? round_up(width, kAlignment) : padded_stride(width, request_.element_size);
    plan_.buffers.push_back({std::move(name), width, request_.element_size, stride, time_, time_, rows});
    return static_cast<int>(plan_.buffers.size()) - 1;
  }

  int add_mask(int i) {
    const Index bytes = (node(i).out_features + 7) / 8;
    plan_.buffers.push_back({numbered("mask", i), bytes, 1, round_up(bytes, kAlignment), time_, time_});
    return static_cast<int>(plan_.buffers.size()) - 1;
  }

  int add_partials(const char* name, int i, Index sums) {
    return add_buffer(numbered(name, i), node(i).out_features, sums * most_statistics_groups(request_.batch));
  }

  // ---- steps ----

  Step start_step(StepKind kind, Cut cut, int i) const {
    Step step;
    step.kind = kind;
    step.cut = cut;
    step.node = i;
    step.provider = request_.provider;
    if (i == kNone) return step;
    const Node& n = node(i);
    step.in_features = n.in_features;
    step.out_features = n.out_features;
    step.parameter = offset(n.weight);
    step.bias = offset(n.bias);
    step.eps = n.eps;
    step.momentum = n.momentum;
    step.rate = n.rate;
    return step;
  }

  // A step of a batch normalisation, cut as its input is.
  Step start_batch_norm(StepKind kind, int i) {
    const int input = planned(node(i).input).value;
    Step step = start_step(kind, cut_of(input), i);
    step.input = input;
    step.statistics = planned(i).statistics;
    set_activation(step, planned(i).fused);
    step.running_mean = graph_.buffers[index(node(i).running_mean)].info.offset;
    step.running_var = graph_.buffers[index(node(i).running_var)].info.offset;
    return step;
  }

  static void set_activation(Step& step, const Activation& activation) {
    step.activation = kind_of(activation);
    step.activation_numbers = numbers_of(activation);
  }

  // The cut under which a buffer was last written.
  Cut cut_of(int buffer) const { return index(buffer) < cuts_.size() ? cuts_[index(buffer)] : Cut::rows; }

  // By rows every thread reads all of the weight, by columns all of the rows. What is read comes from other cores or
  // from memory, so the smaller of the two is shared, unless the weight is too small to repay the barrier.
  Cut product_cut(const Node& n) const {
    constexpr Index kLeastElements = 1 << 16;
    const Index weight = n.in_features * n.out_features;
    const bool columns = weight >= kLeastElements && weight > request_.batch * (n.in_features + n.out_features);
    return trains_ && columns ? Cut::columns : Cut::rows;
  }

  // Appends the step, with a barrier in front where it needs one; each step is a unit of time for the buffers.
  // The `epilogue` is done within the step, so the barrier is for all of them.
  void push(Step step, std::span<const Step> epilogue = {}) {
    std::vector<Access> accesses = accesses_of(step);
    for (const Step& taken : epilogue) {
      const std::vector<Access> more = accesses_of(taken);
      accesses.insert(accesses.end(), more.begin(), more.end());
    }
    step.barrier = trains_ && hazards_.needs_barrier(accesses);
    step.takes = static_cast<int>(epilogue.size());
    last_ = plan_.steps.size();
    append(step);
    for (const Step& taken : epilogue) append(taken);
  }

  // Appends a step that works on the output of a dense: in its epilogue, if nothing else has been appended since. That
  // has one dropout, and then the sums of a batch normalisation, and no barrier within.
  void push_behind_dense(const Step& step) {
    const std::size_t dense = last_;
    push(step);
    Step& before = plan_.steps[dense];
    const bool of_dense = before.kind == StepKind::dense && before.output == step.input;
    if (!of_dense || request_.kind == PlanKind::curvature) return;
    if (step.kind == StepKind::dropout && before.takes > 0) return;
    if (plan_.steps.back().barrier) return;
    before.takes += 1;
    last_ = dense;
  }

  void append(const Step& step) {
    for (const Access& access : accesses_of(step)) {
      plan_.buffers[index(access.buffer)].last = time_;
      if (access.write) cuts_.resize(plan_.buffers.size(), Cut::rows), cuts_[index(access.buffer)] = step.cut;
    }
    plan_.grouped = plan_.grouped || step.partials != kNone;
    ++time_;
    plan_.steps.push_back(step);
  }

  const PlanRequest& request_;
  const Graph& graph_;
  std::vector<NodePlan> nodes_;
  Plan plan_;
  Hazards hazards_;
  std::vector<Cut> cuts_;  // by buffer
  std::size_t last_ = 0;   // the last step that no other takes
  std::vector<Step> parameter_steps_;
  const bool trains_ = request_.kind != PlanKind::inference && request_.kind != PlanKind::evaluation;
  int time_ = 0;
};

}  // namespace stoop
