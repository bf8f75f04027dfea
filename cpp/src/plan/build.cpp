// (graph, loss, batch size) -> ordered steps. Decides three things:
//
// Fusion: an activation whose derivative follows from its output is computed in the epilogue of the product before it,
// and the derivative in the epilogue of the product that makes the gradient it multiplies.
//
// The cut: steps are divided by rows of the batch, so that a thread carries its rows from layer to layer, and products
// with a large weight by columns. What works element by element takes the cut of what it reads; so does a batch
// normalisation, which finds the sums of all rows in groups.
//
// Barriers: one stands where a step reads or overwrites what another thread's share of an earlier step has written or
// read since the last barrier. Without batch normalisation that leaves two a step of training.

#include <algorithm>
#include <utility>

#include "arena.hpp"
#include "hazards.hpp"
#include "plan.hpp"
#include "tangent.hpp"

namespace stoop {
namespace {

std::string numbered(const char* prefix, int number) { return std::string(prefix).append(std::to_string(number)); }

// Rows begin on cache lines, and not all on the same few sets of the cache when the width is a power of two.
Index padded_stride(Index width, Index element_size) {
  Index bytes = round_up(width * element_size, kAlignment);
  if (bytes % 4096 == 0) bytes += kAlignment;
  return bytes / element_size;
}

// What the plan decides about a node of the graph.
struct NodePlan {
  int value = kNone;  // buffers: the output,
  int saved = kNone;  // what the derivative of the activation is computed from,
  int statistics = kNone;
  int sums = kNone;
  int partials = kNone;
  int mask = kNone;
  bool summed = false;   // the sums its gradient needs are taken with the product that makes `grad`
  int grad = kNone;      // and the gradient with respect to the output
  Activation fused{};    // activation computed with the product
  bool gated = false;    // f' of that activation is in `grad` already
  bool skipped = false;  // does nothing here: its value is its input's
  bool needs_grad = false;
};

class Builder {
 public:
  explicit Builder(const PlanRequest& request)
      : request_(request), graph_(*request.graph), nodes_(graph_.nodes.size()) {
    plan_.kind = request.kind;
    plan_.loss = request.loss;
    plan_.class_targets = request.class_targets;
    plan_.batch = request.batch;
    plan_.output_dim = graph_.output_dim();
  }

  Plan build() {
    forward();
    if (request_.kind != PlanKind::inference) loss();
    if (trains_) {
      backward();
      finish_gradients();
      if (request_.limit_norm && updates()) limit_norms();
      for (Buffer& buffer : plan_.buffers) buffer.first = 0, buffer.last = time_;  // all is read again at the end
    }
    plan_.arena_bytes = layout_arena(plan_.buffers, request_.batch);
    return std::move(plan_);
  }

 private:
  static std::size_t index(int i) { return static_cast<std::size_t>(i); }
  const Node& node(int i) const { return graph_.nodes[index(i)]; }
  NodePlan& planned(int i) { return nodes_[index(i)]; }
  Index offset(int parameter) const {
    return parameter == kNone ? kNone : graph_.parameters[index(parameter)].info.offset;
  }
  int node_count() const { return static_cast<int>(graph_.nodes.size()); }

  // ---- buffers and steps ----

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

  static void set_activation(Step& step, const Activation& activation) {
    step.activation = kind_of(activation);
    step.activation_parameter = parameter_of(activation);
  }

