// Formats and throws every message of the library. Names that come from files are cut and cleaned before they are
// shown, so that a hostile file cannot flood a log or a terminal.
#include <stoop/error.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <utility>
#include <vector>

namespace stoop {
namespace {

constexpr std::size_t kMaxQuotedBytes = 80;

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

// Insertions, deletions and substitutions that turn `a` into `b` (Levenshtein 1966), one row at a time.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

// The valid name with the smallest distance; empty when even that one has little in common with `name`.
std::string_view nearest_name(std::string_view name, std::span<const std::string_view> valid) {
  const std::string given = lower(name.substr(0, kMaxQuotedBytes));
  std::string_view nearest;
  std::size_t smallest = 0;
  for (const std::string_view candidate : valid) {
    // A name cut short ("softmax") is nearer than one mistyped; "sdg" is near "sgd".
    const bool begins = given.size() >= 2 && lower(candidate).starts_with(given);
    const std::size_t distance = begins ? 0 : edit_distance(given, lower(candidate));
    const bool similar = 2 * distance <= std::max(given.size(), candidate.size()) + 1;
    if (similar && (nearest.empty() || distance < smallest)) {
      nearest = candidate;
      smallest = distance;
    }
  }
  return nearest;
}

std::string join(std::span<const std::string_view> names) {
  std::string result;
  for (const std::string_view name : names) {
    if (!result.empty()) result += ", ";
    result += name;
  }
  return result;
}

}  // namespace

FileError::FileError(int error_number, std::string file, const std::string& what_failed)
    : std::system_error(error_number, std::generic_category(), what_failed + " '" + file + "'"),
      path(std::move(file)) {}

NonFiniteLossError::NonFiniteLossError(Index at_step, Index at_epoch, std::string likely_cause, std::string_view where,
                                       std::string_view what)
    : std::runtime_error(format_error(
          where,
          std::string(what) + " at step " + std::to_string(at_step) + " (epoch " + std::to_string(at_epoch) + ")",
          "expected finite numbers, the last good parameters are kept", "likely cause: " + likely_cause)),
      step(at_step),
      epoch(at_epoch),
      cause(std::move(likely_cause)) {}

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
  const std::string_view nearest = nearest_name(name, valid);
  const std::string given = "unknown " + std::string(what) + " " + in_quotes(name);
  const std::string hint = nearest.empty() ? "use one of these names" : "did you mean " + in_quotes(nearest) + "?";
  throw_value_error(where, given, "expected one of " + join(valid), hint);
}

}  // namespace stoop
