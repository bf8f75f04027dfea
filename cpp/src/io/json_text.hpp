// Reads JSON text into a tree within limits, in time and memory proportional to the text, and writes a tree as text. The parser
// of the JSON library calls TreeBuilder for each piece. config_json.cpp includes the library.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <stoop/error.hpp>

#include "config_json.hpp"
#include "json_value.hpp"

namespace stoop::inline v0_1 {

struct JsonLimits {
  int depth;                   // far more than a text of this kind has; keeps hostile text from nesting without end
  std::size_t memory;          // of the tree: a short text could otherwise fill it, "{}," takes eighty times its length
  std::string_view when_deep;  // what to do about too much depth
};

[[noreturn]] inline void throw_not_json(std::string_view where, std::size_t byte) {
  throw_value_error(where, "the text stops being JSON at byte " + std::to_string(byte),
                    "expected one JSON object in UTF-8", "check where it comes from");
}

// The bytes of a text for the parser, a block at a time.
class JsonBytes {
 public:
  JsonBytes(ReadBytes read, std::string_view where) : read_(std::move(read)), where_(where), block_(kBlock) {
    fill();
    if (std::string_view(block_.data(), length_).starts_with("\xEF\xBB\xBF")) {
      throw_value_error(where_, "the text begins with a byte-order mark", "expected JSON in UTF-8 without one",
                        "write it without");
    }
  }

  bool at_end() const { return position_ == length_; }
  const char& current() const { return block_[position_]; }
  void advance() {
    if (++position_ == length_) fill();
  }

 private:
  static constexpr std::size_t kBlock = std::size_t{1} << 16;

  // The parser takes a zero byte for the end of the text, whatever follows.
  void fill() {
    before_ += length_;
    position_ = 0;
    length_ = read_(block_.data(), kBlock);
    for (std::size_t i = 0; i < length_; ++i) measure(block_[i]);
    const void* zero = length_ == 0 ? nullptr : std::memchr(block_.data(), 0, length_);
    if (zero == nullptr) return;
    throw_not_json(where_, before_ + static_cast<std::size_t>(static_cast<const char*>(zero) - block_.data()) + 1);
  }

  // The parser holds a text or number several times before it is done with it, so those without end are stopped here.
  void measure(char c) {
    if (in_text_) {
      const bool ends = c == '"' && !escaped_;
      escaped_ = c == '\\' && !escaped_;
      if (ends) in_text_ = false, token_ = 0;
    } else if (c == '"') {
      in_text_ = true, token_ = 0;
    } else if (std::string_view("{}[]:, \t\r\n").find(c) != std::string_view::npos) {
      token_ = 0;
    }
    if (++token_ <= (in_text_ ? kLongestText : kLongestNumber)) return;
    throw_value_error(where_,
                      in_text_ ? "the JSON text holds a very long string" : "the JSON text holds a very long number",
                      "expected at most " + std::to_string(in_text_ ? kLongestText : kLongestNumber) + " bytes",
                      "check where it comes from");
  }

  static constexpr std::size_t kLongestText = std::size_t{1} << 26;  // a model of kMostLayers layers has half of it
  static constexpr std::size_t kLongestNumber = 1000;

  ReadBytes read_;
  std::string_view where_;
  bool in_text_ = false, escaped_ = false;
  std::size_t token_ = 0;  // bytes of the token so far
  std::vector<char> block_;
  std::size_t position_ = 0, length_ = 0, before_ = 0;
};

class JsonByteIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  JsonByteIterator() = default;  // the end
  explicit JsonByteIterator(JsonBytes& bytes) : bytes_(&bytes) {}
  reference operator*() const { return bytes_->current(); }
  JsonByteIterator& operator++() {
    bytes_->advance();
    return *this;
  }
  bool operator==(const JsonByteIterator& other) const { return at_end() == other.at_end(); }

 private:
  bool at_end() const { return bytes_ == nullptr || bytes_->at_end(); }
  JsonBytes* bytes_ = nullptr;
};

// What readers count for a value beside the bytes of its text: an element of an array that grows; more for a text, for an array,
// for an object with the layer that is made of it; a key.
struct JsonCosts {
  static constexpr std::size_t kValue = 32, kText = 48, kArray = 64, kObject = 256, kMember = 96;
};

// Refuses duplicate keys, of which a reader would silently take one. With `on_member` the members of the outermost
// object are handed out one by one and not kept; the caller checks whether their names repeat.
class TreeBuilder : JsonCosts {
 public:
  using OnMember = std::function<void(std::string& name, Json& value)>;

  TreeBuilder(std::string_view where, JsonLimits limits, OnMember on_member = {})
      : where_(where), limits_(limits), on_member_(std::move(on_member)) {}

  Json& root() { return root_; }
  std::size_t memory() const { return memory_; }

  // ---- called by the parser ----

  bool null() { return scalar(Json()); }
  bool boolean(bool value) { return scalar(Json(value)); }
  bool number_integer(std::int64_t value) { return scalar(Json(value)); }
  bool number_unsigned(std::uint64_t value) { return scalar(Json(value)); }
  bool number_float(double value, const std::string&) { return scalar(Json(value)); }
  bool string(std::string& value) {
    charge(kText);
    return scalar(Json(std::move(value)));
  }
  bool binary(nlohmann::json::binary_t&) { return false; }  // JSON text has none
  bool start_object(std::size_t) { return open(Json::object()); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_object() {
    if (!(on_member_ && open_.size() == 1)) check_keys(open_.back()->members());
    return close();
  }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    charge(kMember);
    if (is_member()) {
      name_ = std::move(name);
      return true;
    }
    slot_ = &open_.back()->append(std::move(name), Json());
    return true;
  }

