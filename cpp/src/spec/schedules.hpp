// Everything that is known of each schedule except its formula, which is in schedules.cpp.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include <stoop/schedules.hpp>

#include "spec.hpp"

namespace stoop::inline v0_1 {

template <>
struct Choices<schedules::Per> {
  static constexpr const char* kNames[] = {"step", "epoch"};
  static constexpr const char* kWhat = "per";
};

namespace schedules {

inline constexpr const char* kUsualRates = "0.01 is usual for sgd and 0.001 for adam";

// A learning rate or a bound of it.
template <class S>
constexpr Field<S, double> rate(const char* key, double S::* member, Key presence = Key::required) {
  return {key, member, at_least(0), kUsualRates, Holds::anything, presence};
}

// A positive factor.
template <class S>
constexpr Field<S, double> positive(const char* key, double S::* member, Key presence = Key::required) {
  return {key, member, above(0), "give another", Holds::anything, presence};
}

// A number that says how fast a rate falls.
template <class S>
constexpr Field<S, double> fall(const char* key, double S::* member) {
  return {key, member, at_least(0), "0 keeps the rate as it is", Holds::anything, Key::required};
}

template <class S>
constexpr Field<S, Index> count(const char* key, Index S::* member, Key presence = Key::required) {
  return {key, member, at_least(1), "give a number of updates, or of epochs", Holds::anything, presence};
}

// The last field of every schedule says what t counts.
template <class S, class... Fields>
constexpr auto with_per(const Fields&... fields) {
  return std::tuple{fields..., choice("per", &S::per, "it says what t counts", Key::optional)};
}

// Says whether schedules are members of this one.
template <class S>
inline constexpr bool kHoldsOthers = [] {
  bool holds = false;
  for_each_field<S>([&](const auto& field) {
    using Member = std::remove_cvref_t<decltype(std::declval<S>().*field.member)>;
    holds = holds || std::is_same_v<Member, LearningRate> || std::is_same_v<Member, std::vector<LearningRate>>;
  });
  return holds;
}();

// Calls visit(rate) for each schedule that is a member of another.
template <class S, class Visit>
void for_each_inner(S& schedule, const Visit& visit) {
  for_each_field<std::remove_const_t<S>>([&](const auto& field) {
    auto& member = schedule.*field.member;
    using Member = std::remove_cvref_t<decltype(member)>;
    if constexpr (std::is_same_v<Member, LearningRate>) visit(member);
    if constexpr (std::is_same_v<Member, std::vector<LearningRate>>) {
      for (auto& inner : member) visit(inner);
    }
  });
}

// Returns a copy in which the first schedule that holds no other is replaced by the first of `functions` (if that is set),
// the second by the second, and so on. Takes as many from `functions` as there are such schedules.
LearningRate with_functions(const LearningRate& rate, std::span<const std::optional<Custom>>& functions);
// Returns whether a function is in it, which no file can hold.
bool has_functions(const LearningRate& rate);

}  // namespace schedules

template <>
struct Spec<schedules::Constant> {
  using S = schedules::Constant;
  static constexpr const char* kName = "constant";
  static constexpr const char* kClass = "Constant";
  static constexpr auto kFields = schedules::with_per<S>(schedules::rate("lr", &S::lr));
};

template <>
struct Spec<schedules::Step> {
  using S = schedules::Step;
  static constexpr const char* kName = "step";
  static constexpr const char* kClass = "Step";
  static constexpr auto kFields =
      schedules::with_per<S>(schedules::rate("lr", &S::lr), schedules::positive("factor", &S::factor, Key::optional),
                             schedules::count("every", &S::every));
};

template <>
struct Spec<schedules::Piecewise> {
  using S = schedules::Piecewise;
  static constexpr const char* kName = "piecewise";
  static constexpr const char* kClass = "Piecewise";
  static constexpr auto kFields = schedules::with_per<S>(plain("boundaries", &S::boundaries, Key::required),
                                                         plain("values", &S::values, Key::required));
  static void check(const S& s);
};

template <>
struct Spec<schedules::Exponential> {
  using S = schedules::Exponential;
  static constexpr const char* kName = "exponential";
  static constexpr const char* kClass = "Exponential";
  static constexpr auto kFields =
      schedules::with_per<S>(schedules::rate("lr", &S::lr), schedules::positive("decay", &S::decay),
                             schedules::count("every", &S::every, Key::optional));
};

template <>
struct Spec<schedules::InverseTime> {
  using S = schedules::InverseTime;
  static constexpr const char* kName = "inverse_time";
  static constexpr const char* kClass = "InverseTime";
  static constexpr auto kFields =
      schedules::with_per<S>(schedules::rate("lr", &S::lr), schedules::fall("decay", &S::decay));
};

template <>
struct Spec<schedules::Power> {
  using S = schedules::Power;
  static constexpr const char* kName = "power";
  static constexpr const char* kClass = "Power";
  static constexpr auto kFields =
      schedules::with_per<S>(schedules::rate("lr", &S::lr), schedules::fall("exponent", &S::exponent));
};

template <>
struct Spec<schedules::InverseSqrt> {
  using S = schedules::InverseSqrt;
  static constexpr const char* kName = "inverse_sqrt";
  static constexpr const char* kClass = "InverseSqrt";
  static constexpr auto kFields = schedules::with_per<S>(schedules::rate("lr", &S::lr));
};

template <>
struct Spec<schedules::Linear> {
  using S = schedules::Linear;
  static constexpr const char* kName = "linear";
  static constexpr const char* kClass = "Linear";
  static constexpr auto kFields = schedules::with_per<S>(schedules::rate("lr", &S::lr), schedules::rate("end", &S::end),
                                                         schedules::count("steps", &S::steps));
};

template <>
struct Spec<schedules::Polynomial> {
  using S = schedules::Polynomial;
  static constexpr const char* kName = "polynomial";
  static constexpr const char* kClass = "Polynomial";
  static constexpr auto kFields = schedules::with_per<S>(schedules::rate("lr", &S::lr), schedules::rate("end", &S::end),
                                                         schedules::count("steps", &S::steps),
                                                         schedules::positive("power", &S::power, Key::optional));
};

template <>
struct Spec<schedules::Cosine> {
  using S = schedules::Cosine;
  static constexpr const char* kName = "cosine";
  static constexpr const char* kClass = "Cosine";
  static constexpr auto kFields =
      schedules::with_per<S>(schedules::rate("lr", &S::lr), schedules::rate("end", &S::end, Key::optional),
                             schedules::count("steps", &S::steps));
};

template <>
struct Spec<schedules::Warmup> {
  using S = schedules::Warmup;
  static constexpr const char* kName = "warmup";
  static constexpr const char* kClass = "Warmup";
  static constexpr auto kFields =
      schedules::with_per<S>(plain("schedule", &S::schedule, Key::required), schedules::count("steps", &S::steps));
};

template <>
struct Spec<schedules::OneCycle> {
  using S = schedules::OneCycle;
  static constexpr const char* kName = "one_cycle";
  static constexpr const char* kClass = "OneCycle";
  static constexpr auto kFields =
      schedules::with_per<S>(schedules::rate("max_lr", &S::max_lr), schedules::count("steps", &S::steps),
                             Field{"pct_start", &S::pct_start, between(0, 1),
                                   "it is the share of the steps in which the rate rises, 0.3 is usual"},
                             schedules::positive("div_factor", &S::div_factor, Key::optional),
                             schedules::positive("final_div_factor", &S::final_div_factor, Key::optional));
};

template <>
struct Spec<schedules::CosLog4> {
  using S = schedules::CosLog4;
  static constexpr const char* kName = "cos_log4";
  static constexpr const char* kClass = "CosLog4";
  static constexpr auto kFields =
      schedules::with_per<S>(schedules::rate("lr", &S::lr), schedules::count("steps", &S::steps));
};

template <>
struct Spec<schedules::FlatCosine> {
  using S = schedules::FlatCosine;
  static constexpr const char* kName = "flat_cosine";
  static constexpr const char* kClass = "FlatCosine";
  static constexpr auto kFields = schedules::with_per<S>(
      schedules::rate("lr", &S::lr), schedules::count("steps", &S::steps),
      Field{"pct_start", &S::pct_start, between(0, 1), "it is the share of the steps before the rate falls"},
      schedules::rate("end", &S::end, Key::optional));
};

template <>
struct Spec<schedules::Sequential> {
  using S = schedules::Sequential;
  static constexpr const char* kName = "sequential";
  static constexpr const char* kClass = "Sequential";
  static constexpr auto kFields = schedules::with_per<S>(plain("schedules", &S::schedules, Key::required),
                                                         plain("milestones", &S::milestones, Key::required));
  static void check(const S& s);
};

template <>
struct Spec<schedules::CosineRestarts> {
  using S = schedules::CosineRestarts;
  static constexpr const char* kName = "cosine_restarts";
  static constexpr const char* kClass = "CosineRestarts";
  static constexpr auto kFields = schedules::with_per<S>(
      schedules::rate("lr", &S::lr), schedules::count("T_0", &S::T_0),
      schedules::count("T_mult", &S::T_mult, Key::optional), schedules::rate("end", &S::end, Key::optional));
};

template <>
struct Choices<schedules::CyclicMode> {
  static constexpr const char* kNames[] = {"triangular", "triangular2", "exp_range"};
  static constexpr const char* kWhat = "mode";
};

template <>
struct Spec<schedules::Cyclic> {
  using S = schedules::Cyclic;
  static constexpr const char* kName = "cyclic";
  static constexpr const char* kClass = "Cyclic";
  static constexpr auto kFields = schedules::with_per<S>(
      schedules::rate("base_lr", &S::base_lr), schedules::rate("max_lr", &S::max_lr),
      schedules::count("step_size_up", &S::step_size_up, Key::optional),
      Field{"step_size_down", &S::step_size_down, at_least(1), "leave it out to take step_size_up"},
      choice("mode", &S::mode, "triangular is usual", Key::optional),
      schedules::positive("gamma", &S::gamma, Key::optional));
};

// No file can hold it.
template <>
struct Spec<schedules::Custom> {
  using S = schedules::Custom;
  static constexpr const char* kName = "custom";
  static constexpr const char* kClass = "Custom";
  static constexpr auto kFields = schedules::with_per<S>();
};

}  // namespace stoop
