// Computes the value of every schedule at t, and looks up the rest in the Spec of each.
#include "schedules.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <string>

#include "fields.hpp"

namespace stoop::inline v0_1 {
namespace schedules {
namespace {

// ---- values, of every schedule that holds no other; t is what it counts ----

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
double value_at(const CosLog4& s, Index t) {
  return s.lr * 0.5 * (1.0 - std::cos(2.0 * std::numbers::pi * std::log2(1.0 + 15.0 * fraction(t, s.steps))));
}
double value_at(const FlatCosine& s, Index t) {
  const double start = s.pct_start * real(s.steps), x = real(std::min(t, s.steps));
  if (x <= start && t < s.steps) return s.lr;
  return half_cosine(s.lr, s.end, start < real(s.steps) ? (x - start) / (real(s.steps) - start) : 1.0);
}
double value_at(const CosineRestarts& s, Index t) {
  Index length = s.T_0;
  if (s.T_mult == 1) t %= length;
  while (t >= length) {
    t -= length;
    length =
        s.T_mult < std::numeric_limits<Index>::max() / length ? length * s.T_mult : std::numeric_limits<Index>::max();
  }
  return half_cosine(s.lr, s.end, real(t) / real(length));
}
double height_at(const Cyclic& s, Index cycle, Index t) {
  switch (s.mode) {
    case CyclicMode::triangular:
      return 1.0;
    case CyclicMode::triangular2:
      return std::pow(0.5, real(cycle));
    case CyclicMode::exp_range:
      return std::pow(s.gamma, real(t));
  }
  throw_value_error(Spec<Cyclic>::kClass, "mode is number " + std::to_string(static_cast<int>(s.mode)),
                    "expected one of its enumerators", "triangular is usual");
}
double value_at(const Cyclic& s, Index t) {
  const double up = real(s.step_size_up), down = real(s.step_size_down.value_or(s.step_size_up));
  const Index length = s.step_size_up + s.step_size_down.value_or(s.step_size_up);
  const double x = real(t % length);
  const double share = x <= up ? x / up : (up + down - x) / down;
  return s.base_lr + (s.max_lr - s.base_lr) * share * height_at(s, t / length, t);
}
double value_at(const Custom& s, Index t) { return s.function(t); }

void check_rate(std::string_view where, const std::string& name, double value) {
  if (is_within(at_least(0), value)) return;
  throw_value_error(where, name + " is " + number_text(value), expected_text<double>(name, at_least(0)), kUsualRates);
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

// Fills in the rates of a schedule within one that counts `per`, from `start` on. One that counts something else counts from
// the start of the training: nobody knows in which epoch an update will be.
void fill_from(Index start, Per per, const LearningRate& inner, Index step, Index epoch, std::span<double> out) {
  inner.fill(per == Per::epoch ? step : step - start, per == Per::epoch ? epoch - start : epoch, out);
}

// Returns how many of the updates from t = step on are before `end`. If `end` is an epoch, that is all or none of them.
std::size_t count_before(Index end, Per per, Index step, Index epoch, std::size_t count) {
  if (per == Per::epoch) return epoch < end ? count : 0;
  return static_cast<std::size_t>(std::clamp<Index>(end - step, 0, static_cast<Index>(count)));
}

void fill(const Warmup& s, Index step, Index epoch, std::span<double> out) {
  const std::size_t rises = count_before(s.steps, s.per, step, epoch, out.size());
  const double first = rises > 0 ? s.schedule(0) : 0.0;
  for (std::size_t i = 0; i < rises; ++i) {
    const Index t = s.per == Per::epoch ? epoch : step + static_cast<Index>(i);
    out[i] = first * real(t + 1) / real(s.steps);
  }
  const Index next = step + static_cast<Index>(rises);
  fill_from(s.steps, s.per, s.schedule, next, epoch, out.subspan(rises));
}

void fill(const Sequential& s, Index step, Index epoch, std::span<double> out) {
  Index start = 0;  // of the schedule
  for (std::size_t i = 0; i < s.schedules.size() && !out.empty(); ++i) {
    const bool is_last = i == s.milestones.size();
    const std::size_t count = is_last ? out.size() : count_before(s.milestones[i], s.per, step, epoch, out.size());
    fill_from(start, s.per, s.schedules[i], step, epoch, out.first(count));
    step += static_cast<Index>(count);
    out = out.subspan(count);
    if (!is_last) start = s.milestones[i];
  }
}

}  // namespace

std::string_view name_of(const Schedule& schedule) { return kNamesOf<Schedule>[schedule.index()]; }

Schedule schedule_from_name(std::string_view name, std::string_view where) {
  constexpr std::span kNames = std::span(kNamesOf<Schedule>).first<std::variant_size_v<Schedule> - 1>();
  static_assert(std::is_same_v<std::variant_alternative_t<kNames.size(), Schedule>, Custom>);  // which is never read
  if (std::find(kNames.begin(), kNames.end(), name) == kNames.end()) {
    throw_unknown_name(where, "schedule", name, kNames);
  }
  return alternative_named<Schedule>(name, where, "schedule");
}

LearningRate with_functions(const LearningRate& rate, std::span<const std::optional<Custom>>& functions) {
  const auto replace = [&]<class S>(S schedule) -> LearningRate {
    if constexpr (kHoldsOthers<S>) {
      for_each_inner(schedule, [&](LearningRate& inner) { inner = with_functions(inner, functions); });
    } else if (!functions.empty()) {
      const std::optional<Custom>& function = functions.front();
      functions = functions.subspan(1);
      if (function) return *function;
    }
    return schedule;
  };
  return std::visit(replace, rate.held().schedule);
}

bool has_functions(const LearningRate& rate) {
  return std::visit(
      []<class S>(const S& schedule) {
        bool found = std::is_same_v<S, Custom>;
        if constexpr (kHoldsOthers<S>) {
          for_each_inner(schedule, [&](const LearningRate& inner) { found = found || has_functions(inner); });
        }
        return found;
      },
      rate.held().schedule);
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

void Spec<schedules::Piecewise>::check(const S& s) {
  if (s.values.size() != s.boundaries.size() + 1) {
    throw_value_error(
        kClass, std::to_string(s.values.size()) + " values and " + std::to_string(s.boundaries.size()) + " boundaries",
        "expected one value more than boundaries", "give the rate before, between and after them");
  }
  if (std::adjacent_find(s.boundaries.begin(), s.boundaries.end(), std::greater_equal<>()) != s.boundaries.end()) {
    throw_value_error(kClass, "the boundaries are not in order", "expected each above the one before", "sort them");
  }
  for (const double value : s.values) schedules::check_rate(kClass, "a value", value);
}

void Spec<schedules::Sequential>::check(const S& s) {
  if (s.schedules.size() != s.milestones.size() + 1) {
    throw_value_error(
        kClass,
        std::to_string(s.schedules.size()) + " schedules and " + std::to_string(s.milestones.size()) + " milestones",
        "expected one schedule more than milestones", "give the t at which each of them but the first begins");
  }
  Index last = 0;
  for (const Index milestone : s.milestones) {
    if (milestone <= last) {
      throw_value_error(kClass, "the milestones are not in order",
                        "expected each above the one before, the first above 0", "sort them");
    }
    last = milestone;
  }
}

void validate(const LearningRate& learning_rate, std::string_view where) {
  using namespace schedules;
  const auto check = [where]<class S>(const S& s) {
    if constexpr (std::is_same_v<S, Constant>) return check_rate(where, "learning_rate", s.lr);
    if constexpr (std::is_same_v<S, Custom>) {
      if (!s.function) {
        throw_value_error(where, "an empty function", "expected one from t to a rate", "give a function");
      }
    }
    check_fields(s);
    for_each_inner(s, [](const LearningRate& inner) { validate(inner, Spec<S>::kClass); });
  };
  std::visit(check, learning_rate.held().schedule);
}

}  // namespace stoop
