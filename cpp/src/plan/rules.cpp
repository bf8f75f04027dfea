// One rule for each kind of step: its name, how its work may be cut, its tangent, and the operands that it reads and
// writes. A kind without a rule, and a rule without one of these, do not compile.
//
// Each tangent is the product rule of what the kind computes. A tangent that adds nothing says why: `constant` or
// `in_another`. A tangent that does not exist is an error: `missing`.

#include "rules.hpp"

#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "tangent.hpp"

namespace stoop {
namespace {

constexpr auto x = &Operands::x, other = &Operands::other, grad = &Operands::grad, saved = &Operands::saved,
               out = &Operands::out, mask = &Operands::mask, statistics = &Operands::statistics,
               partials = &Operands::partials, sums = &Operands::sums, x_tangent = &Operands::x_tangent,
               grad_tangent = &Operands::grad_tangent, statistics_tangent = &Operands::statistics_tangent;

constexpr Touch reads(int Operands::* operand, Extent extent = Extent::own) { return {operand, Use::read, extent}; }
constexpr Touch writes(int Operands::* operand, Extent extent = Extent::own) { return {operand, Use::write, extent}; }
constexpr Touch updates(int Operands::* operand) { return {operand, Use::update, Extent::own}; }

constexpr Division by_rows{Division::rows}, by_product{Division::product}, by_parameter{Division::parameter},
    by_everyone{Division::everyone};
constexpr Division by_columns(int Operands::* leader = nullptr) { return {Division::columns, leader}; }
constexpr Division like(int Operands::* operand) { return {Division::like, operand}; }

namespace tangent {

// ---- tangents of several kinds ----

// The step computes nothing that depends on the parameters.
void constant(Tangents&, const Operation&) {}

// The tangent of the normalisation that reads these sums computes them again, with their derivatives.
void in_another(Tangents&, const Operation&) {}

void missing(Tangents&, const Operation& operation) {
  throw std::logic_error(std::string("the step '") + rule_of(operation.kind).name + "' has no tangent");
}

// For a step that is linear in one operand and depends on nothing else: the same step on the tangents.
template <int Operands::* operand>
void linear(Tangents& t, const Operation& operation) {
  if (t.of(operation.*operand) == kNone) return;
  Operation tangent = operation;
  tangent.x = t.of(operation.x);
  tangent.out = t.make(operation.out);
  t.add(tangent);
}

// d(x @ W + b) = dx @ W + x @ dW + db, and the same for a gradient times W^T.
template <int Operands::* factor>
void product(Tangents& t, const Operation& operation) {
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
  Operation total;
  total.kind = StepKind::add_gradient;
  total.x = of_weight.out;
  total.out = of_factor.out;
  total.columns = total.out_features = operation.columns;
  t.add(total);
}

// The tangent of a normalisation is a kind of its own. This is the part that all of them share.
Operation start_normalization(Tangents& t, Operation operation, StepKind kind) {
  operation.kind = kind;
  operation.along = t.is_trained(operation);
  operation.x_tangent = t.of(operation.x);
  operation.statistics_tangent = t.make(operation.statistics);
  operation.out = t.make(operation.out);
  operation.partials = kNone;  // of a batch normalisation: one thread adds up all rows of a column
  return operation;
}

template <StepKind kind>
void normalization(Tangents& t, const Operation& operation) {
  if (t.of(operation.x) != kNone || t.is_trained(operation)) t.add(start_normalization(t, operation, kind));
}

// ---- tangents of one kind ----

// df(z) = f'(z) dz.
void activation(Tangents& t, const Operation& operation) {
  t.activation_input(operation.node) = operation.x;
  if (t.of(operation.x) == kNone) return;
  Operation tangent = operation;
  tangent.kind = StepKind::activation_tangent;
  tangent.x_tangent = t.of(operation.x);
  tangent.out = t.make(operation.out);
  t.add(tangent);
}

// d(f'(z) g) = f'(z) dg + f''(z) dz g, in place of dg.
void activation_gradient(Tangents& t, const Operation& operation) {
  Operation tangent = operation;
  tangent.kind = StepKind::activation_gradient_tangent;
  tangent.saved = kNone;
  tangent.x = t.activation_input(operation.node);
  tangent.x_tangent = t.of(tangent.x);
  tangent.grad = operation.out;
  tangent.out = t.of(operation.out);
  t.add(tangent);
}

void sum(Tangents& t, const Operation& operation) {
  const int left = t.of(operation.x), right = t.of(operation.other);
  if (left == kNone && right == kNone) return;
  Operation tangent = operation;
  tangent.out = t.make(operation.out);
  tangent.x = left == kNone ? right : left;
  tangent.other = left == kNone ? kNone : right;
  if (tangent.other == kNone) tangent.kind = StepKind::copy_gradient;
  t.add(tangent);
}

// The tangent of the loss's gradient: its Hessian with respect to the outputs, times their tangent.
void loss(Tangents& t, const Operation& operation) {
  if (t.of(operation.x) == kNone || operation.out == kNone) return;
  Operation tangent = operation;
  tangent.kind = StepKind::loss_tangent;
  tangent.x_tangent = t.of(operation.x);
  tangent.out = t.make(operation.out);
  t.add(tangent);
}

void batch_norm_gradient(Tangents& t, const Operation& operation) {
  Operation tangent = start_normalization(t, operation, StepKind::batch_norm_gradient_tangent);
  tangent.grad = operation.out;
  tangent.sums = t.make(operation.sums);
  t.add(tangent);
}

void layer_norm_gradient(Tangents& t, const Operation& operation) {
  Operation tangent = start_normalization(t, operation, StepKind::layer_norm_gradient_tangent);
  tangent.grad_tangent = t.of(operation.grad);
  t.add(tangent);
}

// d(x^T g) = x^T dg + dx^T g.
void weight_gradient(Tangents& t, const Operation& operation) {
  Operation of_grad = operation, of_x = operation;
  of_grad.grad = t.of(operation.grad);
  of_x.x = t.of(operation.x);
  of_x.work.adds = true;
  if (of_x.x != kNone) of_grad.work.after = After::nothing;
  t.add(of_grad);
  if (of_x.x != kNone) t.add(of_x);
}

void gamma_gradient(Tangents& t, const Operation& operation) {
  Operation tangent = operation;
  tangent.kind = StepKind::gamma_gradient_tangent;
  tangent.x_tangent = t.of(operation.x);
  tangent.grad_tangent = t.of(operation.grad);
  tangent.statistics_tangent = t.of(operation.statistics);
  t.add(tangent);
}

// For the gradient of a parameter that is linear in one operand.
template <int Operands::* operand>
void linear_gradient(Tangents& t, const Operation& operation) {
  Operation tangent = operation;
  tangent.*operand = t.of(operation.*operand);
  t.add(tangent);
}

}  // namespace tangent

// ---- the rules ----

struct NoRule {};
template <StepKind>
constexpr NoRule kRule{};

template <>
constexpr StepRule kRule<StepKind::gather>{"gather", by_rows, tangent::constant, {writes(out)}};
template <>
constexpr StepRule kRule<StepKind::gather_targets>{"gather_targets", by_rows, tangent::constant, {writes(out)}};
template <>
constexpr StepRule kRule<StepKind::dense>{
    "dense", by_product, tangent::product<x>, {reads(x, Extent::whole_rows), writes(out)}, GemmForm::nn};
template <>
constexpr StepRule kRule<StepKind::activation>{"activation", like(x), tangent::activation, {reads(x), writes(out)}};
template <>
constexpr StepRule kRule<StepKind::batch_moments>{
    "batch_moments", like(x), tangent::in_another, {reads(x), writes(partials)}};
// Reads the sums of all groups of rows. The thread with the first rows writes the statistics.
template <>
constexpr StepRule kRule<StepKind::batch_norm>{
    "batch_norm",
    like(x),
    tangent::normalization<StepKind::batch_norm_tangent>,
    {reads(x), writes(statistics, Extent::whole_columns), reads(partials, Extent::whole_columns), writes(out)}};
template <>
constexpr StepRule kRule<StepKind::layer_norm>{"layer_norm",
                                               by_rows,
                                               tangent::normalization<StepKind::layer_norm_tangent>,
                                               {reads(x), writes(statistics), writes(out)}};
template <>
constexpr StepRule kRule<StepKind::dropout>{
    "dropout", like(x), tangent::linear<x>, {reads(x), writes(out), writes(mask)}};
template <>
constexpr StepRule kRule<StepKind::add>{"add", by_rows, tangent::sum, {reads(x), reads(other), writes(out)}};
template <>
constexpr StepRule kRule<StepKind::loss>{"loss", by_rows, tangent::loss, {reads(x), writes(out)}};
template <>
constexpr StepRule kRule<StepKind::check_loss>{"check_loss", by_everyone, tangent::missing, {}};
template <>
constexpr StepRule kRule<StepKind::copy_gradient>{
    "copy_gradient", like(x), tangent::linear<x>, {reads(x), writes(out)}};
template <>
constexpr StepRule kRule<StepKind::add_gradient>{"add_gradient", like(x), tangent::linear<x>, {reads(x), updates(out)}};
template <>
constexpr StepRule kRule<StepKind::activation_gradient>{
    "activation_gradient", like(out), tangent::activation_gradient, {reads(saved), updates(out)}};
template <>
constexpr StepRule kRule<StepKind::dropout_gradient>{
    "dropout_gradient", like(out), tangent::linear<out>, {reads(mask), updates(out)}};
template <>
constexpr StepRule kRule<StepKind::batch_sums>{
    "batch_sums", like(grad), tangent::in_another, {reads(x), reads(grad), reads(statistics), writes(partials)}};
template <>
constexpr StepRule kRule<StepKind::batch_norm_gradient>{
    "batch_norm_gradient",
    like(out),
    tangent::batch_norm_gradient,
    {reads(x), reads(statistics), reads(partials, Extent::whole_columns), writes(sums, Extent::whole_columns),
     updates(out)}};
template <>
constexpr StepRule kRule<StepKind::layer_norm_gradient>{"layer_norm_gradient",
                                                        by_rows,
                                                        tangent::layer_norm_gradient,
                                                        {reads(x), reads(grad), reads(statistics), writes(out)}};
template <>
constexpr StepRule kRule<StepKind::input_gradient>{"input_gradient",
                                                   by_product,
                                                   tangent::product<grad>,
                                                   {reads(grad, Extent::whole_rows), reads(saved), writes(out)},
                                                   GemmForm::nt};
template <>
constexpr StepRule kRule<StepKind::weight_gradient>{
    "weight_gradient", by_parameter, tangent::weight_gradient, {reads(grad), reads(x)}, GemmForm::tn};
template <>
constexpr StepRule kRule<StepKind::bias_gradient>{
    "bias_gradient", by_parameter, tangent::linear_gradient<grad>, {reads(grad)}};
template <>
constexpr StepRule kRule<StepKind::gamma_gradient>{
    "gamma_gradient", by_parameter, tangent::gamma_gradient, {reads(grad), reads(x), reads(statistics)}};
template <>
constexpr StepRule kRule<StepKind::stored_gradient>{
    "stored_gradient", by_parameter, tangent::linear_gradient<sums>, {reads(sums)}};
template <>
constexpr StepRule kRule<StepKind::give_outputs>{"give_outputs", like(x), tangent::missing, {reads(x)}};
template <>
constexpr StepRule kRule<StepKind::check_statistics>{"check_statistics", by_everyone, tangent::missing, {}};
template <>
constexpr StepRule kRule<StepKind::gather_gradient>{"gather_gradient", by_rows, tangent::missing, {writes(out)}};
template <>
constexpr StepRule kRule<StepKind::give_input_gradient>{"give_input_gradient", like(x), tangent::missing, {reads(x)}};
template <>
constexpr StepRule kRule<StepKind::regularize_parameter>{"regularize_parameter", by_parameter, tangent::missing, {}};
template <>
constexpr StepRule kRule<StepKind::check_gradient>{"check_gradient", by_everyone, tangent::missing, {}};
template <>
constexpr StepRule kRule<StepKind::update_parameter>{"update_parameter", by_parameter, tangent::missing, {}};
template <>
constexpr StepRule kRule<StepKind::apply_update>{"apply_update", by_parameter, tangent::missing, {}};
template <>
constexpr StepRule kRule<StepKind::limit_norm>{"limit_norm", by_columns(), tangent::missing, {}};
template <>
constexpr StepRule kRule<StepKind::update_statistics>{
    "update_statistics", by_parameter, tangent::missing, {reads(statistics)}};
// The kinds that tangents add.
template <>
constexpr StepRule kRule<StepKind::activation_tangent>{
    "activation_tangent", like(x), tangent::missing, {reads(x), reads(x_tangent), writes(out)}};
template <>
constexpr StepRule kRule<StepKind::activation_gradient_tangent>{
    "activation_gradient_tangent",
    like(grad),
    tangent::missing,
    {reads(x), reads(grad), reads(x_tangent), updates(out)}};
template <>
constexpr StepRule kRule<StepKind::batch_norm_tangent>{
    "batch_norm_tangent",
    by_columns(x),
    tangent::missing,
    {reads(x), reads(x_tangent), reads(statistics), writes(statistics_tangent), writes(out)}};
template <>
constexpr StepRule kRule<StepKind::batch_norm_gradient_tangent>{
    "batch_norm_gradient_tangent",
    by_columns(grad),
    tangent::missing,
    {reads(x), reads(grad), reads(x_tangent), reads(statistics), reads(statistics_tangent), writes(sums),
     updates(out)}};
template <>
constexpr StepRule kRule<StepKind::layer_norm_tangent>{
    "layer_norm_tangent",
    by_rows,
    tangent::missing,
    {reads(x), reads(x_tangent), reads(statistics), writes(statistics_tangent), writes(out)}};
template <>
constexpr StepRule kRule<StepKind::layer_norm_gradient_tangent>{
    "layer_norm_gradient_tangent",
    by_rows,
    tangent::missing,
    {reads(x), reads(grad), reads(x_tangent), reads(grad_tangent), reads(statistics), reads(statistics_tangent),
     writes(out)}};
template <>
constexpr StepRule kRule<StepKind::gamma_gradient_tangent>{
    "gamma_gradient_tangent",
    by_parameter,
    tangent::missing,
    {reads(grad), reads(x), reads(x_tangent), reads(grad_tangent), reads(statistics), reads(statistics_tangent)}};
template <>
constexpr StepRule kRule<StepKind::loss_tangent>{
    "loss_tangent", by_rows, tangent::missing, {reads(x), reads(x_tangent), writes(out)}};

template <StepKind kind>
constexpr StepRule checked_rule() {
  static_assert(std::is_same_v<decltype(kRule<kind>), const StepRule>, "each kind of step has a rule");
  return kRule<kind>;
}

template <std::size_t... kinds>
constexpr std::array<StepRule, kStepKinds> all_rules(std::index_sequence<kinds...>) {
  return {checked_rule<StepKind{kinds}>()...};
}

constexpr std::array<StepRule, kStepKinds> kRules = all_rules(std::make_index_sequence<kStepKinds>());

}  // namespace

const StepRule& rule_of(StepKind kind) { return kRules[static_cast<std::size_t>(kind)]; }

}  // namespace stoop
