// Calls the passes of lowering in their order, and has what the layers in lower_layers.cpp share.

#include "lower.hpp"

#include "tangent.hpp"

namespace stoop::inline v0_1 {

Lowered Lowering::run() {
  forward();
  if (request_.kind == PlanKind::pieces) pieces();
  if (request_.kind == PlanKind::apply) apply();
  if (request_.kind == PlanKind::pieces || request_.kind == PlanKind::apply) return std::move(lowered_);
  if (request_.kind != PlanKind::inference) loss();
  if (!trains()) return std::move(lowered_);
  if (request_.backward) backward();
  if (updates() || request_.update_statistics) follow_statistics();
  if (request_.kind == PlanKind::curvature) add_tangents(lowered_, parameter_operations_, graph_);
  append_parameter_operations();
  if (request_.kind == PlanKind::checked) finish_gradients();
  if (request_.apply_updates && updates()) update_parameters(StepKind::apply_update);
  if (request_.limit_norm && updates()) limit_norms();
  return std::move(lowered_);
}

Lowered lower(const PlanRequest& request) { return Lowering(request).run(); }

int Lowering::add_buffer(std::string name, Index width, Index rows) {
  lowered_.buffers.push_back(
      {.name = std::move(name), .width = width, .element_size = request_.element_size, .rows = rows});
  return static_cast<int>(lowered_.buffers.size()) - 1;
}

int Lowering::add_value(const char* prefix, int i, Index members) {
  const int buffer = add_buffer(numbered(prefix, i), node(i).out_features);
  lowered_.buffers.back().members = members;
  return buffer;
}

int Lowering::add_mask(int i) {
  const int mask = add_value("mask", i);
  lowered_.buffers.back().width = (node(i).out_features + 7) / 8;
  lowered_.buffers.back().element_size = 1;
  return mask;
}

int Lowering::add_partials(const char* name, int i, Index sums) {
  return add_buffer(numbered(name, i), node(i).out_features, sums * most_statistics_groups(request_.batch));
}

Operation Lowering::start(StepKind kind, int i) const {
  Operation operation;
  operation.kind = kind;
  operation.node = i;
  if (i == kNone) return operation;
  const Node& n = node(i);
  operation.in_features = n.in_features;
  operation.columns = operation.out_features = n.out_features;
  operation.members = n.members;
  if (n.input != kNone) operation.from_members = node(n.input).members;
  operation.parameter = offset(n.weight);
  operation.bias = offset(n.bias);
  operation.rate = n.rate;
  operation.norm.eps = n.eps;
  operation.norm.momentum = n.momentum;
  if (n.running_mean == kNone) return operation;
  operation.norm.running_mean = graph_.buffers[index(n.running_mean)].info.offset;
  operation.norm.running_var = graph_.buffers[index(n.running_var)].info.offset;
  return operation;
}

Operation Lowering::start_batch_norm(StepKind kind, int i) const {
  Operation operation = start(kind, i);
  operation.x = input_value(i);
  operation.statistics = state(i).statistics;
  set_activation(operation, state(i).fused);
  return operation;
}

void Lowering::set_activation(Operation& operation, const Activation& activation) {
  operation.activation = kind_of(activation);
  operation.activation_numbers = numbers_of(activation);
}

// ---- values ----

// Returns the activation that follows node i, if nothing else reads that node.
int Lowering::following_activation(int i) const {
  const int next = i + 1;
  if (next >= node_count() || node(next).kind != NodeKind::activation || node(next).input != i) return kNone;
  return node(i).consumers != 1 || request_.kind == PlanKind::curvature ? kNone : next;
}

// Returns the activation that follows a dense, if its derivative does not need the product itself.
int Lowering::fusable_activation(int i) const {
  const int next = following_activation(i);
  if (next == kNone || (trains() && !derivative_from_output(kind_of(node(next).activation)))) return kNone;
  return next;
}

void Lowering::skip(int i) {
  state(i).skipped = true;
  state(i).value = input_value(i);
}

// Adds an elementwise operation from the input's value to a buffer of its own, or in place.
Operation Lowering::start_elementwise(StepKind kind, int i, bool own_buffer) {
  Operation operation = start(kind, i);
  operation.x = input_value(i);
  state(i).value = own_buffer ? add_value("h", i) : operation.x;
  operation.out = state(i).value;
  return operation;
}

// Returns whether anything other than the next node needs the value of node i: another node, a derivative, or a tangent.
bool Lowering::is_kept(int i) const {
  if (node(i).consumers != 1 || request_.kind == PlanKind::curvature) return true;
  if (i == 0 && keeps_input()) return true;
  if (node(i).kind != NodeKind::activation || has_sign_of_input(node(i).activation)) return false;
  if (state(i).skipped) {  // a product has computed it, whose derivative is taken from it
    const NodeKind before = node(node(i).input).kind;
    return before == NodeKind::dense || before == NodeKind::member_dense;
  }
  return state(i).saved == state(i).value;
}

void Lowering::loss() {
  Operation loss = start(StepKind::loss, kNone);
  const Index width = graph_.output_dim();
  loss.x = lowered_.output_buffer;
  loss.columns = loss.out_features = width;
  if (!combines()) loss.members = graph_.members();
  if (trains() && !request_.class_targets) {
    Operation gather = start(StepKind::gather_targets, kNone);
    gather.out = lowered_.target_buffer = add_buffer("y", target_columns(request_.loss, width));
    push(gather);
  }
  if (trains() && request_.backward) {
    loss.out = state(node_count() - 1).grad = add_buffer("d_out", width);
    lowered_.buffers.back().members = loss.members;
  }
  push(loss);
}

// ---- gradients ----

// Adds an operation whose result is a part of the gradient of node i.
void Lowering::push_gradient(Operation operation, int i) {
  operation.for_input = !state(i).trains;
  push(operation);
}

// grad(i) *= f'(.).
void Lowering::activation_gradient(int i, const Activation& activation) {
  if (kind_of(activation) == kind_of<Identity>()) return;
  Operation operation = start(StepKind::activation_gradient, i);
  set_activation(operation, activation);
  operation.saved = state(i).saved;
  operation.out = state(i).grad;
  push_gradient(operation, i);
}

// Gives the gradient in `buffer` to node `to`, which adds the gradients of all its consumers.
void Lowering::pass(int buffer, int to) {
  NodeState& target = state(to);
  if (!target.needs_grad) return;
  if (node(to).consumers == 1) {
    target.grad = buffer;
  } else if (target.grad == kNone) {
    const int own = add_value("d", to);
    target.grad = copy_gradient(buffer, to, StepKind::copy_gradient, own);
  } else {
    copy_gradient(buffer, to, StepKind::add_gradient, target.grad);
  }
}

int Lowering::copy_gradient(int from, int to, StepKind kind, int out) {
  Operation operation = start(kind, kNone);
  operation.x = from;
  operation.out = out;
  operation.columns = operation.out_features = node(to).out_features;
  operation.members = node(to).members;
  push_gradient(operation, to);
  return out;
}

}  // namespace stoop
