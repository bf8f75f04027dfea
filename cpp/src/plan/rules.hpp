// One rule for each kind of step, that says everything that a plan has to know about it: its name, how its work may
// be cut, its tangent, and the operands that it reads and writes. A kind without a rule, and a rule without one of these, do not
// compile. ../run/steps.hpp runs the kinds on the CPU.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "../base/ranges.hpp"
#include "../ops/ops.hpp"
#include "step_kinds.hpp"

namespace stoop::inline v0_1 {

struct Operation;
class Tangents;

// The way in which a step touches an operand, and how far, within its own share of rows or columns or beyond.
enum class Use { read, write, update };  // update: read, then overwritten
enum class Extent {
  own,            // the rows or columns of the share
  whole_rows,     // all columns of the rows
  whole_columns,  // all rows of the columns
};

struct Touch {
  int Operands::* operand;
  Use use;
  Extent extent;
};

// The ways to cut the work of a step.
struct Division {
  enum How {
    rows,       // each as a whole
    elements,   // rows, of which any columns may be computed alone
    columns,    // what follows element by element is cut as `operand` is
    product,    // rows or columns, by the size of the weight
    like,       // as `operand` was when it was last written
    parameter,  // blocks of a parameter
    everyone,   // not at all
  };
  How how;
  int Operands::* operand = nullptr;

  // Returns whether a call may compute some of the columns of the output.
  constexpr bool allows_columns() const { return how == elements || how == columns || how == product || how == like; }
  constexpr bool is_sliced() const { return how == rows || allows_columns(); }
};

class StepRule {
 public:
  // Adds the operations of a step's tangent.
  using Tangent = void (*)(Tangents& tangents, const Operation& operation);

  // `touched` has every operand of the kind. `form` is set for kinds that are a matrix product.
  constexpr StepRule(const char* its_name, Division divided, Tangent derivative, std::initializer_list<Touch> touched,
                     std::optional<GemmForm> form = {})
      : name(its_name), division(divided), tangent(derivative), product(form) {
    for (const Touch& touch : touched) touches_[count_++] = touch;
  }

  constexpr std::span<const Touch> touches() const { return {touches_.data(), count_}; }

  // Returns whether the step overwrites a buffer that it has read.
  constexpr bool works_in_place() const {
    for (const Touch& touch : touches()) {
      if (touch.use == Use::update) return true;
    }
    return false;
  }

  const char* name;
  Division division;
  Tangent tangent;
  std::optional<GemmForm> product;

