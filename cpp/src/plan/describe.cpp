// A plan as text, for people and for the golden tests.

#include <sstream>

#include "plan.hpp"

namespace stoop {
namespace {

const char* name_of(PlanKind kind) {
  constexpr const char* kNames[] = {"inference", "evaluation", "training", "checked", "gradient", "curvature"};
  return kNames[static_cast<int>(kind)];
}

const char* name_of(StepKind kind) {
  constexpr const char* kNames[] = {"gather",
                                    "gather_targets",
                                    "dense",
                                    "activation",
                                    "batch_moments",
                                    "batch_norm",
                                    "layer_norm",
                                    "dropout",
                                    "add",
                                    "loss",
                                    "check_loss",
                                    "copy_gradient",
                                    "add_gradient",
                                    "activation_gradient",
                                    "dropout_gradient",
                                    "batch_sums",
                                    "batch_norm_gradient",
                                    "layer_norm_gradient",
                                    "input_gradient",
                                    "weight_gradient",
                                    "bias_gradient",
                                    "gamma_gradient",
                                    "stored_gradient",
                                    "check_gradient",
                                    "update_parameter",
                                    "limit_norm",
                                    "update_statistics",
                                    "activation_tangent",
                                    "batch_norm_tangent",
                                    "batch_norm_gradient_tangent",
                                    "layer_norm_tangent",
                                    "layer_norm_gradient_tangent",
                                    "gamma_gradient_tangent",
                                    "loss_tangent"};
  return kNames[static_cast<int>(kind)];
}

const char* name_of(After after) {
  constexpr const char* kNames[] = {"", " then regularize", " then update"};
  return kNames[static_cast<int>(after)];
}

std::string buffer_name(const Plan& plan, int buffer) {
  return buffer == kNone ? "-" : plan.buffers[static_cast<std::size_t>(buffer)].name;
}

void describe_step(std::ostream& out, const Plan& plan, const Step& step, bool taken) {
  out << (step.barrier ? "= " : taken ? "+ " : "  ") << name_of(step.kind);
  if (step.cut == Cut::columns) out << " by columns";
  if (step.cut != Cut::everyone) {
    out << " " << buffer_name(plan, step.input) << " -> " << buffer_name(plan, step.output);
  }
  if (step.gate != kNone) out << " with " << buffer_name(plan, step.gate);
  if (step.in_features > 0) out << " " << step.in_features << "x" << step.out_features;
  if (step.activation != kind_of<Identity>()) out << " " << name_of(step.activation);
  if (step.cut == Cut::parameter) out << " by " << step.block << "/" << step.extent << name_of(step.after);
  out << "\n";
}

}  // namespace

std::string describe(const Plan& plan) {
  std::ostringstream out;
  out << name_of(plan.kind) << " of " << plan.batch << " rows, " << plan.arena_bytes << " bytes\n";
  for (const Buffer& b : plan.buffers) {
    out << "  " << b.name << " " << b.width << " (stride " << b.stride << ")";
    if (b.external) {
      out << " external\n";
    } else {
      out << " at " << b.offset << ", alive " << b.first << ".." << b.last << "\n";
    }
  }
  int taken = 0;
  for (const Step& step : plan.steps) {
    describe_step(out, plan, step, taken > 0);
    taken = taken > 0 ? taken - 1 : step.takes;
  }
  return out.str();
}

}  // namespace stoop
