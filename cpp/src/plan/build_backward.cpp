// The way back: the steps that compute the gradient with respect to each node's output, last node first. Decides what
// is done in the epilogue of the product that makes a gradient: the mask of a dropout before it, then the derivative of
// an activation (gated_source), then the sums of a batch normalisation (summed_source).

#include "builder.hpp"

namespace stoop {

void PlanBuilder::backward() {
  for (int i = node_count() - 1; i > 0; --i) {
    if (planned(i).needs_grad) backward(i);
  }
}

void PlanBuilder::backward(int i) {
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
void PlanBuilder::gate(int i, const Activation& activation) {
  if (kind_of(activation) == kind_of<Identity>()) return;
  Step step = start_step(StepKind::activation_gradient, cut_of(planned(i).grad), i);
  set_activation(step, activation);
  step.gate = planned(i).saved;
  step.output = planned(i).grad;
  push(step);
}

// Hands the gradient in `buffer` to node `to`, which adds up what all its consumers give.
void PlanBuilder::pass(int buffer, int to) {
  NodePlan& target = planned(to);
  if (!target.needs_grad) return;
  if (node(to).consumers == 1) {
    target.grad = buffer;
  } else if (target.grad == kNone) {
    target.grad =
        copy_gradient(buffer, to, StepKind::copy_gradient, add_buffer(numbered("d", to), node(to).out_features));
  } else {
    copy_gradient(buffer, to, StepKind::add_gradient, target.grad);
  }
}

int PlanBuilder::copy_gradient(int from, int to, StepKind kind, int output) {
  Step step = start_step(kind, cut_of(from), kNone);
  step.input = from;
  step.output = output;
  step.out_features = node(to).out_features;
  push(step);
  return output;
}

void PlanBuilder::backward_add(int i) {
  // The branch may work on its gradient in place, so the other side gets a copy unless nothing is to be done there.
  const int skipped = node(i).input;
  if (planned(skipped).needs_grad && node(skipped).consumers == 1) {
    const int buffer = add_buffer(numbered("d", skipped), node(skipped).out_features);
    pass(copy_gradient(planned(i).grad, skipped, StepKind::copy_gradient, buffer), skipped);
  } else {
    pass(planned(i).grad, skipped);
  }
  pass(planned(i).grad, node(i).other);
}

void PlanBuilder::backward_dense(int i) {
  NodePlan& p = planned(i);
  if (!p.gated) gate(i, p.fused);
  add_weight_steps(i);
  const int before = node(i).input;
  if (!planned(before).needs_grad) return;
  Step step = start_step(StepKind::input_gradient, product_cut(node(i)), i);
  step.input = p.grad;
  step.output = add_buffer(numbered("d", before), node(i).in_features);
  std::vector<Step> epilogue;
  int source = before;
  if (is_dropped_with_product(before)) {
    epilogue.push_back(start_dropout_gradient(before, step.output, step.cut));
    planned(before).dropped = true;
    source = node(before).input;
  }
  if (const int gated = gated_source(source); gated != kNone) {
    set_activation(step, node(gated).kind == NodeKind::dense ? planned(gated).fused : node(gated).activation);
    step.gate = planned(gated).saved;
    planned(gated).gated = true;
  }
  plan_.flops += product_flops(node(i));
  if (const int summed = summed_source(source); summed != kNone) {
    epilogue.push_back(start_sums(summed, step.output, step.cut));
    planned(summed).summed = true;
  }
  push(step, epilogue);
  pass(step.output, before);
}

// Whether node i is a dropout, and a product all there is to the gradient of its output.
bool PlanBuilder::is_dropped_with_product(int i) const {
  if (node(i).kind != NodeKind::dropout || nodes_[index(i)].skipped) return false;
  return node(i).consumers == 1 && request_.kind != PlanKind::curvature;
}

Step PlanBuilder::start_dropout_gradient(int i, int gradient, Cut cut) {
  Step step = start_step(StepKind::dropout_gradient, cut, i);
  step.output = gradient;
  step.mask = planned(i).mask;
  return step;
}

// The batch normalisation whose sums can be taken with the product that makes the gradient of node i's output: i
// itself, or the one that has computed i. Only where that product is all there is to the gradient.
int PlanBuilder::summed_source(int i) {
  if (node(i).consumers != 1 || request_.kind == PlanKind::curvature) return kNone;
  if (node(i).kind == NodeKind::activation && planned(i).skipped) i = node(i).input;
  return node(i).kind == NodeKind::batch_norm ? i : kNone;
}

// The sums that the gradient of batch normalisation i needs, from the gradient of its output.
Step PlanBuilder::start_sums(int i, int gradient, Cut cut) {
  if (planned(i).partials == kNone) planned(i).partials = add_partials("gradients", i, kGradientSums);
  Step step = start_batch_norm(StepKind::batch_sums, i);
  step.cut = cut;
  step.gate = gradient;
  step.partials = planned(i).partials;
  return step;
}

// The node whose activation's derivative can be multiplied in with the product that makes the gradient of node i's
// output: the dense that has computed it, or i itself. Only where that product is all there is to the gradient.
int PlanBuilder::gated_source(int i) {
  if (node(i).kind != NodeKind::activation || node(i).consumers != 1) return kNone;
  if (request_.kind == PlanKind::curvature) return kNone;
  if (planned(i).skipped) return node(node(i).input).kind == NodeKind::dense ? node(i).input : kNone;
  return derivative_from_output(kind_of(node(i).activation)) ? i : kNone;
}

void PlanBuilder::backward_dropout(int i) {
  const int gradient = planned(i).grad;
  if (!planned(i).skipped && !planned(i).dropped) push(start_dropout_gradient(i, gradient, cut_of(gradient)));
  pass(planned(i).grad, node(i).input);
}

void PlanBuilder::backward_batch_norm(int i) {
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

void PlanBuilder::backward_layer_norm(int i) {
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

}  // namespace stoop
