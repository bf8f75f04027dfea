// Takes values of a JSON tree as numbers, texts and objects, or throws a message that says what was expected at which place.
// `where` is the path of keys. This is a part of config_json.cpp.
#pragma once

#include <algorithm>
#include <concepts>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <stoop/error.hpp>

#include "json_text.hpp"
#include "json_value.hpp"

namespace stoop::inline v0_1 {
namespace {

// Shows a value in a message. A string is cut and a container is only named, since a file may hold anything.
std::string describe(const Json& value) {
  if (value.is_text()) return in_quotes(value.text());
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  std::string text;
  append_json(text, value);
  return text;
}

[[noreturn]] void refuse(const std::string& where, const Json& value, std::string_view expected,
                         std::string_view hint) {
  throw_value_error(where, "got " + describe(value), expected, hint);
}

void require_object(const Json& value, const std::string& where) {
  if (!value.is_object()) refuse(where, value, "expected an object", "write {\"key\": value, ...}");
}

void check_keys(const Json& object, const std::string& where, const std::vector<std::string_view>& valid) {
  for (const auto& [key, value] : object.members()) {
    if (std::find(valid.begin(), valid.end(), key) == valid.end()) throw_unknown_name(where, "key", key, valid);
  }
}

const Json& at(const Json& object, const std::string& where, std::string_view key) {
  if (const Json* found = object.find(key)) return *found;
  throw_value_error(where, "the key " + in_quotes(key) + " is missing", "expected it to be given", "add it");
}

void read(const Json& value, const std::string& where, std::string& out) {
  if (!value.is_text()) refuse(where, value, "expected a string", "write it in double quotes");
  out = value.text();
}

void read(const Json& value, const std::string& where, std::map<std::string, std::string>& out) {
  require_object(value, where);
  for (const auto& [name, text] : value.members()) read(text, where + "." + in_quotes(name), out[name]);
}

void read(const Json& value, const std::string& where, bool& out) {
  if (!value.is_boolean()) refuse(where, value, "expected true or false", "write it without quotes");
  out = value.boolean();
}

void read(const Json& value, const std::string& where, double& out) {
  if (!value.is_number()) refuse(where, value, "expected a number", "write it without quotes, for example 0.001");
  out = value.number();
}

// Takes an integer; true, 1.0 and "1" are not integers.
template <std::integral Integer>
void read(const Json& value, const std::string& where, Integer& out) {
  if (const std::optional<Integer> number = value.integer<Integer>()) {
    out = *number;
  } else {
    using Limits = std::numeric_limits<Integer>;
    refuse(where, value,
           "expected a whole number from " + std::to_string(Limits::min()) + " to " + std::to_string(Limits::max()),
           "write it without quotes or decimal point");
  }
}

}  // namespace
}  // namespace stoop
