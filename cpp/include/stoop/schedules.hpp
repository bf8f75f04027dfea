// Learning rates as functions of t, the number of updates made (0, 1, 2, ...) or, with Per::epoch, of epochs.
// They live in a namespace of their own because Linear, Step or Power alone would say something else.
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

namespace schedules {

// What t counts.
enum class Per { step, epoch };

template <class S>
concept HasPer = requires(S schedule) {
  { schedule.per } -> std::same_as<Per&>;
};

}  // namespace schedules

// The learning rate of an optimizer: a number or any schedule, `.learning_rate = 1e-3` or
// `.learning_rate = schedules::Cosine{.lr = 1e-3, .steps = 10'000}`. Copies share the schedule.
class LearningRate {
 public:
  STOOP_API LearningRate(double lr = 0.01);
  template <schedules::HasPer S>
  LearningRate(S schedule);

  // The rate at t, whether the schedule counts steps or epochs.
  double operator()(Index t) const { return at(t, t); }
  // The rate at update `step` (from 0) in epoch `epoch` (from 0).
  STOOP_API double at(Index step, Index epoch) const;
  // The rates of out.size() updates from `step` on, all of them in `epoch`; a function of the epoch is asked once.
  STOOP_API void fill(Index step, Index epoch, std::span<double> out) const;
  // The first n rates, t = 0 .. n-1.
  STOOP_API std::vector<double> values(Index n) const;

  struct Held;
  const Held& held() const { return *held_; }

 private:
  std::shared_ptr<const Held> held_;
};

namespace schedules {

struct Constant {
  double lr = 0.01;
  Per per = Per::step;
};

// lr * factor^floor(t / every)
struct Step {
  double lr = 0.01;
  double factor = 0.5;
  Index every = 1;
  Per per = Per::step;
};

// values[i] from boundaries[i-1] on and before boundaries[i]; one value more than boundaries.
struct Piecewise {
  std::vector<Index> boundaries;
  std::vector<double> values;
  Per per = Per::step;
};

// lr * decay^(t / every)
struct Exponential {
  double lr = 0.01;
  double decay = 1.0;
  Index every = 1;
  Per per = Per::step;
};

// lr / (1 + decay * t)
struct InverseTime {
  double lr = 0.01;
  double decay = 0.0;
  Per per = Per::step;
};

// lr / (t + 1)^exponent
struct Power {
  double lr = 0.01;
  double exponent = 0.5;
  Per per = Per::step;
};

// lr / sqrt(t + 1)
struct InverseSqrt {
  double lr = 0.01;
  Per per = Per::step;
};

// A straight line from lr to end at t = steps, and end from there on.
struct Linear {
  double lr = 0.01;
  double end = 0.0;
  Index steps = 1;
  Per per = Per::step;
};

// end + (lr - end) * (1 - t/steps)^power, and end from t = steps on.
struct Polynomial {
  double lr = 0.01;
  double end = 0.0;
  Index steps = 1;
  double power = 1.0;
  Per per = Per::step;
};

// end + (lr - end) * (1 + cos(pi * t/steps)) / 2, and end from t = steps on (Loshchilov & Hutter 2017, eq. 5).
struct Cosine {
  double lr = 0.01;
  Index steps = 1;
  double end = 0.0;
  Per per = Per::step;
};

// A straight line from first/steps at t = 0 to first = schedule(0) at t = steps - 1, then the schedule from its start:
// schedule(t - steps). One that counts something else counts from the start of the training.
struct Warmup {
  LearningRate schedule = 0.01;
  Index steps = 1;
  Per per = Per::step;
};

// Smith & Topin 2018 in two phases: up from max_lr/div_factor to max_lr at t = pct_start*steps - 1, down to
// max_lr/div_factor/final_div_factor at t = steps - 1, each half a cosine; the last rate from there on.
struct OneCycle {
  double max_lr = 0.01;
  Index steps = 1;
  double pct_start = 0.3;
  double div_factor = 25.0;
  double final_div_factor = 1e4;
  Per per = Per::step;
};

// lr * (1 - cos(2*pi * log2(1 + 15*t/steps))) / 2: four cycles, each about twice as long as the one before, and 0 from
// t = steps on (Holzmueller, Grinsztajn & Steinwart 2024, RealMLP).
struct CosLog4 {
  double lr = 0.01;
  Index steps = 1;
  Per per = Per::step;
};

// lr until t = pct_start*steps, then half a cosine to end at t = steps, and end from there on (fastai's fit_flat_cos).
struct FlatCosine {
  double lr = 0.01;
  Index steps = 1;
  double pct_start = 0.75;
  double end = 0.0;
  Per per = Per::step;
};

// schedules[0] until milestones[0], then schedules[1] from its start, schedule(t - milestones[0]), and so on; one
// schedule more than milestones. One that counts something else counts from the start of the training.
struct Sequential {
  std::vector<LearningRate> schedules;
  std::vector<Index> milestones;
  Per per = Per::step;
};

// Cosine again and again: end + (lr - end) * (1 + cos(pi * s/T)) / 2, s counted from the last restart; T = T_0 at first,
// and T_mult times as long after each restart (Loshchilov & Hutter 2017, eq. 5).
struct CosineRestarts {
  double lr = 0.01;
  Index T_0 = 1;
  Index T_mult = 1;
  double end = 0.0;
  Per per = Per::step;
};

// How the height of a cycle changes: not at all, halved after each cycle, or times gamma^t.
enum class CyclicMode { triangular, triangular2, exp_range };

// A straight line from base_lr to max_lr in step_size_up, another back in step_size_down, and so on (Smith 2017, section
// 3); the height above base_lr changes with `mode`.
struct Cyclic {
  double base_lr = 0.001;
  double max_lr = 0.01;
  Index step_size_up = 2000;
  std::optional<Index> step_size_down;  // without one, as step_size_up
  CyclicMode mode = CyclicMode::triangular;
  double gamma = 1.0;
  Per per = Per::step;
};

// Any function of t. It is called once for each update or, with Per::epoch, once for each epoch of a fit. It cannot be
// written to a file.
struct Custom {
  std::function<double(Index)> function;
  Per per = Per::step;
};

using Schedule =
    std::variant<Constant, Step, Piecewise, Exponential, InverseTime, Power, InverseSqrt, Linear, Polynomial, Cosine,
                 Warmup, OneCycle, CosLog4, FlatCosine, Sequential, CosineRestarts, Cyclic, Custom>;

STOOP_API std::string_view name_of(const Schedule& schedule);  // "constant", "step", ...
// Throws ValueError with the nearest valid name. "custom" is no valid name.
STOOP_API Schedule schedule_from_name(std::string_view name, std::string_view where = "learning_rate");

}  // namespace schedules

struct LearningRate::Held {
  schedules::Schedule schedule;
};

template <schedules::HasPer S>
LearningRate::LearningRate(S schedule) : held_(std::make_shared<const Held>(Held{std::move(schedule)})) {}

// Throws ValueError for a rate, factor or count outside its range; `where` opens the message about a plain number.
STOOP_API void validate(const LearningRate& learning_rate, std::string_view where = "learning_rate");

}  // namespace stoop
