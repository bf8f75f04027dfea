// (layers, loss, batch size) -> ordered steps. Decides the fusions: an activation that follows a Dense goes into its
// product's epilogue, its derivative into the epilogue of the product that makes the gradient it multiplies.
//
// Training has two barriers a step. Between them each thread carries its own rows from gathering through the forward
// pass, the loss and the gradients of the inputs; behind the first one the work is cut by parameters instead.

#include <algorithm>

#include "arena.hpp"
#include "plan.hpp"

namespace stoop {
namespace {

// A layer, or a Dense with the activation that follows it.
struct Node {
  bool dense = false;
  Index in_features = 0;
  Index out_features = 0;
  Index weight = kNone;
  Index bias = kNone;
  ActivationKind activation = ActivationKind::identity;
  double activation_parameter = 0.0;
  int value = kNone;  // buffer of the output
  int grad = kNone;   // buffer of the gradient with respect to it
};

std::string numbered(const char* prefix, std::size_t number) {
  return std::string(prefix).append(std::to_string(number));
}

Index offset_of(std::span<const ParameterInfo> parameters, std::size_t layer, const char* what) {
  const std::string name = numbered("", layer).append(".").append(what);
  for (const ParameterInfo& p : parameters) {
    if (p.name == name) return p.offset;
  }
  return kNone;
}

std::vector<Node> lower(const PlanRequest& request) {
  std::vector<Node> nodes;
  Index width = request.model->input_dim;
  const std::vector<Layer>& layers = request.model->layers;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (const Dense* dense = std::get_if<Dense>(&layers[i])) {
      nodes.push_back({true, width, dense->units, offset_of(request.parameters, i, "weight"),
                       offset_of(request.parameters, i, "bias"), kind_of(dense->activation),
                       parameter_of(dense->activation)});
      width = dense->units;
      continue;
    }
    const Activation activation = *as_activation(layers[i]);
    const ActivationKind kind = kind_of(activation);
    if (kind == ActivationKind::identity) continue;
    const bool fuses = !nodes.empty() && nodes.back().dense && nodes.back().activation == ActivationKind::identity;
    if (!fuses) nodes.push_back({false, width, width});
    nodes.back().activation = kind;
    nodes.back().activation_parameter = parameter_of(activation);
  }
  return nodes;
}

// Rows begin on cache lines, and not all on the same few sets of the cache when the width is a power of two.
Index padded_stride(Index width, Index element_size) {
  Index bytes = round_up(width * element_size, kAlignment);
  if (bytes % 4096 == 0) bytes += kAlignment;
  return bytes / element_size;
}

class Builder {
 public:
  explicit Builder(const PlanRequest& request) : request_(request), nodes_(lower(request)) {
    plan_.kind = request.kind;
    plan_.loss = request.loss;
    plan_.batch = request.batch;
    plan_.output_dim = nodes_.empty() ? request.model->input_dim : nodes_.back().out_features;
  }

  Plan build() {
    plan_.input_buffer = add_buffer("x", request_.model->input_dim, !trains_);
    if (trains_) add_row_step(StepKind::gather, kNone, plan_.input_buffer);
    forward();
    if (request_.kind != PlanKind::inference) loss(trains_);
    if (trains_) {
      backward_inputs();
      parameter_gradients();
      finish_gradients();
    }
    plan_.buffers[index(plan_.output_buffer)].external = request_.kind == PlanKind::inference;
    if (trains_) live_to_the_end();
    plan_.arena_bytes = layout_arena(plan_.buffers, request_.batch);
    return std::move(plan_);
  }

 private:
  static std::size_t index(int i) { return static_cast<std::size_t>(i); }

  int add_buffer(std::string name, Index width, bool external = false) {
    const Index stride = padded_stride(width, request_.element_size);
    plan_.buffers.push_back(
        {std::move(name), width, request_.element_size, stride, trains_ ? 0 : time_, time_, 0, external});
    return static_cast<int>(plan_.buffers.size()) - 1;
  }

  void touch(int buffer) {
    if (buffer != kNone) plan_.buffers[index(buffer)].last = time_;
  }

  // Adds a step that is cut by rows; each is a unit of time for the buffers.
  Step& add_row_step(StepKind kind, int input, int output) {
    Step step;
    step.kind = kind;
    step.input = input;
    step.output = output;
    touch(input);
    touch(output);
    ++time_;
    plan_.steps.push_back(step);
    return plan_.steps.back();
  }

  static void describe_node(Step& step, const Node& node) {
    step.in_features = node.in_features;
    step.out_features = node.out_features;
    step.weight = node.weight;
    step.bias = node.bias;
    step.activation = node.activation;
    step.activation_parameter = node.activation_parameter;
  }

  void forward() {
    int value = plan_.input_buffer;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      Node& node = nodes_[i];
      node.value = add_buffer(numbered("h", i), node.out_features);
      Step& step = add_row_step(node.dense ? StepKind::dense : StepKind::activation, value, node.value);
      describe_node(step, node);
      step.provider = request_.provider;
      if (node.dense) plan_.flops += product_flops(node);
      value = node.value;
    }
    plan_.output_buffer = value;
  }

  double product_flops(const Node& node) const {
    return 2.0 * static_cast<double>(request_.batch) * static_cast<double>(node.in_features) *
           static_cast<double>(node.out_features);
  }