  // Appends the step, with a barrier in front where it needs one; each step is a unit of time for the buffers. `epilogue`
  // is done within the step, so the barrier is for both.
  void push(Step step, const Step* epilogue = nullptr) {
    std::vector<Access> accesses = accesses_of(step);
    if (epilogue != nullptr) {
      const std::vector<Access> more = accesses_of(*epilogue);
      accesses.insert(accesses.end(), more.begin(), more.end());
    }
    step.barrier = trains_ && hazards_.needs_barrier(accesses);
    step.takes_next = epilogue != nullptr;
    append(step);
    if (epilogue != nullptr) append(*epilogue);
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

  // The cut under which a buffer was last written.
  Cut cut_of(int buffer) const { return index(buffer) < cuts_.size() ? cuts_[index(buffer)] : Cut::rows; }

  // By rows every thread reads all of the weight, by columns all of the rows. What is read comes from other cores or from
  // memory, so the smaller of the two is shared, unless the weight is too small to repay the barrier.
  Cut product_cut(const Node& n) const {
    constexpr Index kLeastElements = 1 << 16;
    const Index weight = n.in_features * n.out_features;
    const bool columns = weight >= kLeastElements && weight > request_.batch * (n.in_features + n.out_features);
    return trains_ && columns ? Cut::columns : Cut::rows;
  }

  bool uses_batch_statistics() const { return trains_ && request_.batch_statistics; }

  // ---- forward ----

  void forward() {
    for (int i = 0; i < node_count(); ++i) {
      NodePlan& p = planned(i);
      p.needs_grad = node(i).weight != kNone && node(i).trainable;
      for (const int from : {node(i).input, node(i).other}) {
        if (from != kNone) p.needs_grad = p.needs_grad || planned(from).needs_grad;
      }
      forward(i);
    }
    plan_.input_buffer = planned(0).value;
    plan_.output_buffer = planned(node_count() - 1).value;
    if (!trains_) plan_.buffers[index(plan_.input_buffer)].external = true;
    if (request_.kind == PlanKind::inference) plan_.buffers[index(plan_.output_buffer)].external = true;
  }

  void forward(int i) {
    switch (node(i).kind) {
      case NodeKind::input:
        return forward_input(i);
      case NodeKind::dense:
        return forward_dense(i);
      case NodeKind::activation:
        return forward_activation(i);
      case NodeKind::batch_norm:
        return forward_batch_norm(i);
      case NodeKind::layer_norm:
        return forward_layer_norm(i);
      case NodeKind::dropout:
        return forward_dropout(i);
      case NodeKind::add:
        return forward_add(i);
    }
  }

  void forward_input(int i) {
    planned(i).value = add_buffer("x", node(i).out_features);
    if (!trains_) return;
    Step step = start_step(StepKind::gather, Cut::rows, kNone);
    step.output = planned(i).value;
    push(step);
  }

  void forward_dense(int i) {
    Step step = start_step(StepKind::dense, product_cut(node(i)), i);
    if (const int next = fusable_activation(i); next != kNone) {
      planned(i).fused = node(next).activation;
      planned(next).skipped = true;
      set_activation(step, node(next).activation);
    }
    step.input = planned(node(i).input).value;
    step.output = planned(i).value = planned(i).saved = add_buffer(numbered("h", i), node(i).out_features);
    plan_.flops += product_flops(node(i));
    push(step);
  }

  // The activation that follows node i, which nothing else reads.
  int following_activation(int i) const {
    const int next = i + 1;
    if (next >= node_count() || node(next).kind != NodeKind::activation || node(next).input != i) return kNone;
    return graph_.consumers(i) != 1 || request_.kind == PlanKind::curvature ? kNone : next;
  }

  // The same for a dense: the derivative must not need the product itself.
  int fusable_activation(int i) const {
    const int next = following_activation(i);
    if (next == kNone || (trains_ && !derivative_from_output(kind_of(node(next).activation)))) return kNone;
    return next;
  }

  // Activations that a batch normalisation computes with its output and takes back from it.
  static bool has_sign_of_input(const Activation& activation) {
    const ActivationKind kind = kind_of(activation);
    return kind == ActivationKind::identity || kind == ActivationKind::relu || kind == ActivationKind::leaky_relu;
  }

  double product_flops(const Node& n) const {
    return 2.0 * static_cast<double>(request_.batch) * static_cast<double>(n.in_features) *
           static_cast<double>(n.out_features);
  }

  void skip(int i) {
    planned(i).skipped = true;
    planned(i).value = planned(node(i).input).value;
  }

  // An elementwise step from the input's value to a buffer of its own, or in place.
  Step start_elementwise(StepKind kind, int i, bool own_buffer = true) {
    Step step = start_step(kind, cut_of(planned(node(i).input).value), i);
    step.input = planned(node(i).input).value;
    planned(i).value = own_buffer ? add_buffer(numbered("h", i), node(i).out_features) : step.input;
    step.output = planned(i).value;
    return step;
  }

  // Whether anything but the next node needs the value of node i: another node, a derivative, or a tangent.
  bool is_kept(int i) const {
    if (graph_.consumers(i) != 1 || request_.kind == PlanKind::curvature) return true;
    if (node(i).kind != NodeKind::activation) return false;
    const NodePlan& p = nodes_[index(i)];
    if (p.skipped) return node(node(i).input).kind == NodeKind::dense;  // whose derivative is taken from it
    return p.saved == p.value;
  }

  void forward_activation(int i) {
    if (planned(i).skipped) return skip(i);
    Step step = start_elementwise(StepKind::activation, i);
    set_activation(step, node(i).activation);
    planned(i).saved = derivative_from_output(step.activation) ? step.output : step.input;
    push(step);
  }

  void forward_dropout(int i) {
    if (!trains_ || !request_.dropout) return skip(i);
    Step step = start_elementwise(StepKind::dropout, i, is_kept(node(i).input));
    step.mask = planned(i).mask = add_mask(i);
    push(step);
  }

  void forward_batch_norm(int i) {
    int partials = kNone;
    if (uses_batch_statistics()) {
      plan_.batch_statistics = true;
      partials = forward_moments(i);
      planned(i).statistics = add_buffer(numbered("stats", i), node(i).out_features, 2);
    }
    if (const int next = following_activation(i); next != kNone && has_sign_of_input(node(next).activation)) {
      planned(i).fused = node(next).activation;
      planned(next).skipped = true;
    }
    Step step = start_batch_norm(StepKind::batch_norm, i);
    step.partials = partials;
    step.output = planned(i).value = add_buffer(numbered("h", i), node(i).out_features);
    push(step);
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

  int add_partials(const char* name, int i, Index sums) {
    return add_buffer(numbered(name, i), node(i).out_features, sums * most_statistics_groups(request_.batch));
  }

  // In the epilogue of the product that makes the input, if it is one. Returns the buffer.
  int forward_moments(int i) {
    Step step = start_batch_norm(StepKind::batch_moments, i);
    step.partials = add_partials("moments", i, kMomentSums);
    push(step);
    Step& before = plan_.steps[plan_.steps.size() - 2];
    const bool of_product = before.kind == StepKind::dense && before.output == step.input;
    before.takes_next = of_product && request_.kind != PlanKind::curvature;
    return step.partials;
  }

  void forward_layer_norm(int i) {
    Step step = start_step(StepKind::layer_norm, Cut::rows, i);
    step.input = planned(node(i).input).value;
    step.output = planned(i).value = add_buffer(numbered("h", i), node(i).out_features);
    step.statistics = planned(i).statistics = add_buffer(numbered("stats", i), 2);
    push(step);
  }

  void forward_add(int i) {
    Step step = start_step(StepKind::add, Cut::rows, i);
    step.input = planned(node(i).input).value;
    step.gate = planned(node(i).other).value;
    step.output = planned(i).value = add_buffer(numbered("h", i), node(i).out_features);
    push(step);
  }

  void loss() {
    Step step = start_step(StepKind::loss, Cut::rows, kNone);
    step.input = plan_.output_buffer;
    step.out_features = plan_.output_dim;
    if (trains_ && !request_.class_targets) {
      Step gather = start_step(StepKind::gather_targets, Cut::rows, kNone);
      gather.output = plan_.target_buffer = add_buffer("y", plan_.output_dim);
      push(gather);
    }
    if (trains_ && request_.backward)
      step.output = planned(node_count() - 1).grad = add_buffer("d_out", plan_.output_dim);
    push(step);
  }

  // ---- backward ----

  void backward() {
    for (int i = node_count() - 1; i > 0 && request_.backward; --i) {
      if (planned(i).needs_grad) backward(i);
    }
    if (updates() || request_.update_statistics) follow_statistics();
    if (request_.kind == PlanKind::curvature) {
      add_tangents(plan_, parameter_steps_, graph_);
      time_ = static_cast<int>(plan_.steps.size());
    }
    Step check = start_step(StepKind::check_loss, Cut::everyone, kNone);
    check.barrier = true;
    plan_.steps.push_back(check);
    plan_.steps.insert(plan_.steps.end(), parameter_steps_.begin(), parameter_steps_.end());
  }

  void backward(int i) {
    switch (node(i).kind) {
      case NodeKind::dense:
        return backward_dense(i);
      case NodeKind::activation:
        if (!planned(i).skipped && !planned(i).gated) gate(i, node(i).activation);
        return pass(planned(i).grad, node(i).input);
      case NodeKind::dropout:
        return backward_dropout(i);
      case NodeKind::batch_norm:
        return backward_batch_norm(i);
      case NodeKind::layer_norm:
        return backward_layer_norm(i);
      case NodeKind::add:
        return backward_add(i);
      case NodeKind::input:
        return;
    }
  }

  // grad(i) *= f'(.).
  void gate(int i, const Activation& activation) {
    if (kind_of(activation) == ActivationKind::identity) return;
    Step step = start_step(StepKind::activation_gradient, cut_of(planned(i).grad), i);
    set_activation(step, activation);
    step.gate = planned(i).saved;
    step.output = planned(i).grad;
    push(step);
  }

  // Hands the gradient in `buffer` to node `to`, which adds up what all its consumers give.
  void pass(int buffer, int to) {
    NodePlan& target = planned(to);
    if (!target.needs_grad) return;
    if (graph_.consumers(to) == 1) {
      target.grad = buffer;
    } else if (target.grad == kNone) {
      target.grad =
          copy_gradient(buffer, to, StepKind::copy_gradient, add_buffer(numbered("d", to), node(to).out_features));
    } else {
      copy_gradient(buffer, to, StepKind::add_gradient, target.grad);
    }
  }

  int copy_gradient(int from, int to, StepKind kind, int output) {
    Step step = start_step(kind, cut_of(from), kNone);
    step.input = from;
    step.output = output;
    step.out_features = node(to).out_features;
    push(step);
    return output;
  }

  void backward_add(int i) {
    // The branch may work on its gradient in place, so the other side gets a copy unless nothing is to be done there.
    const int skipped = node(i).input;
    if (planned(skipped).needs_grad && graph_.consumers(skipped) == 1) {
      const int buffer = add_buffer(numbered("d", skipped), node(skipped).out_features);
      pass(copy_gradient(planned(i).grad, skipped, StepKind::copy_gradient, buffer), skipped);
    } else {
      pass(planned(i).grad, skipped);
    }
    pass(planned(i).grad, node(i).other);
  }

  void backward_dense(int i) {
    NodePlan& p = planned(i);
    if (!p.gated) gate(i, p.fused);
    add_weight_steps(i);
    const int before = node(i).input;
    if (!planned(before).needs_grad) return;
    Step step = start_step(StepKind::input_gradient, product_cut(node(i)), i);
    step.input = p.grad;
    step.output = add_buffer(numbered("d", before), node(i).in_features);
    if (const int gated = gated_source(before); gated != kNone) {
      set_activation(step, node(gated).kind == NodeKind::dense ? planned(gated).fused : node(gated).activation);
      step.gate = planned(gated).saved;
      planned(gated).gated = true;
    }
    plan_.flops += product_flops(node(i));
    if (const int summed = summed_source(before); summed != kNone) {
      const Step sums = start_sums(summed, step.output, step.cut);
      planned(summed).summed = true;
      push(step, &sums);
    } else {
      push(step);
    }
    pass(step.output, before);
  }

  // The batch normalisation whose sums can be taken with the product that makes the gradient of node i's output: i
  // itself, or the one that has computed i. Only where that product is all there is to the gradient.
  int summed_source(int i) {
    if (graph_.consumers(i) != 1 || request_.kind == PlanKind::curvature) return kNone;
    if (node(i).kind == NodeKind::activation && planned(i).skipped) i = node(i).input;
    return node(i).kind == NodeKind::batch_norm ? i : kNone;
  }

  // The sums that the gradient of batch normalisation i needs, from the gradient of its output.
  Step start_sums(int i, int gradient, Cut cut) {
    if (planned(i).partials == kNone) planned(i).partials = add_partials("gradients", i, kGradientSums);
    Step step = start_batch_norm(StepKind::batch_sums, i);
    step.cut = cut;
    step.gate = gradient;
    step.partials = planned(i).partials;
    return step;
  }

  // The node whose activation's derivative can be multiplied in with the product that makes the gradient of node i's
  // output: the dense that has computed it, or i itself. Only where that product is all there is to the gradient.
  int gated_source(int i) {
    if (node(i).kind != NodeKind::activation || graph_.consumers(i) != 1) return kNone;
    if (request_.kind == PlanKind::curvature) return kNone;
    if (planned(i).skipped) return node(node(i).input).kind == NodeKind::dense ? node(i).input : kNone;
    return derivative_from_output(kind_of(node(i).activation)) ? i : kNone;
  }

  void backward_dropout(int i) {
    if (!planned(i).skipped) {
      Step step = start_step(StepKind::dropout_gradient, cut_of(planned(i).grad), i);
      step.output = planned(i).grad;
      step.mask = planned(i).mask;
      push(step);
    }
    pass(planned(i).grad, node(i).input);
  }

  void backward_batch_norm(int i) {
    const int gradient = planned(i).grad;
    if (!planned(i).summed) push(start_sums(i, gradient, cut_of(gradient)));
    Step step = start_batch_norm(StepKind::batch_norm_gradient, i);
    step.cut = cut_of(gradient);
    step.output = gradient;
    step.partials = planned(i).partials;
    step.sums = add_buffer(numbered("sums", i), node(i).out_features, 2);
    push(step);
    add_vector_step(StepKind::stored_gradient, i, node(i).weight, step.sums, 0);
    add_vector_step(StepKind::stored_gradient, i, node(i).bias, step.sums, 1);
    pass(step.output, node(i).input);
  }

  void backward_layer_norm(int i) {
    add_vector_step(StepKind::gamma_gradient, i, node(i).weight, kNone, 0);
    add_vector_step(StepKind::bias_gradient, i, node(i).bias, kNone, 0);
    const int before = node(i).input;
    if (!planned(before).needs_grad) return;
    Step step = start_step(StepKind::layer_norm_gradient, Cut::rows, i);
    step.input = planned(before).value;
    step.gate = planned(i).grad;
    step.statistics = planned(i).statistics;
    step.output = add_buffer(numbered("d", before), node(before).out_features);
    push(step);
    pass(step.output, before);
  }

  // ---- parameters ----

  bool updates() const { return request_.kind == PlanKind::training || request_.kind == PlanKind::checked; }

  // Rows of a weight per block: about 16 blocks, so that several threads share evenly, whole micro-kernel tiles, and no
  // more than half a megabyte, so that the update finds its gradient in cache.
  static Index weight_block(Index in_features, Index out_features) {
    constexpr Index kBlocks = 16, kMostElements = 1 << 17;
    const Index tile = in_features >= 32 ? 8 : 4;
    const Index even = round_up(block_count(in_features, kBlocks), tile);
    const Index most = std::max(tile, kMostElements / out_features / tile * tile);
    return std::min({even, most, in_features});
  }

  // A product of few rows reads its other operand for them alone: small blocks of a thread share one product, as long as
  // the gradient stays in the second-level cache.
  static constexpr Index kGroupElements = 1 << 15;

  void add_parameter_step(Step step, int parameter) {
    step.cut = Cut::parameter;
    step.after = request_.kind == PlanKind::training ? After::update : After::regularize;
    step.parameter = offset(parameter);
    step.regularized = graph_.parameters[index(parameter)].info.regularized;
    step.l1 = node(step.node).l1;
    step.l2 = node(step.node).l2;
    step.first_sum = plan_.sum_slots;
    plan_.sum_slots += block_count(step.extent, step.block);
    const Index elements = step.block * step.row_elements;
    step.group = std::clamp(kGroupElements / elements, Index{1}, block_count(step.extent, step.block));
    plan_.block_elements = std::max(plan_.block_elements, step.group * elements);
    parameter_steps_.push_back(step);
  }

  void add_weight_steps(int i) {
    if (!node(i).trainable) return;
    Step step = start_step(StepKind::weight_gradient, Cut::parameter, i);
    step.input = planned(i).grad;
    step.gate = planned(node(i).input).value;
    step.extent = node(i).in_features;
    step.block = weight_block(node(i).in_features, node(i).out_features);
    step.row_elements = node(i).out_features;
    plan_.flops += product_flops(node(i));
    add_parameter_step(step, node(i).weight);
    if (node(i).bias != kNone) add_vector_step(StepKind::bias_gradient, i, node(i).bias, kNone, 0);
  }

  // A parameter with one element per column.
  void add_vector_step(StepKind kind, int i, int parameter, int sums, int row) {
    constexpr Index kBlock = 64;
    if (!node(i).trainable) return;
    Step step = start_step(kind, Cut::parameter, i);
    step.input = planned(i).grad;
    step.gate = planned(node(i).input).value;
    step.statistics = planned(i).statistics;
    step.sums = sums;
    step.row = row;
    step.extent = node(i).out_features;
    step.block = std::min(kBlock, step.extent);
    add_parameter_step(step, parameter);
  }

  // Of every batch normalisation, though the way back may not come so far: it ends where nothing before is trained.
  void follow_statistics() {
    for (int i = 0; i < node_count(); ++i) {
      if (node(i).kind != NodeKind::batch_norm || planned(i).statistics == kNone) continue;
      Step step = start_step(StepKind::update_statistics, Cut::parameter, i);
      step.statistics = planned(i).statistics;
      if (request_.update_statistics) step.momentum = 0.0;  // of the whole batch: they are exact
      step.running_mean = graph_.buffers[index(node(i).running_mean)].info.offset;
      step.running_var = graph_.buffers[index(node(i).running_var)].info.offset;
      step.extent = step.block = node(i).out_features;
      parameter_steps_.push_back(step);
    }
  }

  // Checked training: the norm of all gradients is known before the first update.
  void finish_gradients() {
    if (request_.kind != PlanKind::checked) return;
    const auto is_statistics = [](const Step& step) { return step.kind == StepKind::update_statistics; };
    std::vector<Step> updates;
    std::copy_if(plan_.steps.begin(), plan_.steps.end(), std::back_inserter(updates), is_statistics);
    std::erase_if(plan_.steps, is_statistics);
    for (const Step& step : parameter_steps_) {
      if (is_statistics(step)) continue;
      updates.push_back(step);
      updates.back().kind = StepKind::update_parameter;
      updates.back().after = After::update;
    }
    Step check = start_step(StepKind::check_gradient, Cut::everyone, kNone);
    check.barrier = true;
    plan_.steps.push_back(check);
    plan_.steps.insert(plan_.steps.end(), updates.begin(), updates.end());
  }

  // A column of a weight spreads over its blocks, so all must be updated before any is looked at.
  void limit_norms() {
    bool barrier = true;
    for (const Step& step : parameter_steps_) {
      if (step.kind != StepKind::weight_gradient) continue;
      Step limit = start_step(StepKind::limit_norm, Cut::columns, step.node);
      limit.barrier = std::exchange(barrier, false);
      plan_.steps.push_back(limit);
    }
  }

  const PlanRequest& request_;
  const Graph& graph_;
  std::vector<NodePlan> nodes_;
  Plan plan_;
  Hazards hazards_;
  std::vector<Cut> cuts_;  // by buffer
  std::vector<Step> parameter_steps_;
  const bool trains_ = request_.kind != PlanKind::inference && request_.kind != PlanKind::evaluation;
  int time_ = 0;
};

}  // namespace

Plan build_plan(const PlanRequest& request) { return Builder(request).build(); }

}  // namespace stoop
