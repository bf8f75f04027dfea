// A plan as text, for people and for the golden tests.

#include <sstream>

#include "plan.hpp"

namespace stoop::inline v0_1 {
namespace {

const char* name_of(PlanKind kind) {
  switch (kind) {
    case PlanKind::inference:
      return "inference";
    case PlanKind::evaluation:
      return "evaluation";
    case PlanKind::training:
      return "training";
    case PlanKind::checked:
      return "checked";
    case PlanKind::gradient:
      return "gradient";
    case PlanKind::curvature:
      return "curvature";
    case PlanKind::pieces:
      return "pieces";
    case PlanKind::apply:
      break;
  }
  return "apply";
}

const char* name_of(After after) {
  switch (after) {
    case After::nothing:
      return "";
    case After::regularize:
      return " then regularize";
    case After::update:
      break;
  }
  return " then update";
}

std::string buffer_name(const Plan& plan, int buffer) {
  return buffer == kNone ? "-" : plan.buffers[static_cast<std::size_t>(buffer)].name;
}

// The operands that the text shows: the first value or gradient that is read, what is written, and what else is read.
struct Shown {
  int from = kNone, with = kNone;
};

Shown shown_of(const Step& step) {
  Shown shown;
  for (const Touch& touch : rule_of(step.kind).touches()) {
    const int buffer = step.*touch.operand;
    const bool first = touch.operand == &Operands::x || touch.operand == &Operands::grad ||
                       (touch.operand == &Operands::sums && touch.use == Use::read);
    const bool second = touch.operand == &Operands::other || touch.operand == &Operands::saved;
    if (first && shown.from == kNone) {
      shown.from = buffer;
    } else if (first || second) {
      shown.with = buffer;
    }
  }
  return shown;
}

void describe_step(std::ostream& out, const Plan& plan, const Step& step) {
  const Shown shown = shown_of(step);
  out << (step.barrier ? "= " : step.taken ? "+ " : "  ") << rule_of(step.kind).name;
  if (step.cut == Cut::columns) out << " by columns";
  if (step.cut != Cut::everyone) {
    out << " " << buffer_name(plan, shown.from) << " -> " << buffer_name(plan, step.out);
  }
  if (shown.with != kNone) out << " with " << buffer_name(plan, shown.with);
  if (step.in_features > 0) out << " " << step.in_features << "x" << step.out_features;
  if (step.activation != kind_of<Identity>()) out << " " << name_of(step.activation);
  if (step.cut == Cut::parameter) out << " by " << step.block << "/" << step.work.extent << name_of(step.work.after);
  if (step.work.factors.rate != 1.0) out << " rate times " << step.work.factors.rate;
  if (step.work.factors.decay != 1.0) out << " decay times " << step.work.factors.decay;
  out << "\n";
}

}  // namespace

std::string describe(const Plan& plan) {
  std::ostringstream out;
  out << name_of(plan.kind) << " of " << plan.batch << " rows, " << plan.arena_bytes << " bytes\n";
  for (const Buffer& b : plan.buffers) {
    out << "  " << b.name << " " << b.width;
    if (b.members > 1) out << " of " << b.members << " members";
    out << " (stride " << b.stride << ")";
    if (b.external) {
      out << " external\n";
    } else {
      out << " at " << b.offset << ", alive " << b.first << ".." << b.last << "\n";
    }
  }
  for (const Step& step : plan.steps) describe_step(out, plan, step);
  return out.str();
}

}  // namespace stoop