  bool parse_error(std::size_t byte, const std::string&, const nlohmann::json::exception& error) {
    if (error.id != kOutOfRange) throw_not_json(where_, byte);
    throw_value_error(where_, "the JSON text holds a number that is too large", "expected numbers a float64 can hold",
                      "check where it comes from");
  }

 private:
  static constexpr int kOutOfRange = 406;  // the library's number for a number beyond float64

  // Returns whether the next value is a member of the outermost object that is handed out.
  bool is_member() const { return on_member_ && open_.size() == 1 && root_.is_object(); }

  void check_keys(const Json::Object& members) const {
    std::vector<std::string_view> keys;
    for (const JsonMember& member : members) keys.push_back(member.key);
    std::sort(keys.begin(), keys.end());
    const auto second = std::adjacent_find(keys.begin(), keys.end());
    if (second == keys.end()) return;
    throw_value_error(where_, "the key " + in_quotes(*second) + " is there twice", "expected each key once",
                      "remove one of the two");
  }

  void charge(std::size_t bytes) {
    if ((memory_ += bytes) <= limits_.memory) return;
    throw_value_error(where_, "the JSON text holds so many values that they take " + std::to_string(memory_) + " bytes",
                      "expected fewer values", "check where it comes from");
  }

  // Returns the place of a value: a member of an object, an element of an array, or the whole text.
  Json* place(Json&& value) {
    charge(kValue);
    Json* target = &root_;
    if (is_member()) {
      target = &member_;
    } else if (!open_.empty()) {
      target = open_.back()->is_object() ? slot_ : &open_.back()->append(Json());
    }
    *target = std::move(value);
    return target;
  }

  bool scalar(Json&& value) {
    place(std::move(value));
    hand_out();
    return true;
  }

  bool open(Json&& value) {
    if (static_cast<int>(open_.size()) == limits_.depth) {
      throw_value_error(where_, "the JSON text is nested too deeply",
                        "expected at most " + std::to_string(limits_.depth) + " levels", limits_.when_deep);
    }
    charge(value.is_object() ? kObject : kArray);
    open_.push_back(place(std::move(value)));
    return true;
  }

  bool close() {
    open_.pop_back();
    hand_out();
    return true;
  }

  void hand_out() {
    if (!is_member()) return;
    on_member_(name_, member_);
    member_ = Json();
    memory_ = 0;
  }

  std::string_view where_;
  JsonLimits limits_;
  OnMember on_member_;
  Json root_;
  Json member_;
  std::string name_;         // name of the member
  Json* slot_ = nullptr;     // place of the value of the last key
  std::vector<Json*> open_;  // objects and arrays, from the outside to the inside
  std::size_t memory_ = 0;   // of the values so far
};

// Reads a whole text as one value.
inline void read_json(ReadBytes read, std::string_view where, TreeBuilder& builder) {
  JsonBytes bytes(std::move(read), where);
  nlohmann::json::sax_parse(JsonByteIterator(bytes), JsonByteIterator(), &builder);
}

inline ReadBytes bytes_of(std::string_view text) {
  return [text](char* into, std::size_t most) mutable {
    const std::size_t count = text.copy(into, most);
    text.remove_prefix(count);
    return count;
  };
}

// ---- writing ----

// Appends a text with its quotes. Throws an exception of the JSON library for one that is not UTF-8.
inline void append_json(std::string& out, std::string_view text) {
  const auto is_plain = [](char c) { return c >= ' ' && c < '\x7f' && c != '"' && c != '\\'; };
  if (std::all_of(text.begin(), text.end(), is_plain)) {
    out.append(1, '"').append(text).append(1, '"');
  } else {
    out += nlohmann::json(text).dump();
  }
}

// As short as it can be for these bits, always with a point or an exponent; null for what JSON has no number for.
inline void append_json(std::string& out, double number) {
  std::array<char, 64> digits{};
  if (!std::isfinite(number)) {
    out += "null";
  } else {
    out.append(digits.data(), nlohmann::detail::to_chars(digits.data(), digits.data() + digits.size(), number));
  }
}

inline void append_json(std::string& out, const Json& value) {
  const char* comma = "";
  if (value.is_array()) {
    out += '[';
    for (const Json& element : value.elements()) {
      out += std::exchange(comma, ",");
      append_json(out, element);
    }
    out += ']';
  } else if (value.is_object()) {
    out += '{';
    for (const auto& [key, member] : value.members()) {
      out += std::exchange(comma, ",");
      append_json(out, std::string_view(key));
      out += ':';
      append_json(out, member);
    }
    out += '}';
  } else if (value.is_text()) {
    append_json(out, std::string_view(value.text()));
  } else if (const auto natural = value.integer<std::uint64_t>()) {
    out += std::to_string(*natural);
  } else if (const auto negative = value.integer<std::int64_t>()) {
    out += std::to_string(*negative);
  } else if (value.is_number()) {
    append_json(out, value.number());
  } else {
    out += value.is_null() ? "null" : value.boolean() ? "true" : "false";
  }
}

// Throws ValueError for a text that is not UTF-8.
inline std::string dump(const Json& value, std::string_view where) {
  try {
    std::string text;
    append_json(text, value);
    return text;
  } catch (const nlohmann::json::exception&) {
    throw_value_error(where, "a name or text is not UTF-8", "expected UTF-8", "encode it as UTF-8");
  }
}

}  // namespace stoop
