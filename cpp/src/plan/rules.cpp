// The table of all kinds of steps, made of their rules.

#include <array>
#include <cstddef>
#include <utility>

#include "step_rules.hpp"

namespace stoop {
namespace {

template <StepKind kind>
constexpr std::optional<GemmForm> product_of() {
  if constexpr (requires { Rule<kind>::product; }) return Rule<kind>::product;
  return std::nullopt;
}

template <StepKind kind>
void tangent_of(Tangents& tangents, const Operation& operation) {
  Rule<kind>::tangent(tangents, operation);
}

template <std::size_t... kinds>
constexpr std::array<StepRule, kStepKinds> all_rules(std::index_sequence<kinds...>) {
  return {StepRule{Rule<StepKind{kinds}>::name, Rule<StepKind{kinds}>::touches, Rule<StepKind{kinds}>::division,
                   product_of<StepKind{kinds}>(), tangent_of<StepKind{kinds}>}...};
}

constexpr std::array<StepRule, kStepKinds> kRules = all_rules(std::make_index_sequence<kStepKinds>());

}  // namespace

const StepRule& rule_of(StepKind kind) { return kRules[static_cast<std::size_t>(kind)]; }

}  // namespace stoop
