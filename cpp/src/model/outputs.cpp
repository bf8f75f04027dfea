#include "outputs.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include <stoop/error.hpp>

namespace stoop::inline v0_1 {
namespace {

constexpr std::array<std::string_view, 13> kClassTypes = {"str",    "object",  "bool",   "int8",   "int16",
                                                          "int32",  "int64",   "uint8",  "uint16", "uint32",
                                                          "uint64", "float32", "float64"};

// Returns whether the whole of `name` is a number of this type.
template <class Number>
bool is_number(std::string_view name) {
  Number value{};
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), value);
  return error == std::errc() && end == name.data() + name.size();
}

bool is_of_type(std::string_view name, std::string_view dtype) {
  if (dtype == "bool") return name == "False" || name == "True";
  if (dtype == "int8") return is_number<std::int8_t>(name);
  if (dtype == "int16") return is_number<std::int16_t>(name);
  if (dtype == "int32") return is_number<std::int32_t>(name);
  if (dtype == "int64") return is_number<std::int64_t>(name);
  if (dtype == "uint8") return is_number<std::uint8_t>(name);
  if (dtype == "uint16") return is_number<std::uint16_t>(name);
  if (dtype == "uint32") return is_number<std::uint32_t>(name);
  if (dtype == "uint64") return is_number<std::uint64_t>(name);
  if (dtype == "float32" || dtype == "float64") return is_number<std::int64_t>(name);  // whole numbers
  return true;
}

}  // namespace

void check_output(const std::optional<OutputKind>& output, Index outputs) {
  if (output != OutputKind::softmax || outputs != 1) return;
  throw_value_error("Model", "output is \"softmax\" with one output, whose softmax is always 1",
                    "expected \"sigmoid\" or \"identity\"",
                    "give the last Dense a unit for each class, or say \"sigmoid\"");
}

void check_classes(const std::optional<ClassNames>& classes, Index outputs) {
  if (!classes) return;
  if (std::find(kClassTypes.begin(), kClassTypes.end(), classes->dtype) == kClassTypes.end()) {
    throw_unknown_name("Model", "dtype of classes", classes->dtype, kClassTypes);
  }
  const auto expected = static_cast<std::size_t>(outputs == 1 ? 2 : outputs);
  if (classes->names.size() != expected) {
    throw_value_error("Model",
                      "classes are " + std::to_string(classes->names.size()) + " names for " + std::to_string(outputs) +
                          (outputs == 1 ? " output" : " outputs"),
                      "expected " + std::to_string(expected), "name each class once, in the order of the outputs");
  }
  std::set<std::string_view> seen;
  for (const std::string& name : classes->names) {
    if (!is_of_type(name, classes->dtype)) {
      throw_value_error("Model", "the class " + in_quotes(name) + " is no " + classes->dtype,
                        "expected names of their dtype", "give them as text of dtype \"str\"");
    }
    if (seen.insert(name).second) continue;
    throw_value_error("Model", "the class " + in_quotes(name) + " is there twice", "expected names that differ",
                      "name each class once, in the order of the outputs");
  }
}

}  // namespace stoop
