// Each rule below is the product rule for one kind of step. A buffer without a tangent does not depend on the
// parameters: its tangent is zero, and what would be multiplied with it is left out.

#include "tangent.hpp"

#include <utility>

#include "hazards.hpp"

namespace stoop {
namespace {

class Differentiator {
 public:
  Differentiator(Plan& plan, const Graph& graph)
      : plan_(plan), graph_(graph), tangents_(plan.buffers.size(), kNone), inputs_(graph.nodes.size(), kNone) {}

  void run(std::vector<Step>& parameter_steps) {
    const std::vector<Step> steps = std::exchange(plan_.steps, {});
    for (const Step& step : parameter_steps) plan_.flops -= product_flops(step);
    for (const Step& step : steps) {
      if (overwrites_what_its_tangent_reads(step.kind)) differentiate(step);
      push(step);
      if (!overwrites_what_its_tangent_reads(step.kind)) differentiate(step);
    }
    for (const Step& step : std::exchange(parameter_steps, {})) differentiate_parameter(step, parameter_steps);
  }

 private:
  static std::size_t index(int i) { return static_cast<std::size_t>(i); }
  static bool overwrites_what_its_tangent_reads(StepKind kind) {
    return kind == StepKind::activation_gradient || kind == StepKind::batch_norm_gradient;
  }

  // Of the parameter gradients only the tangents are computed.
  double product_flops(const Step& step) const {
    if (step.kind != StepKind::dense && step.kind != StepKind::input_gradient &&
        step.kind != StepKind::weight_gradient) {
      return 0.0;
    }
    return 2.0 * static_cast<double>(plan_.batch) * static_cast<double>(step.in_features) *
           static_cast<double>(step.out_features);
  }

  void push(Step step) {
    step.barrier = hazards_.needs_barrier(accesses_of(step));
    plan_.steps.push_back(step);
  }

  int add_buffer(Buffer like, const char* prefix) {
    like.name.insert(0, prefix);
    plan_.buffers.push_back(std::move(like));
    tangents_.push_back(kNone);
    return static_cast<int>(plan_.buffers.size()) - 1;
  }

  // The tangent of a buffer; kNone where it is zero.
  int tangent(int buffer) const { return buffer == kNone ? kNone : tangents_[index(buffer)]; }

  // The same, for one that is about to be written.
  int new_tangent(int buffer) {
    if (buffer == kNone) return kNone;
    if (tangents_[index(buffer)] == kNone) {
      const int added = add_buffer(plan_.buffers[index(buffer)], "t_");
      tangents_[index(buffer)] = added;
    }
    return tangents_[index(buffer)];
  }

  bool is_trained(const Step& step) const { return graph_.nodes[index(step.node)].trainable; }

  void differentiate(const Step& step) {
    switch (step.kind) {
      case StepKind::dense:
        return product(step, step.out_features);
      case StepKind::input_gradient:
        return product(step, step.in_features);
      case StepKind::activation:
        inputs_[index(step.node)] = step.input;
        return activation(step);
      case StepKind::activation_gradient:
        return activation_gradient(step);
      case StepKind::batch_norm:
      case StepKind::layer_norm:
      case StepKind::batch_norm_gradient:
      case StepKind::layer_norm_gradient:
        return normalization(step);
      case StepKind::add:
        return sum(step);
      case StepKind::loss:
        return loss(step);
      case StepKind::dropout:
      case StepKind::copy_gradient:
      case StepKind::add_gradient:
        return linear(step, step.input);
      case StepKind::dropout_gradient:
        return linear(step, step.output);
      default:
        return;
    }
  }

  // A step that is linear in `from` and depends on nothing else: the same on the tangents.
  void linear(Step step, int from) {
    if (tangent(from) == kNone) return;
    step.input = tangent(step.input);
    step.output = new_tangent(step.output);
    push(step);
  }

  // d(x @ W + b) = dx @ W + x @ dW + db, and the same for a gradient times W^T.
  void product(const Step& step, Index columns) {
    const bool moves = tangent(step.input) != kNone;
    if (!moves && !is_trained(step)) return;
    Step of_input = step, of_weight = step;
    of_input.bias = kNone;
    of_input.input = tangent(step.input);
    of_weight.along = true;
    of_weight.output = of_input.output = new_tangent(step.output);
    plan_.flops += product_flops(step) * ((moves ? 1.0 : 0.0) + (is_trained(step) ? 1.0 : 0.0));
    if (moves) push(of_input);
    if (!is_trained(step)) return;
    if (!moves) return push(of_weight);
    of_weight.output = add_buffer(plan_.buffers[index(step.output)], "u_");
    push(of_weight);
    add(of_weight.output, of_input.output, columns, step.cut);
  }