  void loss(bool wants_gradient) {
    if (wants_gradient && !takes_classes(request_.loss)) {
      plan_.target_buffer = add_buffer("y", plan_.output_dim);
      add_row_step(StepKind::gather_targets, kNone, plan_.target_buffer);
    }
    if (wants_gradient) plan_.loss_gradient_buffer = add_buffer("d_out", plan_.output_dim);
    Step& step = add_row_step(StepKind::loss, plan_.output_buffer, plan_.loss_gradient_buffer);
    step.out_features = plan_.output_dim;
    touch(plan_.target_buffer);
  }

  // The gradient with respect to each node's input, last node first. A node's `grad` is with respect to what it
  // computes before its activation.
  void backward_inputs() {
    int grad = plan_.loss_gradient_buffer;
    bool gated = false;  // f' of the node is in `grad` already
    for (std::size_t i = nodes_.size(); i-- > 0;) {
      Node& node = nodes_[i];
      if (!gated && node.activation != ActivationKind::identity) {
        Step& step = add_row_step(StepKind::activation_gradient, kNone, grad);
        describe_node(step, node);
        step.gate = node.value;
        touch(node.value);
      }
      node.grad = grad;
      gated = false;
      if (!node.dense) continue;
      if (!has_parameters_before(i)) break;
      const Node& before = nodes_[i - 1];
      grad = add_buffer(numbered("d", i - 1), node.in_features);
      Step& step = add_row_step(StepKind::input_gradient, node.grad, grad);
      describe_node(step, node);
      step.provider = request_.provider;
      step.activation = before.activation;
      step.activation_parameter = before.activation_parameter;
      step.gate = before.value;
      touch(before.value);
      touch(node.grad);
      gated = true;
      plan_.flops += product_flops(node);
    }
  }

  bool has_parameters_before(std::size_t i) const {
    return std::any_of(nodes_.begin(), nodes_.begin() + static_cast<std::ptrdiff_t>(i),
                       [](const Node& node) { return node.dense; });
  }

  After after_gradient() const {
    if (request_.kind == PlanKind::training) return After::update;
    return After::regularize;
  }

  // Rows of a weight per block: about 16 blocks, so that several threads share evenly, whole micro-kernel tiles, and no
  // more than half a megabyte, so that the update finds its gradient in cache.
  static Index weight_block(Index in_features, Index out_features) {
    constexpr Index kBlocks = 16, kMostElements = 1 << 17;
    const Index tile = in_features >= 32 ? 8 : 4;
    const Index even = round_up(block_count(in_features, kBlocks), tile);
    const Index most = std::max(tile, kMostElements / out_features / tile * tile);
    return std::min({even, most, in_features});
  }

  void add_parameter_step(const Node& node, int input, bool is_weight) {
    constexpr Index kBiasBlock = 64;
    Step step;
    step.kind = is_weight ? StepKind::weight_gradient : StepKind::bias_gradient;
    step.cut = Cut::parameter;
    step.input = is_weight ? input : node.grad;
    step.gate = is_weight ? node.grad : kNone;
    describe_node(step, node);
    step.provider = request_.provider;
    step.after = after_gradient();
    step.regularized = is_weight;
    step.extent = is_weight ? node.in_features : node.out_features;
    step.block = is_weight ? weight_block(node.in_features, node.out_features) : std::min(kBiasBlock, step.extent);
    step.row_elements = is_weight ? node.out_features : 1;
    step.first_sum = plan_.sum_slots;
    plan_.sum_slots += block_count(step.extent, step.block);
    plan_.block_elements = std::max(plan_.block_elements, step.block * step.row_elements);
    touch(input);
    touch(node.grad);
    plan_.steps.push_back(step);
  }

  // After a barrier all threads may read all rows: the gradients of the parameters, cut by parameters.
  void parameter_gradients() {
    add_everyone_step(StepKind::check_loss);
    for (std::size_t i = nodes_.size(); i-- > 0;) {
      const Node& node = nodes_[i];
      if (!node.dense) continue;
      const int input = i == 0 ? plan_.input_buffer : nodes_[i - 1].value;
      add_parameter_step(node, input, true);
      if (node.bias != kNone) add_parameter_step(node, input, false);
      plan_.flops += product_flops(node);
    }
  }

  void add_everyone_step(StepKind kind) {
    Step step;
    step.kind = kind;
    step.cut = Cut::everyone;
    step.barrier = true;
    plan_.steps.push_back(step);
  }

  // Checked training: the norm of all gradients is known before the first update.
  void finish_gradients() {
    if (request_.kind != PlanKind::checked) return;
    std::vector<Step> updates;
    for (const Step& step : plan_.steps) {
      if (step.cut != Cut::parameter) continue;
      updates.push_back(step);
      updates.back().kind = StepKind::update_weight;
      updates.back().after = After::update;
      if (step.kind == StepKind::bias_gradient) updates.back().weight = step.bias;
    }
    add_everyone_step(StepKind::check_gradient);
    plan_.steps.insert(plan_.steps.end(), updates.begin(), updates.end());
  }

  // Training reads all values and gradients again behind the barrier, so they live to the end of the step. In inference
  // each thread has an arena of its own and a buffer's place is free after its last reader.
  void live_to_the_end() {
    for (Buffer& buffer : plan_.buffers) buffer.last = time_;
  }

  const PlanRequest& request_;
  std::vector<Node> nodes_;
  Plan plan_;
  const bool trains_ = request_.kind != PlanKind::inference && request_.kind != PlanKind::evaluation;
  int time_ = 0;
};

}  // namespace

Plan build_plan(const PlanRequest& request) { return Builder(request).build(); }

}  // namespace stoop
