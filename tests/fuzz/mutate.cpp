// Changes of texts and files that most readers would still look into: bytes at random seldom get past the first check.
#include "fuzz.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <string>
#include <string_view>

namespace stoop::fuzz {
namespace {

constexpr std::array<std::string_view, 40> kWords = {"0",
                                                     "1",
                                                     "-1",
                                                     "2",
                                                     "3",
                                                     "7",
                                                     "255",
                                                     "65536",
                                                     "2147483647",
                                                     "2147483648",
                                                     "4294967295",
                                                     "4294967296",
                                                     "1099511627776",
                                                     "9223372036854775807",
                                                     "-9223372036854775808",
                                                     "18446744073709551615",
                                                     "18446744073709551616",
                                                     "1e308",
                                                     "1e-320",
                                                     "1e999",
                                                     "-0.0",
                                                     "0.5",
                                                     "0.9999999999",
                                                     "NaN",
                                                     "nan",
                                                     "inf",
                                                     "null",
                                                     "true",
                                                     "false",
                                                     "[]",
                                                     "{}",
                                                     "\"\"",
                                                     "F32",
                                                     "F64",
                                                     "dense",
                                                     "residual",
                                                     "columns",
                                                     "members",
                                                     "type",
                                                     "seed"};

constexpr std::array<double, 8> kNumbers = {0.0, -0.0, 1.0, 1e-320, 3e38, 1.7e308, -1e-45, 0.1};

class Change {
 public:
  Change(std::string text, unsigned seed) : text_(std::move(text)), random_(seed) {}

  std::string make() {
    for (std::size_t changes = 1 + below(3); changes > 0; --changes) change();
    return std::move(text_);
  }

 private:
  struct Range {
    std::size_t begin = 0, end = 0;
    std::size_t size() const { return end - begin; }
  };

  std::size_t below(std::size_t count) { return count == 0 ? 0 : random_() % count; }

  static bool is_in_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' ||
           c == '+' || c == '_';
  }

  // A word at or after a random place; empty at the end of a text without one.
  Range word() {
    std::size_t begin = below(text_.size());
    while (begin < text_.size() && !is_in_word(text_[begin])) ++begin;
    while (begin > 0 && begin < text_.size() && is_in_word(text_[begin - 1])) --begin;
    std::size_t end = begin;
    while (end < text_.size() && is_in_word(text_[end])) ++end;
    return {begin, end};
  }

  // From one comma or bracket to another that follows closely.
  Range part() {
    const auto next = [&](std::size_t from) { return std::min(text_.find_first_of(",[]{}", from), text_.size()); };
    const std::size_t begin = next(below(text_.size()));
    std::size_t end = begin;
    for (std::size_t more = 1 + below(6); more > 0 && end < text_.size(); --more) end = next(end + 1);
    return {begin, end};
  }

  std::string copy(Range range) const { return text_.substr(range.begin, range.size()); }
  void put(Range range, std::string_view with) { text_.replace(range.begin, range.size(), with); }

  void change() {
    switch (below(7)) {
      case 0:
        return put(word(), kWords[below(kWords.size())]);
      case 1:
        return put(word(), copy(word()));
      case 2:
        return put(part(), {});
      case 3:
        return put(part(), copy(part()));
      case 4:
        return repeat(part());
      case 5:
        return nudge(word());
      default:
        return replace_all(copy(word()));
    }
  }

  void repeat(Range range) {
    const std::string piece = copy(range);
    for (std::size_t times = std::size_t{1} << below(5); times > 0; --times) text_.insert(range.begin, piece);
  }

  void nudge(Range range) {
    if (range.size() == 0) return;
    char& c = text_[range.begin + below(range.size())];
    c = static_cast<char>(c + (below(2) == 0 ? 1 : -1));
  }

  // Sizes are said in several places, which must agree.
  void replace_all(const std::string& old) {
    if (old.empty()) return;
    const std::string_view by = kWords[below(8)];
    for (std::size_t at = text_.find(old); at != std::string::npos; at = text_.find(old, at + by.size())) {
      text_.replace(at, old.size(), by);
    }
  }

  std::string text_;
  std::mt19937 random_;
};

constexpr size_t kLengthBytes = 8;

// The size of the header, if the file has all of it.
size_t header_of(const uint8_t* data, size_t size) {
  uint64_t length = 0;
  if (size < kLengthBytes) return 0;
  std::memcpy(&length, data, kLengthBytes);
  return length <= size - kLengthBytes ? static_cast<size_t>(length) : 0;
}

void change_numbers(uint8_t* data, size_t size, std::mt19937& random) {
  if (size < sizeof(double)) return;
  const double number = kNumbers[random() % kNumbers.size()];
  const float narrow = static_cast<float>(number);
  uint8_t* place = data + random() % (size - sizeof number + 1) / sizeof narrow * sizeof narrow;
  if (random() % 2 == 0) std::memcpy(place, &number, sizeof number);
  if (random() % 2 == 0) std::memcpy(place, &narrow, sizeof narrow);
}

}  // namespace

size_t mutate_text(uint8_t* data, size_t size, size_t most, unsigned seed) {
  if (seed % 4 == 0) return LLVMFuzzerMutate(data, size, most);
  std::string text = Change({reinterpret_cast<const char*>(data), size}, seed).make();
  text.resize(std::min(text.size(), most));
  std::memcpy(data, text.data(), text.size());
  return text.size();
}

size_t mutate_tensor_file(uint8_t* data, size_t size, size_t most, unsigned seed) {
  std::mt19937 random(seed);
  const size_t header = header_of(data, size), rest = size - header;
  if (header == 0 || random() % 8 == 0) return LLVMFuzzerMutate(data, size, most);
  if (random() % 8 == 0) {
    change_numbers(data + kLengthBytes + header, size - kLengthBytes - header, random);
    return size;
  }
  std::vector<uint8_t> text(most - rest);
  std::memcpy(text.data(), data + kLengthBytes, header);
  const uint64_t length = mutate_text(text.data(), header, text.size(), static_cast<unsigned>(random()));
  std::memmove(data + kLengthBytes + length, data + kLengthBytes + header, rest - kLengthBytes);
  std::memcpy(data + kLengthBytes, text.data(), length);
  std::memcpy(data, &length, kLengthBytes);
  return static_cast<size_t>(rest + length);
}

}  // namespace stoop::fuzz
