// _core.specs(): the names, numbers, defaults and bounds of every kind of thing, from the Spec of each.
#include <cmath>
#include <concepts>
#include <limits>
#include <optional>
#include <type_traits>

#include "bindings.hpp"
#include "spec/fields.hpp"
#include "spec/initializers.hpp"
#include "spec/layers.hpp"
#include "spec/losses.hpp"
#include "spec/optimizers.hpp"
#include "spec/schedules.hpp"

namespace stoop::python {
namespace {

py::object limit(double value) { return std::isfinite(value) ? py::cast(value) : py::none(); }

// The types of members, with Python's words. A layer or an initialiser is an "object".
template <class Member>
const char* type_of(const Member&) {
  if (std::same_as<Member, bool>) return "bool";
  if (Choice<Member>) return "choice";
  if (std::is_integral_v<Member>) return "int";
  return std::is_floating_point_v<Member> ? "float" : "object";
}
template <class Member>
const char* type_of(const std::optional<Member>&) {
  return type_of(Member());
}

py::dict bounds_of(const Bounds& bounds) {
  py::dict out;
  out["low"] = limit(bounds.low);
  out["high"] = limit(bounds.high);
  out["without_low"] = bounds.without_low;
  out["without_high"] = bounds.without_high;
  return out;
}

template <class Member>
struct ValueIn {
  using type = Member;
};
template <class Member>
struct ValueIn<std::optional<Member>> {
  using type = Member;
};

// An integer of fewer bits than those of Python ends where its type does.
template <class Member>
Bounds bounds_within(Bounds bounds) {
  if (std::is_same_v<Member, int> && !std::isfinite(bounds.high)) {
    bounds.high = std::numeric_limits<int>::max();
    bounds.without_high = false;
  }
  return bounds;
}

template <class Member>
bool is_optional(const Member&) {
  return false;
}
template <class Member>
bool is_optional(const std::optional<Member>&) {
  return true;
}

template <class Op, class Member>
py::dict spec_of_field(const Field<Op, Member>& field) {
  const Op defaults{};
  const Member& value = defaults.*field.member;
  const Bounds bounds = bounds_within<Member>(field.bounds);
  py::dict out = kIsNumber<Member> ? bounds_of(bounds) : py::dict();
  out["type"] = type_of(value);
  out["required"] = field.presence == Key::required;
  out["optional"] = is_optional(value);
  out["default"] = py::none();
  if constexpr (std::is_arithmetic_v<Member>) out["default"] = value;
  if constexpr (std::same_as<Member, LearningRate>) out["default"] = value(0);
  using Value = typename ValueIn<Member>::type;
  if constexpr (kIsNumber<Member> && !std::same_as<Value, Member>) {
    if (value) out["default"] = *value;
  }
  if constexpr (Choice<Value>) {
    py::list names;
    for (const char* name : Choices<Value>::kNames) names.append(name);
    out["choices"] = names;
  }
  if constexpr (Choice<Member>) out["default"] = name_of_choice(value);
  if constexpr (kIsNumber<Member>) out["expected"] = expected_text<Value>(field.key, bounds);
  out["hint"] = field.hint;
  return out;
}

template <class Op>
py::dict spec_of_op() {
  py::dict fields, out;
  for_each_field<Op>([&](const auto& field) { fields[field.key] = spec_of_field(field); });
  out["class"] = Spec<Op>::kClass;
  out["fields"] = fields;
  out["has_rules"] = kHasRules<Op>;
  return out;
}

template <class Variant>
py::dict specs_of() {
  py::dict out;
  for_each_alternative<Variant>([&]<class Op>(TypeOf<Op>) { out[Spec<Op>::kName] = spec_of_op<Op>(); });
  return out;
}

// Adds the targets that a loss takes and the outputs that it gives.
py::dict loss_specs() {
  py::dict out = specs_of<Loss>();
  for_each_alternative<Loss>([&]<class Op>(TypeOf<Op>) {
    auto spec = out[Spec<Op>::kName].template cast<py::dict>();
    spec["takes_classes"] = Spec<Op>::kTakesClasses;
    spec["takes_labels"] = takes_labels(kind_of<Op>());
    spec["has_accuracy"] = Spec<Op>::kHasAccuracy;
    spec["outputs_per_target"] = Spec<Op>::kColumns.per_target;
  });
  return out;
}

// Adds the range of the outputs, where a loss of logits needs to know it.
py::dict activation_specs() {
  py::dict out = specs_of<Activation>();
  for_each_alternative<Activation>([&]<class Op>(TypeOf<Op>) {
    constexpr Bounds kOutputs = Spec<Op>::kOutputs;
    const bool is_limited = std::isfinite(kOutputs.low) || std::isfinite(kOutputs.high);
    out[Spec<Op>::kName]["outputs"] = is_limited ? py::object(bounds_of(kOutputs)) : py::none();
  });
  return out;
}

py::dict specs() {
  py::dict out;
  out["activations"] = activation_specs();
  out["losses"] = loss_specs();
  out["layers"] = specs_of<Layer>();
  out["optimizers"] = specs_of<Optimizer>();
  out["schedules"] = specs_of<schedules::Schedule>();
  out["initializers"] = specs_of<Initializer>();
  return out;
}

}  // namespace

void bind_specs(py::module_& m) {
  m.def("specs", &specs, "Names, fields, defaults, bounds and hints of all that a model or a trainer is made of.");
}

}  // namespace stoop::python