  void add(int from, int to, Index columns, Cut cut) {
    Step step;
    step.kind = StepKind::add_gradient;
    step.cut = cut;
    step.input = from;
    step.output = to;
    step.out_features = columns;
    push(step);
  }

  // df(z) = f'(z) dz.
  void activation(Step step) {
    if (tangent(step.input) == kNone) return;
    step.kind = StepKind::activation_tangent;
    step.gate = std::exchange(step.input, tangent(step.input));
    step.output = new_tangent(step.output);
    push(step);
  }

  // d(f'(z) g) = f'(z) dg + f''(z) dz g, in place of dg.
  void activation_gradient(Step step) {
    step.kind = StepKind::activation_tangent;
    step.gate = inputs_[index(step.node)];
    step.tangent = tangent(step.gate);
    step.primal = step.output;
    step.input = step.output = tangent(step.output);
    push(step);
  }

  void normalization(Step step) {
    const bool forward = step.kind == StepKind::batch_norm || step.kind == StepKind::layer_norm;
    if (forward && tangent(step.input) == kNone && !is_trained(step)) return;
    step.tangent = tangent(step.input);
    step.tangent_statistics = new_tangent(step.statistics);
    step.along = is_trained(step);
    if (step.kind == StepKind::batch_norm || step.kind == StepKind::batch_norm_gradient) {
      step.cut = Cut::columns;  // all rows of one are added up by one thread
      step.partials = kNone;
    }
    if (step.kind == StepKind::batch_norm) step.kind = StepKind::batch_norm_tangent;
    if (step.kind == StepKind::layer_norm) step.kind = StepKind::layer_norm_tangent;
    if (step.kind == StepKind::batch_norm_gradient) {
      step.kind = StepKind::batch_norm_gradient_tangent;
      step.primal = step.output;
      step.sums = new_tangent(step.sums);
    }
    if (step.kind == StepKind::layer_norm_gradient) {
      step.kind = StepKind::layer_norm_gradient_tangent;
      step.primal = step.gate;
      step.gate = tangent(step.gate);
    }
    step.output = new_tangent(step.output);
    push(step);
  }

  void sum(Step step) {
    const int left = tangent(step.input), right = tangent(step.gate);
    if (left == kNone && right == kNone) return;
    step.output = new_tangent(step.output);
    step.input = left == kNone ? right : left;
    step.gate = right;
    if (left == kNone || right == kNone) {
      step.kind = StepKind::copy_gradient;
      step.gate = kNone;
    }
    push(step);
  }

  // The tangent of the loss's gradient: its Hessian with respect to the outputs, times their tangent.
  void loss(Step step) {
    step.kind = StepKind::loss_tangent;
    step.tangent = tangent(step.input);
    if (step.tangent == kNone || step.output == kNone) return;
    step.output = new_tangent(step.output);
    push(step);
  }

  // d(x^T g) = x^T dg + dx^T g; the others are linear in the gradient, but that of a layer_norm's gamma.
  void differentiate_parameter(Step step, std::vector<Step>& out) {
    const int gradient = step.input, input = step.gate;
    step.input = tangent(gradient);
    step.sums = tangent(step.sums);
    if (step.kind == StepKind::gamma_gradient) {
      step.kind = StepKind::gamma_gradient_tangent;
      step.tangent = tangent(input);
      step.tangent_statistics = tangent(step.statistics);
      step.primal = gradient;
    }
    const bool both = step.kind == StepKind::weight_gradient && tangent(input) != kNone;
    plan_.flops += product_flops(step) * (both ? 2.0 : 1.0);
    Step second = step;
    if (both) step.after = After::nothing;
    out.push_back(step);
    if (!both) return;
    second.input = gradient;
    second.gate = tangent(input);
    second.adds = true;
    out.push_back(second);
  }

  Plan& plan_;
  const Graph& graph_;
  std::vector<int> tangents_;  // by buffer
  std::vector<int> inputs_;    // by node: what its activation was computed from
  Hazards hazards_;
};

}  // namespace

void add_tangents(Plan& plan, std::vector<Step>& parameter_steps, const Graph& graph) {
  Differentiator(plan, graph).run(parameter_steps);
}

}  // namespace stoop
