// The value of every schedule at t, their names and the ranges of their numbers.

#include <stoop/schedules.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numbers>
#include <string>

#include <stoop/error.hpp>

namespace stoop {
namespace schedules {
namespace {

using namespace std::string_view_literals;

// In the order of Schedule's alternatives, without Custom.
constexpr std::array kNames = {"constant"sv,     "step"sv,   "piecewise"sv,    "exponential"sv,
                               "inverse_time"sv, "power"sv,  "inverse_sqrt"sv, "linear"sv,
                               "polynomial"sv,   "cosine"sv, "warmup"sv,       "one_cycle"sv};
static_assert(kNames.size() + 1 == std::variant_size_v<Schedule>);

// ---- values; t is what the schedule counts ----

double real(Index n) { return static_cast<double>(n); }
double fraction(Index t, Index steps) { return real(std::min(t, steps)) / real(steps); }

// Half a cosine from `start` to `end` as x goes from 0 to 1.
double half_cosine(double start, double end, double x) {
  return end + 0.5 * (start - end) * (1.0 + std::cos(std::numbers::pi * x));
}

double value_at(const Constant& s, Index) { return s.lr; }
double value_at(const Step& s, Index t) { return s.lr * std::pow(s.factor, real(t / s.every)); }
double value_at(const Piecewise& s, Index t) {
  const auto next = std::upper_bound(s.boundaries.begin(), s.boundaries.end(), t);
  return s.values[static_cast<std::size_t>(next - s.boundaries.begin())];
}
double value_at(const Exponential& s, Index t) { return s.lr * std::pow(s.decay, real(t) / real(s.every)); }
double value_at(const InverseTime& s, Index t) { return s.lr / (1.0 + s.decay * real(t)); }
double value_at(const Power& s, Index t) { return s.lr / std::pow(real(t) + 1.0, s.exponent); }
double value_at(const InverseSqrt& s, Index t) { return s.lr / std::sqrt(real(t) + 1.0); }
double value_at(const Linear& s, Index t) { return s.lr + (s.end - s.lr) * fraction(t, s.steps); }
double value_at(const Polynomial& s, Index t) {
  return s.end + (s.lr - s.end) * std::pow(1.0 - fraction(t, s.steps), s.power);
}
double value_at(const Cosine& s, Index t) { return half_cosine(s.lr, s.end, fraction(t, s.steps)); }
double value_at(const OneCycle& s, Index t) {
  const double first = s.max_lr / s.div_factor, last = first / s.final_div_factor;
  const double top = s.pct_start * real(s.steps) - 1.0, bottom = real(s.steps) - 1.0;
  const double x = real(t);
  if (x >= bottom) return last;
  if (top > 0.0 && x <= top) return half_cosine(first, s.max_lr, x / top);
  return half_cosine(s.max_lr, last, (x - top) / (bottom - top));
}
double value_at(const Custom& s, Index t) { return s.function(t); }

// ---- ranges ----

std::string text_of(double value) {
  std::array<char, 32> text;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  static_cast<void>(error);  // the shortest form of a double has at most 24 characters
  return {text.data(), end};
}

void check(bool valid, std::string_view where, std::string_view name, double value, std::string_view expected,
           std::string_view hint) {
  if (!valid) throw_value_error(where, std::string(name) + " is " + text_of(value), expected, hint);
}

void check_rate(std::string_view where, std::string_view name, double value) {
  check(std::isfinite(value) && value >= 0.0, where, name, value, "expected a finite number, at least 0",
        "0.01 is usual for sgd and 0.001 for adam");
}
void check_positive(std::string_view where, std::string_view name, double value) {
  check(std::isfinite(value) && value > 0.0, where, name, value, "expected a finite number above 0", "give another");
}
void check_not_negative(std::string_view where, std::string_view name, double value) {
  check(std::isfinite(value) && value >= 0.0, where, name, value, "expected a finite number, at least 0",
        "0 keeps the rate as it is");
}
void check_count(std::string_view where, std::string_view name, Index value) {
  check(value >= 1, where, name, real(value), "expected at least 1", "give a number of updates, or of epochs");
}

void check_ranges(const Constant& s, std::string_view where) { check_rate(where, "learning_rate", s.lr); }
void check_ranges(const Step& s, std::string_view) {
  check_rate("Step", "lr", s.lr);
  check_positive("Step", "factor", s.factor);
  check_count("Step", "every", s.every);
}
void check_ranges(const Piecewise& s, std::string_view) {
  if (s.values.size() != s.boundaries.size() + 1) {
    throw_value_error(
        "Piecewise",
        std::to_string(s.values.size()) + " values and " + std::to_string(s.boundaries.size()) + " boundaries",
        "expected one value more than boundaries", "give the rate before, between and after them");
  }
  if (std::adjacent_find(s.boundaries.begin(), s.boundaries.end(), std::greater_equal<>()) != s.boundaries.end()) {
    throw_value_error("Piecewise", "the boundaries are not in order", "expected each above the one before",
                      "sort them");
  }
  for (const double value : s.values) check_rate("Piecewise", "a value", value);
}
void check_ranges(const Exponential& s, std::string_view) {
  check_rate("Exponential", "lr", s.lr);
  check_positive("Exponential", "decay", s.decay);
  check_count("Exponential", "every", s.every);
}
void check_ranges(const InverseTime& s, std::string_view) {
  check_rate("InverseTime", "lr", s.lr);
  check_not_negative("InverseTime", "decay", s.decay);
}
void check_ranges(const Power& s, std::string_view) {
  check_rate("Power", "lr", s.lr);
  check_not_negative("Power", "exponent", s.exponent);
}
void check_ranges(const InverseSqrt& s, std::string_view) { check_rate("InverseSqrt", "lr", s.lr); }
void check_ranges(const Linear& s, std::string_view) {
  check_rate("Linear", "lr", s.lr);
  check_rate("Linear", "end", s.end);
  check_count("Linear", "steps", s.steps);
}
void check_ranges(const Polynomial& s, std::string_view) {
  check_rate("Polynomial", "lr", s.lr);
  check_rate("Polynomial", "end", s.end);
  check_count("Polynomial", "steps", s.steps);
  check_positive("Polynomial", "power", s.power);
}
void check_ranges(const Cosine& s, std::string_view) {
  check_rate("Cosine", "lr", s.lr);
  check_rate("Cosine", "end", s.end);
  check_count("Cosine", "steps", s.steps);
}
void check_ranges(const Warmup& s, std::string_view) {
  check_count("Warmup", "steps", s.steps);
  validate(s.schedule, "Warmup");
}
void check_ranges(const OneCycle& s, std::string_view) {
  check_rate("OneCycle", "max_lr", s.max_lr);
  check_count("OneCycle", "steps", s.steps);
  check(s.pct_start >= 0.0 && s.pct_start <= 1.0, "OneCycle", "pct_start", s.pct_start, "expected 0 to 1",
        "it is the share of the steps in which the rate rises, 0.3 is usual");
  check_positive("OneCycle", "div_factor", s.div_factor);
  check_positive("OneCycle", "final_div_factor", s.final_div_factor);
}
void check_ranges(const Custom& s, std::string_view where) {
  if (!s.function) throw_value_error(where, "an empty function", "expected one from t to a rate", "give a function");
}

// ---- the rates of updates in a row ----

template <class S>
void fill(const S& s, Index step, Index epoch, std::span<double> out) {
  if (s.per == Per::epoch) {
    std::fill(out.begin(), out.end(), value_at(s, epoch));
  } else {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = value_at(s, step + static_cast<Index>(i));
  }
}

double rising(const Warmup& s, double first, Index t) { return first * real(t + 1) / real(s.steps); }

void fill(const Warmup& s, Index step, Index epoch, std::span<double> out) {
  const bool by_epoch = s.per == Per::epoch;
  if (by_epoch && epoch >= s.steps) return s.schedule.fill(step, epoch - s.steps, out);
  const Index count = static_cast<Index>(out.size());
  const Index rises = by_epoch ? count : std::clamp<Index>(s.steps - step, 0, count);
  const double first = rises > 0 ? s.schedule(0) : 0.0;
  for (Index i = 0; i < rises; ++i) {
    out[static_cast<std::size_t>(i)] = rising(s, first, by_epoch ? epoch : step + i);
  }
  s.schedule.fill(step + rises - s.steps, epoch, out.subspan(static_cast<std::size_t>(rises)));
}

}  // namespace

std::string_view name_of(const Schedule& schedule) {
  return schedule.index() < kNames.size() ? kNames[schedule.index()] : "custom"sv;
}

Schedule schedule_from_name(std::string_view name, std::string_view where) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) throw_unknown_name(where, "schedule", name, kNames);
  const std::size_t wanted = static_cast<std::size_t>(found - kNames.begin());
  Schedule result;
  [&]<std::size_t... i>(std::index_sequence<i...>) {
    ((i == wanted ? static_cast<void>(result.template emplace<i>()) : void()), ...);
  }(std::make_index_sequence<kNames.size()>());
  return result;
}

}  // namespace schedules

LearningRate::LearningRate(double lr) : LearningRate(schedules::Constant{.lr = lr}) {}

double LearningRate::at(Index step, Index epoch) const {
  double rate = 0.0;
  fill(step, epoch, {&rate, 1});
  return rate;
}

void LearningRate::fill(Index step, Index epoch, std::span<double> out) const {
  if (out.empty()) return;
  std::visit([&](const auto& schedule) { schedules::fill(schedule, step, epoch, out); }, held_->schedule);
}

std::vector<double> LearningRate::values(Index n) const {
  std::vector<double> rates(static_cast<std::size_t>(std::max<Index>(n, 0)));
  for (std::size_t t = 0; t < rates.size(); ++t) rates[t] = (*this)(static_cast<Index>(t));
  return rates;
}

void validate(const LearningRate& learning_rate, std::string_view where) {
  std::visit([where](const auto& schedule) { schedules::check_ranges(schedule, where); },
             learning_rate.held().schedule);
}

}  // namespace stoop