 private:
  std::array<Touch, 7> touches_{};
  std::size_t count_ = 0;
};

// The tangents of the kinds (tangent.cpp). Each is the product rule of what the kind computes. A tangent that adds nothing says
// why: `constant` or `in_another`. A tangent that does not exist is an error: `missing`.
namespace tangent {
void constant(Tangents& tangents, const Operation& operation);
void in_another(Tangents& tangents, const Operation& operation);
void missing(Tangents& tangents, const Operation& operation);
template <int Operands::* operand>
void linear(Tangents& tangents, const Operation& operation);
template <int Operands::* factor>
void product(Tangents& tangents, const Operation& operation);
template <StepKind kind>
void normalization(Tangents& tangents, const Operation& operation);
void columns(Tangents& tangents, const Operation& operation);
void number_gradient(Tangents& tangents, const Operation& operation);
void activation(Tangents& tangents, const Operation& operation);
void activation_gradient(Tangents& tangents, const Operation& operation);
void sum(Tangents& tangents, const Operation& operation);
void loss(Tangents& tangents, const Operation& operation);
void batch_norm_gradient(Tangents& tangents, const Operation& operation);
void layer_norm_gradient(Tangents& tangents, const Operation& operation);
void weight_gradient(Tangents& tangents, const Operation& operation);
void gamma_gradient(Tangents& tangents, const Operation& operation);
template <int Operands::* operand>
void linear_gradient(Tangents& tangents, const Operation& operation);
}  // namespace tangent

namespace rules {

inline constexpr auto x = &Operands::x, other = &Operands::other, grad = &Operands::grad, saved = &Operands::saved,
                      out = &Operands::out, mask = &Operands::mask, statistics = &Operands::statistics,
                      partials = &Operands::partials, sums = &Operands::sums, x_tangent = &Operands::x_tangent,
                      grad_tangent = &Operands::grad_tangent, statistics_tangent = &Operands::statistics_tangent;

constexpr Touch reads(int Operands::* operand, Extent extent = Extent::own) { return {operand, Use::read, extent}; }
constexpr Touch writes(int Operands::* operand, Extent extent = Extent::own) { return {operand, Use::write, extent}; }
constexpr Touch updates(int Operands::* operand) { return {operand, Use::update, Extent::own}; }

inline constexpr Division by_rows{Division::rows}, by_elements{Division::elements}, by_product{Division::product},
    by_parameter{Division::parameter}, by_everyone{Division::everyone};
constexpr Division by_columns(int Operands::* leader = nullptr) { return {Division::columns, leader}; }
constexpr Division like(int Operands::* operand) { return {Division::like, operand}; }

struct NoRule {};
template <StepKind>
inline constexpr NoRule kRule{};

template <>
inline constexpr StepRule kRule<StepKind::gather>{"gather", by_rows, tangent::constant, {writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::gather_targets>{"gather_targets", by_rows, tangent::constant, {writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::columns>{
    "columns", by_rows, tangent::columns, {reads(x), writes(out), writes(saved)}};
template <>
inline constexpr StepRule kRule<StepKind::number_gradient>{
    "number_gradient",
    by_rows,
    tangent::number_gradient,
    {reads(grad), reads(x), reads(other), reads(saved), writes(statistics), writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::dense>{
    "dense", by_product, tangent::product<x>, {reads(x, Extent::whole_rows), writes(out)}, GemmForm::nn};
template <>
inline constexpr StepRule kRule<StepKind::activation>{
    "activation", like(x), tangent::activation, {reads(x), writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::batch_moments>{
    "batch_moments", like(x), tangent::in_another, {reads(x), writes(partials)}};
// Reads the sums of all groups of rows. The thread with the first rows writes the statistics.
template <>
inline constexpr StepRule kRule<StepKind::batch_norm>{
    "batch_norm",
    like(x),
    tangent::normalization<StepKind::batch_norm_tangent>,
    {reads(x), writes(statistics, Extent::whole_columns), reads(partials, Extent::whole_columns), writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::layer_norm>{"layer_norm",
                                                      by_rows,
                                                      tangent::normalization<StepKind::layer_norm_tangent>,
                                                      {reads(x), writes(statistics), writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::dropout>{
    "dropout", like(x), tangent::linear<x>, {reads(x), writes(out), writes(mask)}};
template <>
inline constexpr StepRule kRule<StepKind::add>{"add", by_elements, tangent::sum, {reads(x), reads(other), writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::loss>{"loss", by_rows, tangent::loss, {reads(x), writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::check_loss>{"check_loss", by_everyone, tangent::missing, {}};
template <>
inline constexpr StepRule kRule<StepKind::give_outputs>{"give_outputs", like(x), tangent::missing, {reads(x)}};
template <>
inline constexpr StepRule kRule<StepKind::check_statistics>{"check_statistics", by_everyone, tangent::missing, {}};
template <>
inline constexpr StepRule kRule<StepKind::gather_gradient>{"gather_gradient", by_rows, tangent::missing, {writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::give_input_gradient>{
    "give_input_gradient", like(x), tangent::missing, {reads(x), reads(saved)}};
template <>
inline constexpr StepRule kRule<StepKind::copy_gradient>{
    "copy_gradient", like(x), tangent::linear<x>, {reads(x), writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::add_gradient>{
    "add_gradient", like(x), tangent::linear<x>, {reads(x), updates(out)}};
template <>
inline constexpr StepRule kRule<StepKind::activation_gradient>{
    "activation_gradient", like(out), tangent::activation_gradient, {reads(saved), updates(out)}};
template <>
inline constexpr StepRule kRule<StepKind::dropout_gradient>{
    "dropout_gradient", like(out), tangent::linear<out>, {reads(mask), updates(out)}};
template <>
inline constexpr StepRule kRule<StepKind::batch_sums>{
    "batch_sums", like(grad), tangent::in_another, {reads(x), reads(grad), reads(statistics), writes(partials)}};
template <>
inline constexpr StepRule kRule<StepKind::batch_norm_gradient>{
    "batch_norm_gradient",
    like(out),
    tangent::batch_norm_gradient,
    {reads(x), reads(statistics), reads(partials, Extent::whole_columns), writes(sums, Extent::whole_columns),
     updates(out)}};
template <>
inline constexpr StepRule kRule<StepKind::layer_norm_gradient>{"layer_norm_gradient",
                                                               by_rows,
                                                               tangent::layer_norm_gradient,
                                                               {reads(x), reads(grad), reads(statistics), writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::columns_input_gradient>{
    "columns_input_gradient", by_rows, tangent::missing, {reads(grad), reads(x), reads(statistics), writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::input_gradient>{"input_gradient",
                                                          by_product,
                                                          tangent::product<grad>,
                                                          {reads(grad, Extent::whole_rows), reads(saved), writes(out)},
                                                          GemmForm::nt};
template <>
inline constexpr StepRule kRule<StepKind::weight_gradient>{
    "weight_gradient", by_parameter, tangent::weight_gradient, {reads(grad), reads(x)}, GemmForm::tn};
template <>
inline constexpr StepRule kRule<StepKind::bias_gradient>{
    "bias_gradient", by_parameter, tangent::linear_gradient<grad>, {reads(grad)}};
template <>
inline constexpr StepRule kRule<StepKind::number_weight_gradient>{
    "number_weight_gradient", by_parameter, tangent::linear_gradient<grad>, {reads(grad), reads(x), reads(saved)}};
template <>
inline constexpr StepRule kRule<StepKind::table_gradient>{
    "table_gradient", by_parameter, tangent::linear_gradient<grad>, {reads(grad), reads(x)}};
template <>
inline constexpr StepRule kRule<StepKind::gamma_gradient>{
    "gamma_gradient", by_parameter, tangent::gamma_gradient, {reads(grad), reads(x), reads(statistics)}};
template <>
inline constexpr StepRule kRule<StepKind::stored_gradient>{
    "stored_gradient", by_parameter, tangent::linear_gradient<sums>, {reads(sums)}};
template <>
inline constexpr StepRule kRule<StepKind::regularize_parameter>{
    "regularize_parameter", by_parameter, tangent::missing, {}};
template <>
inline constexpr StepRule kRule<StepKind::check_gradient>{"check_gradient", by_everyone, tangent::missing, {}};
template <>
inline constexpr StepRule kRule<StepKind::update_parameter>{"update_parameter", by_parameter, tangent::missing, {}};
template <>
inline constexpr StepRule kRule<StepKind::apply_update>{"apply_update", by_parameter, tangent::missing, {}};
template <>
inline constexpr StepRule kRule<StepKind::limit_norm>{"limit_norm", by_columns(), tangent::missing, {}};
template <>
inline constexpr StepRule kRule<StepKind::update_statistics>{
    "update_statistics", by_parameter, tangent::missing, {reads(statistics)}};
// The kinds that tangents add.
template <>
inline constexpr StepRule kRule<StepKind::activation_tangent>{
    "activation_tangent", like(x), tangent::missing, {reads(x), reads(x_tangent), writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::activation_gradient_tangent>{
    "activation_gradient_tangent",
    like(grad),
    tangent::missing,
    {reads(x), reads(grad), reads(x_tangent), updates(out)}};
template <>
inline constexpr StepRule kRule<StepKind::batch_norm_tangent>{
    "batch_norm_tangent",
    by_columns(x),
    tangent::missing,
    {reads(x), reads(x_tangent), reads(statistics), writes(statistics_tangent), writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::batch_norm_gradient_tangent>{
    "batch_norm_gradient_tangent",
    by_columns(grad),
    tangent::missing,
    {reads(x), reads(grad), reads(x_tangent), reads(statistics), reads(statistics_tangent), writes(sums),
     updates(out)}};
template <>
inline constexpr StepRule kRule<StepKind::layer_norm_tangent>{
    "layer_norm_tangent",
    by_rows,
    tangent::missing,
    {reads(x), reads(x_tangent), reads(statistics), writes(statistics_tangent), writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::layer_norm_gradient_tangent>{
    "layer_norm_gradient_tangent",
    by_rows,
    tangent::missing,
    {reads(x), reads(grad), reads(x_tangent), reads(grad_tangent), reads(statistics), reads(statistics_tangent),
     writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::gamma_gradient_tangent>{
    "gamma_gradient_tangent",
    by_parameter,
    tangent::missing,
    {reads(grad), reads(x), reads(x_tangent), reads(grad_tangent), reads(statistics), reads(statistics_tangent)}};
template <>
inline constexpr StepRule kRule<StepKind::loss_tangent>{
    "loss_tangent", by_rows, tangent::missing, {reads(x), reads(x_tangent), writes(out)}};

// The layers of members. A share has the rows of all members of its rows of the batch.
template <>
inline constexpr StepRule kRule<StepKind::member_scale>{
    "member_scale", like(x), tangent::product<x>, {reads(x), writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::member_scale_gradient>{
    "member_scale_gradient", like(grad), tangent::product<grad>, {reads(grad), writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::member_sum>{
    "member_sum", like(x), tangent::linear<x>, {reads(x), writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::scale_gradient>{
    "scale_gradient", by_parameter, tangent::weight_gradient, {reads(grad), reads(x)}};
template <>
inline constexpr StepRule kRule<StepKind::member_dense>{
    "member_dense", by_product, tangent::product<x>, {reads(x, Extent::whole_rows), writes(out)}, GemmForm::nn};
template <>
inline constexpr StepRule kRule<StepKind::member_input_gradient>{
    "member_input_gradient",
    by_product,
    tangent::product<grad>,
    {reads(grad, Extent::whole_rows), reads(saved), writes(out)},
    GemmForm::nt};
template <>
inline constexpr StepRule kRule<StepKind::member_weight_gradient>{
    "member_weight_gradient", by_parameter, tangent::weight_gradient, {reads(grad), reads(x)}, GemmForm::tn};
template <>
inline constexpr StepRule kRule<StepKind::member_bias_gradient>{
    "member_bias_gradient", by_parameter, tangent::linear_gradient<grad>, {reads(grad)}};
template <>
inline constexpr StepRule kRule<StepKind::encoded_dense>{
    "encoded_dense", by_elements, tangent::missing, {reads(x, Extent::whole_rows), writes(out)}};
// Its columns are those of X, a block each.
template <>
inline constexpr StepRule kRule<StepKind::encoded_gradient>{
    "encoded_gradient",
    by_columns(),
    tangent::missing,
    {reads(x, Extent::whole_rows), reads(grad, Extent::whole_rows), writes(sums), writes(statistics),
     writes(partials)}};
template <>
inline constexpr StepRule kRule<StepKind::combine>{"combine", by_rows, tangent::missing, {reads(x), writes(out)}};
template <>
inline constexpr StepRule kRule<StepKind::combine_gradient>{
    "combine_gradient", by_rows, tangent::missing, {reads(x), reads(grad), writes(out)}};

template <StepKind kind>
constexpr StepRule checked_rule() {
  static_assert(std::is_same_v<decltype(kRule<kind>), const StepRule>, "each kind of step has a rule");
  return kRule<kind>;
}

template <std::size_t... kinds>
constexpr std::array<StepRule, kStepKinds> all_rules(std::index_sequence<kinds...>) {
  return {checked_rule<StepKind{kinds}>()...};
}

inline constexpr std::array<StepRule, kStepKinds> kRules = all_rules(std::make_index_sequence<kStepKinds>());

}  // namespace rules

constexpr const StepRule& rule_of(StepKind kind) { return rules::kRules[static_cast<std::size_t>(kind)]; }

// Returns whether a step finds the rows of each member of a value itself. The others take all rows alike, however many a row of
// the batch has.
constexpr bool tells_members_apart(StepKind kind) {
  return (kind >= StepKind::member_scale && kind <= StepKind::combine_gradient) || kind == StepKind::loss ||
         kind == StepKind::loss_tangent;
}

}  // namespace stoop
