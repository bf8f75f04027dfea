#include "costs.hpp"

#include <algorithm>

#include "rules.hpp"

namespace stoop::inline v0_1 {
namespace {

double operand_bytes(const Plan& plan, const Step& step, Index rows) {
  Index bytes = 0;
  for (const Touch& touch : rule_of(step.kind).touches()) {
    const int buffer = step.*touch.operand;
    if (buffer == kNone) continue;
    const Buffer& b = plan.buffers[static_cast<std::size_t>(buffer)];
    const Index times = touch.use == Use::update ? 2 : 1;
    bytes += times * b.rows_of(rows) * b.width * b.element_size;
  }
  return static_cast<double>(bytes);
}

// Elements of parameters, gradients and optimizer state that the step reads or writes.
Index parameter_elements(const Step& step, Index rows, Index update_elements) {
  const Index own = (step.work.is_lazy ? std::min(step.work.extent, rows) : step.work.extent) * step.work.row_elements;
  switch (step.kind) {
    case StepKind::dense:
    case StepKind::input_gradient:
      return step.in_features * step.out_features + (step.bias == kNone ? 0 : step.out_features);
    case StepKind::member_dense:
    case StepKind::member_input_gradient:
      return step.members * (step.in_features * step.out_features + (step.bias == kNone ? 0 : step.out_features));
    case StepKind::encoded_dense:
    case StepKind::encoded_gradient:
      return (step.in_features + 1) * step.out_features + (step.scale == kNone ? 0 : step.members * step.in_features);
    case StepKind::member_scale:
    case StepKind::member_scale_gradient:
      return step.members * step.out_features * (step.bias == kNone ? 1 : 2);
    case StepKind::update_parameter:
    case StepKind::apply_update:
      return own * (1 + update_elements);
    default:
      if (step.cut != Cut::parameter) return 0;
      return step.work.after == After::update ? own * update_elements : own * (step.work.adds ? 2 : 1);
  }
}

}  // namespace

StepCost cost_of(const Plan& plan, const Step& step, const CostTerms& terms) {
  StepCost cost;
  if (rule_of(step.kind).product) {
    cost.flops = 2.0 * static_cast<double>(terms.rows * step.members) * static_cast<double>(step.in_features) *
                 static_cast<double>(step.out_features);
  }
  cost.bytes = operand_bytes(plan, step, terms.rows);
  cost.bytes += static_cast<double>(parameter_elements(step, terms.rows, terms.update_elements) * terms.element_size);
  if (step.kind == StepKind::gather) cost.bytes += static_cast<double>(terms.rows * terms.input_row);
  if (step.kind == StepKind::gather_targets || (step.kind == StepKind::loss && plan.class_targets)) {
    cost.bytes += static_cast<double>(terms.rows * terms.target_row);
  }
  for (const int taken : {step.dropout_step, step.sums_step}) {
    if (taken == kNone) continue;
    cost.bytes += operand_bytes(plan, plan.steps[static_cast<std::size_t>(taken)], terms.rows);
  }
  return cost;
}

}  // namespace stoop
