// Takes values of a JSON tree as numbers, texts and objects, or throws a message that says what was expected at which place.
// `where` is the path of keys. This is a part of config_json.cpp, which includes the library.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <stoop/error.hpp>

namespace stoop::inline v0_1 {
namespace {

using nlohmann::json;

// Shows a value in a message. A string is cut and a container is only named, since a file may hold anything.
std::string describe(const json& value) {
  if (value.is_string()) return in_quotes(value.get_ref<const std::string&>());
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  return value.dump();
}

[[noreturn]] void refuse(const std::string& where, const json& value, std::string_view expected,
                         std::string_view hint) {
  throw_value_error(where, "got " + describe(value), expected, hint);
}

void require_object(const json& value, const std::string& where) {
  if (!value.is_object()) refuse(where, value, "expected an object", "write {\"key\": value, ...}");
}

void check_keys(const json& object, const std::string& where, const std::vector<std::string_view>& valid) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(valid.begin(), valid.end(), key) == valid.end()) throw_unknown_name(where, "key", key, valid);
  }
}

const json& at(const json& object, const std::string& where, std::string_view key) {
  const auto found = object.find(key);
  if (found != object.end()) return *found;
  throw_value_error(where, "the key " + in_quotes(key) + " is missing", "expected it to be given", "add it");
}

void read(const json& value, const std::string& where, std::string& out) {
  if (!value.is_string()) refuse(where, value, "expected a string", "write it in double quotes");
  out = value.get<std::string>();
}

void read(const json& value, const std::string& where, std::map<std::string, std::string>& out) {
  require_object(value, where);
  for (const auto& [name, text] : value.items()) read(text, where + "." + in_quotes(name), out[name]);
}

void read(const json& value, const std::string& where, bool& out) {
  if (!value.is_boolean()) refuse(where, value, "expected true or false", "write it without quotes");
  out = value.get<bool>();
}

void read(const json& value, const std::string& where, double& out) {
  if (!value.is_number()) refuse(where, value, "expected a number", "write it without quotes, for example 0.001");
  out = value.get<double>();
}

// Takes an integer; true, 1.0 and "1" are not integers.
template <std::integral Integer>
void read(const json& value, const std::string& where, Integer& out) {
  if (value.is_number_unsigned() && std::in_range<Integer>(value.get<std::uint64_t>())) {
    out = static_cast<Integer>(value.get<std::uint64_t>());
  } else if (value.is_number_integer() && !value.is_number_unsigned() &&
             std::in_range<Integer>(value.get<std::int64_t>())) {
    out = static_cast<Integer>(value.get<std::int64_t>());
  } else {
    using Limits = std::numeric_limits<Integer>;
    refuse(where, value,
           "expected a whole number from " + std::to_string(Limits::min()) + " to " + std::to_string(Limits::max()),
           "write it without quotes or decimal point");
  }
}

}  // namespace
}  // namespace stoop
