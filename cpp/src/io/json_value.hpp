// A JSON value as a tree, to be read or written. That of the JSON library allocates memory when it is destroyed, and ends the
// process where there is none. This one takes less memory as well.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace stoop::inline v0_1 {

struct JsonMember;

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<JsonMember>;  // in the order of the text

  Json() = default;  // null
  Json(std::string text) : value_(std::make_unique<std::string>(std::move(text))) {}
  Json(std::string_view text) : Json(std::string(text)) {}
  Json(const char* text) : Json(std::string(text)) {}
  template <class T>
    requires std::is_arithmetic_v<T>
  Json(T value) : value_(widest(value)) {}

  static Json array() { return Json(Value(std::unique_ptr<Array>())); }
  static Json object() { return Json(Value(std::unique_ptr<Object>())); }

  bool is_null() const { return is<std::monostate>(); }
  bool is_boolean() const { return is<bool>(); }
  bool is_integer() const { return is<std::uint64_t>() || is<std::int64_t>(); }
  bool is_number() const { return is_integer() || is<double>(); }
  bool is_text() const { return is<std::unique_ptr<std::string>>(); }
  bool is_array() const { return is<std::unique_ptr<Array>>(); }
  bool is_object() const { return is<std::unique_ptr<Object>>(); }

  // Each of these is for a value of its kind.
  bool boolean() const { return std::get<bool>(value_); }
  const std::string& text() const { return *std::get<std::unique_ptr<std::string>>(value_); }
  const Array& elements() const { return held<Array>(); }
  const Object& members() const { return held<Object>(); }
  double number() const;
  // Nothing for a number that Integer does not hold.
  template <std::integral Integer>
  std::optional<Integer> integer() const;

  // Returns the value of a key of an object, or nullptr.
  const Json* find(std::string_view key) const;
  Json* find(std::string_view key) { return const_cast<Json*>(std::as_const(*this).find(key)); }

  // Append to an array or an object, and return what was appended. Whether the key is there already is not looked at.
  Json& append(Json value) { return made<Array>().emplace_back(std::move(value)); }
  Json& append(std::string key, Json value);

 private:
  // An empty array or object has no memory of its own.
  using Value = std::variant<std::monostate, bool, std::uint64_t, std::int64_t, double, std::unique_ptr<std::string>,
                             std::unique_ptr<Array>, std::unique_ptr<Object>>;

  explicit Json(Value value) : value_(std::move(value)) {}

  template <class T>
  static auto widest(T value) {
    if constexpr (std::is_same_v<T, bool>) {
      return value;
    } else if constexpr (std::is_floating_point_v<T>) {
      return static_cast<double>(value);
    } else if constexpr (std::is_signed_v<T>) {
      return static_cast<std::int64_t>(value);
    } else {
      return static_cast<std::uint64_t>(value);
    }
  }

  template <class T>
  bool is() const {
    return std::holds_alternative<T>(value_);
  }

  template <class Container>
  const Container& held() const {
    static const Container empty;
    const auto& container = std::get<std::unique_ptr<Container>>(value_);
    return container ? *container : empty;
  }

  template <class Container>
  Container& made() {
    auto& container = std::get<std::unique_ptr<Container>>(value_);
    if (!container) container = std::make_unique<Container>();
    return *container;
  }

  Value value_;
};
static_assert(sizeof(Json) == 16);

struct JsonMember {
  std::string key;
  Json value;
};

inline double Json::number() const {
  if (const auto* value = std::get_if<std::uint64_t>(&value_)) return static_cast<double>(*value);
  if (const auto* value = std::get_if<std::int64_t>(&value_)) return static_cast<double>(*value);
  return std::get<double>(value_);
}

template <std::integral Integer>
std::optional<Integer> Json::integer() const {
  const auto fitting = [](const auto* value) -> std::optional<Integer> {
    if (value == nullptr || !std::in_range<Integer>(*value)) return std::nullopt;
    return static_cast<Integer>(*value);
  };
  if (is<std::uint64_t>()) return fitting(std::get_if<std::uint64_t>(&value_));
  return fitting(std::get_if<std::int64_t>(&value_));
}

inline const Json* Json::find(std::string_view key) const {
  for (const JsonMember& member : members()) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

inline Json& Json::append(std::string key, Json value) {
  return made<Object>().emplace_back(JsonMember{std::move(key), std::move(value)}).value;
}

}  // namespace stoop
