// Formats and throws every message of the library. Names that come from files are cut and cleaned before they are
// shown, so that a hostile file cannot flood a log or a terminal.
#include <stoop/error.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <utility>

#include "suggestions.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr std::size_t kMaxQuotedBytes = 80;

std::string join(std::span<const std::string_view> names) {
  std::string result;
  for (const std::string_view name : names) {
    if (!result.empty()) result += ", ";
    result += name;
  }
  return result;
}

}  // namespace

FileError::FileError(std::error_code code, std::string file, const std::string& what_failed)
    : std::system_error(code, what_failed + " '" + file + "'"), path(std::move(file)) {}

FileError::FileError(int error_number, std::string file, const std::string& what_failed)
    : FileError(std::error_code(error_number, std::generic_category()), std::move(file), what_failed) {}

NonFiniteLossError::NonFiniteLossError(Index at_step, Index at_epoch, std::string likely_cause, std::string_view where,
                                       std::string_view what, std::string first_layer)
    : std::runtime_error(format_error(
          where,
          std::string(what) + " at step " + std::to_string(at_step) + " (epoch " + std::to_string(at_epoch) + ")" +
              (first_layer.empty() ? std::string() : ", first in " + first_layer),
          "expected finite numbers, the last good parameters are kept", "likely cause: " + likely_cause)),
      step(at_step),
      epoch(at_epoch),
      cause(std::move(likely_cause)),
      layer(std::move(first_layer)) {}

std::string in_quotes(std::string_view text) {
  std::size_t length = std::min(text.size(), kMaxQuotedBytes);
  if (length < text.size()) {
    // Never cut inside a UTF-8 sequence: Python could not decode the message.
    while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;
  }
  std::string result(1, '"');
  result += text.substr(0, length);
  result += length < text.size() ? "...\"" : "\"";
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  std::replace_if(result.begin(), result.end(), is_control, '?');
  return result;
}

std::string number_text(double value) {
  std::array<char, 32> text;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  static_cast<void>(error);  // the shortest form of a double has at most 24 characters
  return std::string(text.data(), end);
}

std::string format_error(std::string_view where, std::string_view given, std::string_view expected,
                         std::string_view hint) {
  std::string message(1, '[');
  message += where;
  std::string_view separator = "] ";
  for (const std::string_view part : {given, expected, hint}) {
    if (part.empty()) continue;
    message += separator;
    message += part;
    separator = "; ";
  }
  if (message.back() != '.' && message.back() != '?') message += '.';
  return message;
}

void throw_value_error(std::string_view where, std::string_view given, std::string_view expected,
                       std::string_view hint) {
  throw ValueError(format_error(where, given, expected, hint));
}

void throw_type_error(std::string_view where, std::string_view given, std::string_view expected,
                      std::string_view hint) {
  throw TypeError(format_error(where, given, expected, hint));
}

void throw_interrupted(std::string_view where) {
  throw Interrupted(format_error(where, "keep_going returned false", "", ""));
}

void throw_out_of_memory(Index elements, Index element_size) {
  throw OutOfMemory(format_error("memory",
                                 std::to_string(elements) + " elements of " + std::to_string(element_size) + " bytes",
                                 "expected what this machine can give", "use smaller layers or a smaller batch"));
}

void throw_checkpoint_error(std::string_view where, std::string_view given, std::string_view expected,
                            std::string_view hint) {
  throw CheckpointError(format_error(where, given, expected, hint));
}

void throw_unknown_name(std::string_view where, std::string_view what, std::string_view name,
                        std::span<const std::string_view> valid) {
  const std::string given = "unknown " + std::string(what) + " " + in_quotes(name);
  throw_value_error(where, given, "expected one of " + join(valid), suggest(what, name, valid));
}

}  // namespace stoop
