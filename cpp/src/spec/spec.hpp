// Spec: the description of a layer, an activation, a loss, an optimizer or a schedule, with its names, its numbers and their
// ranges, and the properties of its kind. Everything else is made by a walk over the alternatives of its variant, which is
// the only list. Files that are compiled per instruction set include this, so nothing here leaves a symbol.
#pragma once

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// What each specialisation has:
//   kName    as in files and for users, "elu"
//   kClass   the name of the type, "ELU"; messages open with it
//   kFields  std::tuple of Field, in the order in which files have them
//   kTrainable  of layers: the Key of a last field `trainable`
// The fields lr_scale and decay_scale of a layer that has them follow on their own (HasFactors),
// and what its kind needs (activations.hpp, losses.hpp, ...). An alternative without one does not compile.
template <class Op>
struct Spec;

// Whether a file must have a key. A missing key means the default of the member. A key with `if_changed` is not written
// while the member has its default.
enum class Key { required, optional, if_changed };

// What must not happen to a number in the element type of a model (graph/element_range.hpp).
enum class Holds {
  anything,        // the number is used as float64, or any value will do
  not_zero,        // a number that is not 0 becomes 0
  size,            // the same, or infinity
  size_of_square,  // infinity, or its square becomes 0
  below_one,       // a number below 1 becomes 1
};

// The range of a number. Numbers are always finite.
struct Bounds {
  double low, high;
  bool without_low = false, without_high = false;
};

inline constexpr double kUnbounded = __builtin_inf();

constexpr Bounds at_least(double low) { return {low, kUnbounded, false, true}; }
constexpr Bounds above(double low) { return {low, kUnbounded, true, true}; }
constexpr Bounds between(double low, double high) { return {low, high}; }
constexpr Bounds from_up_to(double low, double high) { return {low, high, false, true}; }  // high itself is not allowed
constexpr Bounds inside(double low, double high) { return {low, high, true, true}; }
constexpr Bounds any_number() { return {-kUnbounded, kUnbounded, true, true}; }

constexpr bool is_within(const Bounds& bounds, double value) {
  return (bounds.without_low ? value > bounds.low : value >= bounds.low) &&
         (bounds.without_high ? value < bounds.high : value <= bounds.high);
}

// A member with the key by which files, Python and messages know it. `hint` is the suggestion of a message.
// Members that are not numbers (names, layers, flags) have no range.
template <class Op, class Member>
struct Field {
  const char* key;
  Member Op::* member;
  Bounds bounds = any_number();
  const char* hint = "";
  Holds holds = Holds::anything;
  Key presence = Key::optional;
};
template <class Op, class Member, class... Rest>
Field(const char*, Member Op::*, Rest...) -> Field<Op, Member>;

// A member without a range.
template <class Op, class Member>
constexpr Field<Op, Member> plain(const char* key, Member Op::* member, Key presence = Key::optional) {
  return {key, member, any_number(), "", Holds::anything, presence};
}

// The names of an enumeration's values, in order, and what is chosen.
template <class Enum>
struct Choices;  // kNames, kWhat

// A member that is one of several by name.
template <class Op, class Enum>
constexpr Field<Op, Enum> choice(const char* key, Enum Op::* member, const char* hint, Key presence) {
  static_assert(sizeof(Choices<Enum>::kNames) > 0);
  return {key, member, any_number(), hint, Holds::anything, presence};
}

// ---- walks; all of them at compile time or inlined ----

template <class Op>
struct TypeOf {
  using type = Op;
};

// Calls visit(TypeOf<Op>()) for each alternative, in order.
template <class... Ops, class Visit>
[[gnu::always_inline]] constexpr void for_each_of(TypeOf<std::variant<Ops...>>, const Visit& visit) {
  (visit(TypeOf<Ops>()), ...);
}
template <class Variant, class Visit>
[[gnu::always_inline]] constexpr void for_each_alternative(const Visit& visit) {
  for_each_of(TypeOf<Variant>(), visit);
}

template <class Op>
inline constexpr std::size_t kFieldCount = std::tuple_size_v<std::remove_cv_t<decltype(Spec<Op>::kFields)>>;

// The member of field i. It is a constant, so that kernels may use it.
template <class Op, std::size_t i>
inline constexpr auto kMember = std::get<i>(Spec<Op>::kFields).member;

template <class Op, std::size_t i>
using MemberOf = std::remove_cvref_t<decltype(std::declval<Op>().*kMember<Op, i>)>;

// A layer with parameters has these two members, and nothing else says so: files, Python, checks and the graph follow.
template <class Op>
concept HasFactors = requires(Op op) {
  op.lr_scale;
  op.decay_scale;
};

// What multiplies the learning rate of a layer's parameters, and their penalties and weight decay.
struct Factors {
  double rate = 1.0, decay = 1.0;
  bool operator==(const Factors&) const = default;
};

// A factor of a layer. Files have it where it is not 1.
template <class Op>
constexpr Field<Op, double> layer_factor(const char* key, double Op::* member, const char* hint) {
  return {key, member, at_least(0), hint, Holds::size, Key::if_changed};
}

// Calls visit(field) for each field of Op, in order.
template <class Op, class Visit>
[[gnu::always_inline]] constexpr void for_each_field(const Visit& visit) {
  [&]<std::size_t... i>(std::index_sequence<i...>) {
    (visit(std::get<i>(Spec<Op>::kFields)), ...);
  }(std::make_index_sequence<kFieldCount<Op>>());
  if constexpr (requires { Spec<Op>::kTrainable; }) visit(plain("trainable", &Op::trainable, Spec<Op>::kTrainable));
  if constexpr (HasFactors<Op>) {
    visit(layer_factor("lr_scale", &Op::lr_scale, "0.1 learns at a tenth of the trainer's rate, 1 is usual"));
    visit(layer_factor("decay_scale", &Op::decay_scale,
                       "0 turns weight decay and the trainer's penalties off, 1 is usual"));
  }
}

// The numbers of an alternative, in the order of its fields, as a plan and a kernel hold them.
template <class Variant>
inline constexpr std::size_t kMostFields = 0;
template <class... Ops>
inline constexpr std::size_t kMostFields<std::variant<Ops...>> = [] {
  std::size_t most = 1;
  ((most = kFieldCount<Ops> > most ? kFieldCount<Ops> : most), ...);
  return most;
}();

template <class Variant>
struct Numbers {
  double of[kMostFields<Variant>] = {};
};

}  // namespace stoop
