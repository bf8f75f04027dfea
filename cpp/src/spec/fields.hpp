// Functions that follow from a Spec and use text: names of alternatives, alternatives by name, checks of ranges.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include <stoop/error.hpp>

#include "spec.hpp"

namespace stoop::inline v0_1 {

// Returns the names of a variant's alternatives, in order.
template <class Variant>
inline constexpr auto kNamesOf = [] {
  std::array<std::string_view, std::variant_size_v<Variant>> names;
  std::size_t i = 0;
  for_each_alternative<Variant>([&]<class Op>(TypeOf<Op>) { names[i++] = Spec<Op>::kName; });
  return names;
}();

// Returns the alternative of that name with its default values. Throws ValueError with the nearest valid name if there is
// none. `what` is the kind of thing, as in "loss".
template <class Variant>
Variant alternative_named(std::string_view name, std::string_view where, std::string_view what) {
  Variant result;
  bool is_known = false;
  for_each_alternative<Variant>([&]<class Op>(TypeOf<Op>) {
    if (name != Spec<Op>::kName) return;
    result.template emplace<Op>();
    is_known = true;
  });
  if (!is_known) throw_unknown_name(where, what, name, kNamesOf<Variant>);
  return result;
}

template <class Enum>
concept Choice = requires { Choices<Enum>::kNames; };

// Returns the value of that name. Throws ValueError with the nearest valid name if there is none.
template <Choice Enum>
Enum choice_named(std::string_view name, std::string_view where) {
  std::array<std::string_view, std::size(Choices<Enum>::kNames)> names;
  for (std::size_t i = 0; i < names.size(); ++i) {
    names[i] = Choices<Enum>::kNames[i];
    if (names[i] == name) return static_cast<Enum>(i);
  }
  throw_unknown_name(where, Choices<Enum>::kWhat, name, names);
}

template <Choice Enum>
const char* name_of_choice(Enum value) {
  return Choices<Enum>::kNames[static_cast<std::size_t>(value)];
}

// Returns of(TypeOf<Op>()) for the alternative of that kind.
template <class Variant, class Kind, class Of>
auto trait_of(Kind kind, const Of& of) {
  const auto traits = [&]<class... Op>(TypeOf<std::variant<Op...>>) { return std::array{of(TypeOf<Op>())...}; };
  return traits(TypeOf<Variant>())[static_cast<std::size_t>(kind)];
}

// The numbers that a kernel gets.
template <class Variant>
Numbers<Variant> numbers_in(const Variant& variant) {
  Numbers<Variant> numbers;
  std::visit(
      [&]<class Op>(const Op& op) {
        [&]<std::size_t... i>(std::index_sequence<i...>) {
          ((numbers.of[i] = static_cast<double>(op.*kMember<Op, i>)), ...);
        }(std::make_index_sequence<kFieldCount<Op>>());
      },
      variant);
  return numbers;
}

// "expected a finite number above 0", "expected 0 <= rate < 1", ...
template <class Member>
std::string expected_text(std::string_view key, const Bounds& bounds) {
  const std::string name(key), low = number_text(bounds.low), high = number_text(bounds.high);
  if (std::isfinite(bounds.high) && !bounds.without_low && !bounds.without_high)
    return "expected " + low + " to " + high;
  if (std::isfinite(bounds.high)) {
    return "expected " + low + (bounds.without_low ? " < " : " <= ") + name + (bounds.without_high ? " < " : " <= ") +
           high;
  }
  if (std::is_integral_v<Member>) return "expected at least " + low;
  if (!std::isfinite(bounds.low)) return "expected a finite number";
  return "expected a finite number" + std::string(bounds.without_low ? " above " : ", at least ") + low;
}

template <class Member>
inline constexpr bool kIsNumber = std::is_arithmetic_v<Member> && !std::is_same_v<Member, bool>;
template <class Member>
inline constexpr bool kIsNumber<std::optional<Member>> = kIsNumber<Member>;

// Refuses a number outside its range: "[ELU] alpha is -1; expected ...; 1 is usual", or, if `of` is "layer 0 has ",
// "[ELU] layer 0 has alpha=-1; ...". A value that is not set passes. Also refuses an enumerator that has no name.
template <class Op, class Member>
void check_field(const Op& op, const Field<Op, Member>& field, std::string_view of = "") {
  if constexpr (Choice<Member>) {
    const auto value = static_cast<std::size_t>(op.*field.member);
    if (value < std::size(Choices<Member>::kNames)) return;
    throw_value_error(Spec<Op>::kClass, std::string(of) + field.key + " is number " + std::to_string(value),
                      "expected one of its enumerators", field.hint);
  }
  if constexpr (kIsNumber<Member>) {
    const auto value = [&] {
      if constexpr (std::is_arithmetic_v<Member>) return std::optional<Member>(op.*field.member);
      if constexpr (!std::is_arithmetic_v<Member>) return op.*field.member;
    }();
    if (!value || is_within(field.bounds, static_cast<double>(*value))) return;
    throw_value_error(
        Spec<Op>::kClass,
        std::string(of) + field.key + (of.empty() ? " is " : "=") + number_text(static_cast<double>(*value)),
        expected_text<std::remove_cvref_t<decltype(*value)>>(field.key, field.bounds), field.hint);
  }
}

// Whether there are rules between several members; Spec<Op>::check(op) throws ValueError where they are broken.
template <class Op>
inline constexpr bool kHasRules = requires(const Op& op) { Spec<Op>::check(op); };

// Checks all fields, then the rules between them.
template <class Op>
void check_fields(const Op& op, std::string_view of = "") {
  for_each_field<Op>([&](const auto& field) { check_field(op, field, of); });
  if constexpr (kHasRules<Op>) Spec<Op>::check(op);
}

}  // namespace stoop
