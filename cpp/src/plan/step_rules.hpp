// One rule for each kind of step: its name, the operands that it reads and writes, how its work may be cut, and its
// tangent. A kind without a rule, or a rule without one of these, does not compile (rules.cpp); how a kind is run is in
// ../run/steps.hpp, likewise for every kind.
//
// Each tangent is the product rule of what the kind computes. One that adds nothing has to say why: `constant`,
// `in_another`; and one that does not exist is an error: `missing`.
#pragma once

#include <array>
#include <stdexcept>
#include <string>
#include <utility>

#include "rules.hpp"
#include "tangent.hpp"

namespace stoop {

constexpr Touch reads(int Operands::* operand, Extent extent = Extent::own) { return {operand, Use::read, extent}; }
constexpr Touch writes(int Operands::* operand, Extent extent = Extent::own) { return {operand, Use::write, extent}; }
constexpr Touch updates(int Operands::* operand) { return {operand, Use::update, Extent::own}; }
constexpr Division like(int Operands::* operand) { return {Division::like, operand}; }

namespace tangents {

// What the step computes does not depend on the parameters.
inline void constant(Tangents&, const Operation&) {}

// The tangent of the normalisation that reads these sums computes them again, with their derivatives.
inline void in_another(Tangents&, const Operation&) {}

[[noreturn]] inline void missing(Tangents&, const Operation& operation) {
  throw std::logic_error(std::string("the step '") + rule_of(operation.kind).name + "' has no tangent");
}

// A step that is linear in `from` and depends on nothing else: the same on the tangents.
inline void linear(Tangents& t, Operation operation, int from) {
  if (t.of(from) == kNone) return;
  operation.x = t.of(operation.x);
  operation.out = t.make(operation.out);
  t.add(operation);
}

inline void linear_in_x(Tangents& t, const Operation& operation) { linear(t, operation, operation.x); }
inline void linear_in_out(Tangents& t, const Operation& operation) { linear(t, operation, operation.out); }

// d(x @ W + b) = dx @ W + x @ dW + db, and the same for a gradient times W^T.
inline void product(Tangents& t, const Operation& operation, int Operands::* factor) {
  const int moved = t.of(operation.*factor);
  const bool trained = t.is_trained(operation);
  if (moved == kNone && !trained) return;
  Operation of_factor = operation, of_weight = operation;
  of_factor.bias = kNone;
  of_factor.*factor = moved;
  of_weight.along = true;
  of_weight.out = of_factor.out = t.make(operation.out);
  if (moved != kNone) t.add(of_factor);
  if (!trained) return;
  if (moved == kNone) return t.add(of_weight);
  of_weight.out = t.make_term(operation.out);
  t.add(of_weight);
  Operation sum;
  sum.kind = StepKind::add_gradient;
  sum.x = of_weight.out;
  sum.out = of_factor.out;
  sum.columns = sum.out_features = operation.columns;
  t.add(sum);
}

// The tangent of a normalisation is a kind of its own; here is what those of all have in common.
inline Operation start_normalization(Tangents& t, Operation operation, StepKind kind) {
  operation.kind = kind;
  operation.along = t.is_trained(operation);
  operation.x_tangent = t.of(operation.x);
  operation.statistics_tangent = t.make(operation.statistics);
  operation.partials = kNone;  // of a batch normalisation: one thread adds up all rows of a column
  return operation;
}

inline void normalization(Tangents& t, const Operation& operation, StepKind kind) {
  if (t.of(operation.x) == kNone && !t.is_trained(operation)) return;
  Operation tangent = start_normalization(t, operation, kind);
  tangent.out = t.make(operation.out);
  t.add(tangent);
}

}  // namespace tangents

template <StepKind>
struct Rule;

template <>
struct Rule<StepKind::gather> {
  static constexpr const char* name = "gather";
  static constexpr std::array touches{writes(&Operands::out)};
  static constexpr Division division{Division::rows};
  static constexpr auto tangent = tangents::constant;
};

template <>
struct Rule<StepKind::gather_targets> {
  static constexpr const char* name = "gather_targets";
  static constexpr std::array touches{writes(&Operands::out)};
  static constexpr Division division{Division::rows};
  static constexpr auto tangent = tangents::constant;
};

template <>
struct Rule<StepKind::dense> {
  static constexpr const char* name = "dense";
  static constexpr std::array touches{reads(&Operands::x, Extent::whole_rows), writes(&Operands::out)};
  static constexpr Division division{Division::product};
  static constexpr GemmForm product = GemmForm::nn;
  static void tangent(Tangents& t, const Operation& operation) { tangents::product(t, operation, &Operands::x); }
};

// df(z) = f'(z) dz.
template <>
struct Rule<StepKind::activation> {
  static constexpr const char* name = "activation";
  static constexpr std::array touches{reads(&Operands::x), writes(&Operands::out)};
  static constexpr Division division = like(&Operands::x);
  static void tangent(Tangents& t, Operation operation) {
    t.activation_input(operation.node) = operation.x;
    operation.x_tangent = t.of(operation.x);
    if (operation.x_tangent == kNone) return;
    operation.kind = StepKind::activation_tangent;
    operation.out = t.make(operation.out);
    t.add(operation);
  }
};

template <>
struct Rule<StepKind::batch_moments> {
  static constexpr const char* name = "batch_moments";
  static constexpr std::array touches{reads(&Operands::x), writes(&Operands::partials)};
  static constexpr Division division = like(&Operands::x);
  static constexpr auto tangent = tangents::in_another;
};

// The sums of all groups of rows are needed; the thread with the first rows writes the statistics.
template <>
struct Rule<StepKind::batch_norm> {
  static constexpr const char* name = "batch_norm";
  static constexpr std::array touches{reads(&Operands::x), writes(&Operands::statistics, Extent::whole_columns),
                                      reads(&Operands::partials, Extent::whole_columns), writes(&Operands::out)};
  static constexpr Division division = like(&Operands::x);
  static void tangent(Tangents& t, const Operation& operation) {
    tangents::normalization(t, operation, StepKind::batch_norm_tangent);
  }
};

template <>
struct Rule<StepKind::layer_norm> {
  static constexpr const char* name = "layer_norm";
  static constexpr std::array touches{reads(&Operands::x), writes(&Operands::statistics), writes(&Operands::out)};
  static constexpr Division division{Division::rows};
  static void tangent(Tangents& t, const Operation& operation) {
    tangents::normalization(t, operation, StepKind::layer_norm_tangent);
  }
};

template <>
struct Rule<StepKind::dropout> {
  static constexpr const char* name = "dropout";
  static constexpr std::array touches{reads(&Operands::x), writes(&Operands::out), writes(&Operands::mask)};
  static constexpr Division division = like(&Operands::x);
  static constexpr auto tangent = tangents::linear_in_x;
};

template <>
struct Rule<StepKind::add> {
  static constexpr const char* name = "add";
  static constexpr std::array touches{reads(&Operands::x), reads(&Operands::other), writes(&Operands::out)};
  static constexpr Division division{Division::rows};
  static void tangent(Tangents& t, Operation operation) {
    const int left = t.of(operation.x), right = t.of(operation.other);
    if (left == kNone && right == kNone) return;
    operation.out = t.make(operation.out);
    operation.x = left == kNone ? right : left;
    operation.other = right;
    if (left == kNone || right == kNone) {
      operation.kind = StepKind::copy_gradient;
      operation.other = kNone;
    }
    t.add(operation);
  }
};

// The tangent of the loss's gradient: its Hessian with respect to the outputs, times their tangent.
template <>
struct Rule<StepKind::loss> {
  static constexpr const char* name = "loss";
  static constexpr std::array touches{reads(&Operands::x), writes(&Operands::out)};
  static constexpr Division division{Division::rows};
  static void tangent(Tangents& t, Operation operation) {
    operation.kind = StepKind::loss_tangent;
    operation.x_tangent = t.of(operation.x);
    if (operation.x_tangent == kNone || operation.out == kNone) return;
    operation.out = t.make(operation.out);
    t.add(operation);
  }
};

template <>
struct Rule<StepKind::check_loss> {
  static constexpr const char* name = "check_loss";
  static constexpr std::array<Touch, 0> touches{};
  static constexpr Division division{Division::everyone};
  static constexpr auto tangent = tangents::constant;
};

template <>
struct Rule<StepKind::copy_gradient> {
  static constexpr const char* name = "copy_gradient";
  static constexpr std::array touches{reads(&Operands::x), writes(&Operands::out)};
  static constexpr Division division = like(&Operands::x);
  static constexpr auto tangent = tangents::linear_in_x;
};

template <>
struct Rule<StepKind::add_gradient> {
  static constexpr const char* name = "add_gradient";
  static constexpr std::array touches{reads(&Operands::x), updates(&Operands::out)};
  static constexpr Division division = like(&Operands::x);
  static constexpr auto tangent = tangents::linear_in_x;
};

// d(f'(z) g) = f'(z) dg + f''(z) dz g, in place of dg.
template <>
struct Rule<StepKind::activation_gradient> {
  static constexpr const char* name = "activation_gradient";
  static constexpr std::array touches{reads(&Operands::saved), updates(&Operands::out)};
  static constexpr Division division = like(&Operands::out);
  static void tangent(Tangents& t, Operation operation) {
    operation.kind = StepKind::activation_gradient_tangent;
    operation.saved = kNone;
    operation.x = t.activation_input(operation.node);
    operation.x_tangent = t.of(operation.x);
    operation.grad = std::exchange(operation.out, t.of(operation.out));
    t.add(operation);
  }
};

template <>
struct Rule<StepKind::dropout_gradient> {
  static constexpr const char* name = "dropout_gradient";
  static constexpr std::array touches{reads(&Operands::mask), updates(&Operands::out)};
  static constexpr Division division = like(&Operands::out);
  static constexpr auto tangent = tangents::linear_in_out;
};

template <>
struct Rule<StepKind::batch_sums> {
  static constexpr const char* name = "batch_sums";
  static constexpr std::array touches{reads(&Operands::x), reads(&Operands::grad), reads(&Operands::statistics),
                                      writes(&Operands::partials)};
  static constexpr Division division = like(&Operands::grad);
  static constexpr auto tangent = tangents::in_another;
};

template <>
struct Rule<StepKind::batch_norm_gradient> {
  static constexpr const char* name = "batch_norm_gradient";
  static constexpr std::array touches{reads(&Operands::x), reads(&Operands::statistics),
                                      reads(&Operands::partials, Extent::whole_columns),
                                      writes(&Operands::sums, Extent::whole_columns), updates(&Operands::out)};
  static constexpr Division division = like(&Operands::out);
  static void tangent(Tangents& t, const Operation& operation) {
    Operation tangent = tangents::start_normalization(t, operation, StepKind::batch_norm_gradient_tangent);
    tangent.grad = operation.out;
    tangent.sums = t.make(operation.sums);
    tangent.out = t.make(operation.out);
    t.add(tangent);
  }
};

template <>
struct Rule<StepKind::layer_norm_gradient> {
  static constexpr const char* name = "layer_norm_gradient";
  static constexpr std::array touches{reads(&Operands::x), reads(&Operands::grad), reads(&Operands::statistics),
                                      writes(&Operands::out)};
  static constexpr Division division{Division::rows};
  static void tangent(Tangents& t, const Operation& operation) {
    Operation tangent = tangents::start_normalization(t, operation, StepKind::layer_norm_gradient_tangent);
    tangent.grad_tangent = t.of(operation.grad);
    tangent.out = t.make(operation.out);
    t.add(tangent);
  }
};

template <>
struct Rule<StepKind::input_gradient> {
  static constexpr const char* name = "input_gradient";
  static constexpr std::array touches{reads(&Operands::grad, Extent::whole_rows), reads(&Operands::saved),
                                      writes(&Operands::out)};
  static constexpr Division division{Division::product};
  static constexpr GemmForm product = GemmForm::nt;
  static void tangent(Tangents& t, const Operation& operation) { tangents::product(t, operation, &Operands::grad); }
};

// d(x^T g) = x^T dg + dx^T g.
template <>
struct Rule<StepKind::weight_gradient> {
  static constexpr const char* name = "weight_gradient";
  static constexpr std::array touches{reads(&Operands::grad), reads(&Operands::x)};
  static constexpr Division division{Division::parameter};
  static constexpr GemmForm product = GemmForm::tn;
  static void tangent(Tangents& t, const Operation& operation) {
    Operation of_grad = operation, of_x = operation;
    of_grad.grad = t.of(operation.grad);
    of_x.x = t.of(operation.x);
    if (of_x.x != kNone) of_grad.work.after = After::nothing;
    t.add(of_grad);
    if (of_x.x == kNone) return;
    of_x.work.adds = true;
    t.add(of_x);
  }
};

template <>
struct Rule<StepKind::bias_gradient> {
  static constexpr const char* name = "bias_gradient";
  static constexpr std::array touches{reads(&Operands::grad)};
  static constexpr Division division{Division::parameter};
  static void tangent(Tangents& t, Operation operation) {
    operation.grad = t.of(operation.grad);
    t.add(operation);
  }
};

template <>
struct Rule<StepKind::gamma_gradient> {
  static constexpr const char* name = "gamma_gradient";
  static constexpr std::array touches{reads(&Operands::grad), reads(&Operands::x), reads(&Operands::statistics)};
  static constexpr Division division{Division::parameter};
  static void tangent(Tangents& t, Operation operation) {
    operation.kind = StepKind::gamma_gradient_tangent;
    operation.x_tangent = t.of(operation.x);
    operation.grad_tangent = t.of(operation.grad);
    operation.statistics_tangent = t.of(operation.statistics);
    t.add(operation);
  }
};

template <>
struct Rule<StepKind::stored_gradient> {
  static constexpr const char* name = "stored_gradient";
  static constexpr std::array touches{reads(&Operands::sums)};
  static constexpr Division division{Division::parameter};
  static void tangent(Tangents& t, Operation operation) {
    operation.sums = t.of(operation.sums);
    t.add(operation);
  }
};

template <>
struct Rule<StepKind::check_gradient> {
  static constexpr const char* name = "check_gradient";
  static constexpr std::array<Touch, 0> touches{};
  static constexpr Division division{Division::everyone};
  static constexpr auto tangent = tangents::constant;
};

template <>
struct Rule<StepKind::update_parameter> {
  static constexpr const char* name = "update_parameter";
  static constexpr std::array<Touch, 0> touches{};
  static constexpr Division division{Division::parameter};
  static constexpr auto tangent = tangents::missing;
};

template <>
struct Rule<StepKind::limit_norm> {
  static constexpr const char* name = "limit_norm";
  static constexpr std::array<Touch, 0> touches{};
  static constexpr Division division{Division::columns};
  static constexpr auto tangent = tangents::missing;
};

template <>
struct Rule<StepKind::update_statistics> {
  static constexpr const char* name = "update_statistics";
  static constexpr std::array touches{reads(&Operands::statistics)};
  static constexpr Division division{Division::parameter};
  static constexpr auto tangent = tangents::missing;
};

// ---- the kinds that the tangents above add; these have none themselves ----

template <>
struct Rule<StepKind::activation_tangent> {
  static constexpr const char* name = "activation_tangent";
  static constexpr std::array touches{reads(&Operands::x), reads(&Operands::x_tangent), writes(&Operands::out)};
  static constexpr Division division = like(&Operands::x);
  static constexpr auto tangent = tangents::missing;
};

template <>
struct Rule<StepKind::activation_gradient_tangent> {
  static constexpr const char* name = "activation_gradient_tangent";
  static constexpr std::array touches{reads(&Operands::x), reads(&Operands::grad), reads(&Operands::x_tangent),
                                      updates(&Operands::out)};
  static constexpr Division division = like(&Operands::grad);
  static constexpr auto tangent = tangents::missing;
};

template <>
struct Rule<StepKind::batch_norm_tangent> {
  static constexpr const char* name = "batch_norm_tangent";
  static constexpr std::array touches{reads(&Operands::x), reads(&Operands::x_tangent), reads(&Operands::statistics),
                                      writes(&Operands::statistics_tangent), writes(&Operands::out)};
  static constexpr Division division{Division::columns, &Operands::x};
  static constexpr auto tangent = tangents::missing;
};

template <>
struct Rule<StepKind::batch_norm_gradient_tangent> {
  static constexpr const char* name = "batch_norm_gradient_tangent";
  static constexpr std::array touches{reads(&Operands::x),
                                      reads(&Operands::grad),
                                      reads(&Operands::x_tangent),
                                      reads(&Operands::statistics),
                                      reads(&Operands::statistics_tangent),
                                      writes(&Operands::sums),
                                      updates(&Operands::out)};
  static constexpr Division division{Division::columns, &Operands::grad};
  static constexpr auto tangent = tangents::missing;
};

template <>
struct Rule<StepKind::layer_norm_tangent> {
  static constexpr const char* name = "layer_norm_tangent";
  static constexpr std::array touches{reads(&Operands::x), reads(&Operands::x_tangent), reads(&Operands::statistics),
                                      writes(&Operands::statistics_tangent), writes(&Operands::out)};
  static constexpr Division division{Division::rows};
  static constexpr auto tangent = tangents::missing;
};

template <>
struct Rule<StepKind::layer_norm_gradient_tangent> {
  static constexpr const char* name = "layer_norm_gradient_tangent";
  static constexpr std::array touches{reads(&Operands::x),          reads(&Operands::grad),
                                      reads(&Operands::x_tangent),  reads(&Operands::grad_tangent),
                                      reads(&Operands::statistics), reads(&Operands::statistics_tangent),
                                      writes(&Operands::out)};
  static constexpr Division division{Division::rows};
  static constexpr auto tangent = tangents::missing;
};

template <>
struct Rule<StepKind::gamma_gradient_tangent> {
  static constexpr const char* name = "gamma_gradient_tangent";
  static constexpr std::array touches{reads(&Operands::grad),       reads(&Operands::x),
                                      reads(&Operands::x_tangent),  reads(&Operands::grad_tangent),
                                      reads(&Operands::statistics), reads(&Operands::statistics_tangent)};
  static constexpr Division division{Division::parameter};
  static constexpr auto tangent = tangents::missing;
};

template <>
struct Rule<StepKind::loss_tangent> {
  static constexpr const char* name = "loss_tangent";
  static constexpr std::array touches{reads(&Operands::x), reads(&Operands::x_tangent), writes(&Operands::out)};
  static constexpr Division division{Division::rows};
  static constexpr auto tangent = tangents::missing;
};

}  // namespace stoop
