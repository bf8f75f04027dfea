// Training: a team walks the plan for a whole run of steps. Each share of the team has its part of every step's blocks, and
// all shares meet where a step says so. The plan decides how a step is cut; the team only deals the blocks out.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "batch_loss.hpp"
#include "batches.hpp"
#include "caller_rows.hpp"
#include "faults.hpp"
#include "parameter_block.hpp"
#include "rates.hpp"
#include "squared_gradient.hpp"
#include "team_executor.hpp"
#include "../base/finite.hpp"
#include "../team/halt.hpp"
#include "../team/team.hpp"

namespace stoop::inline v0_1 {

// The largest change of parameters in one update. With larger ones they would soon overflow.
template <class T>
inline constexpr double kMostChange = 1e-8 * static_cast<double>(std::numeric_limits<T>::max());

// How far a share of the team has come.
template <class T>
struct alignas(128) TeamExecutor<T>::Place {
  StepContext<T> context;
  Batch batch;
  UpdateArgs<T> update{};
  AnyRates rates;  // which `update` points to
  bool in_batch = false;
  bool may_halt = false;  // the run may end here
  bool met = false;       // the meeting before the step is over
  std::size_t step = 0;   // position in the plan
};

// One segment of a run, which its threads share. Each share of the team walks the whole plan with its part of every step's
// blocks. It stops where all must meet, and the thread that claims it goes on from there in the next phase.
template <class T>
class TeamRun final : public Work {
 public:
  TeamRun(TeamExecutor<T>& executor, const TrainingRun<T>& run, const Segment& segment, const Cursor& from, int shares)
      : cursor(from),
        executor_(executor),
        plan_(executor.plan()),
        ops_(executor.ops_),
        run_(run),
        segment_(segment),
        shares_(shares),
        deal_(executor.deal_),
        sums_(executor.sums_of(run)),
        blocks_{plan_, ops_, run_, sums_},
        rows_(ops_, run_),
        loss_(plan_, ops_, run_, executor.loss_memory_),
        halt_(run.stops_within ? segment.poller : nullptr, mode_) {
    for (int share = 0; share < shares; ++share) place_of(share) = beginning(share);
  }

  bool run(int share, Index phase, int) noexcept override {
    Place& place = place_of(share);
    if (halt_.ends_before(phase)) return false;
    if (!place.in_batch) {
      if (share == 0 && place.batch.is_last() && place.batch.rows > 0) add_sums(place.batch);
      if (stop_ || !begin_batch(place, share)) return false;
    }
    switch (walk(place, share)) {
      case Walked::to_meeting:
        if (place.may_halt) halt_.before_meeting(share, phase);
        return true;
      case Walked::to_stop:
        return false;
      case Walked::to_end:
        break;
    }
    place.in_batch = false;
    if (share == 0) finish_batch(place.batch);
    return true;
  }

  bool was_halted() const { return halt_.has_come(); }

  Cursor cursor;
  RunEnd outcome;

 private:
  using Place = typename TeamExecutor<T>::Place;
  enum class Walked {
    to_meeting,  // all shares must come to this place first
    to_end,      // the batch is done
    to_stop,     // a check has ended the run, for all shares alike
  };

  Place& place_of(int share) { return executor_.places_[static_cast<std::size_t>(share)]; }

  Place beginning(int share) const {
    Place place;
    StepContext<T>& context = place.context;
    context.ops = &ops_;
    context.steps = plan_.steps.data();
    context.columns = &plan_.columns;
    context.buffers = executor_.bound_.data();
    context.parameters = run_.parameters;
    context.direction = run_.direction;
    context.scratch = executor_.scratch_.data() + share * executor_.thread_scratch_;
    context.augment_scratch = executor_.augment_memory_.data() + share * executor_.thread_augment_;
    context.running = run_.running;
    context.seed = run_.seed;
    place.batch.start = place.batch.update_end = cursor.row;
    place.batch.updates = cursor.updates - 1;
    return place;
  }

  // Returns false if there is no batch any more.
  bool begin_batch(Place& place, int share) const {
    Batch& batch = place.batch;
    if (!next_batch(run_, segment_.last, batch)) return false;
    place.context.update = static_cast<std::uint64_t>(run_.first_update + batch.updates);
    place.context.rows = batch.rows;
    place.context.first_row = batch.start - batch.update_start + run_.rows_before;
    if (run_.read_ahead != nullptr) {
      run_.read_ahead->ask(batch.start, batch.start + batch.rows, share, shares_);
    }
    place.update = {};
    if (run_.learning_rates != nullptr) {
      set_rates(place.update, place.rates, *run_.optimizer, run_.learning_rates[batch.updates],
                run_.first_update + batch.updates + 1);
    }
    place.in_batch = true;
    place.may_halt = halt_.may_come();
    place.step = run_.pass == Pass::second ? plan_.second_pass : 0;
    return true;
  }

  // Walks the plan from the place where the share has stopped.
  Walked walk(Place& place, int share) {
    const std::vector<Step>& steps = plan_.steps;
    const std::size_t end = run_.pass == Pass::first ? plan_.second_pass : steps.size();
    StepClock* const clock = share == 0 ? run_.clock : nullptr;
    if (clock != nullptr) clock->resume(shares_);
    for (; place.step < end; ++place.step) {
      const Step& step = steps[place.step];
      if (step.taken) continue;
      if (step.barrier && !place.met) {
        place.met = true;
        return Walked::to_meeting;
      }
      place.met = false;
      if (!place.batch.is_last() && is_of_update(step.kind)) continue;
      if (step.for_input && run_.input_gradient.data == nullptr) continue;
      if (plan_.kind == PlanKind::apply && !is_own(step)) continue;
      if (!run_part(place, step, share)) return Walked::to_stop;
      if (clock != nullptr) clock->stamp(place.step);
    }
    return Walked::to_end;
  }

  // Runs a share's part of a step. Returns false if a check has ended the run.
  bool run_part(Place& place, const Step& step, int share) {
    return visit_kind(step.kind, [&]<StepKind kind>(Kind<kind> which) {
      constexpr Division division = rule_of(kind).division;
      if constexpr (division.is_sliced()) {
        run_share(place, step, share, run_slice<kind>);
        return true;
      } else if constexpr (division.how == Division::parameter) {
        run_blocks<kind>(place, step, share);
        return true;
      } else {
        return check(which, place, share);
      }
    });
  }

  bool is_own(const Step& step) const {
    return step.parameter == kNone || (step.parameter >= run_.own.begin && step.parameter < run_.own.end);
  }

  using RunSlice = void (*)(TeamRun& self, const Place& place, const Step& step, const Slice& slice);

  void run_share(const Place& place, const Step& step, int share, RunSlice function) {
    const Slice slice = deal_.slice_of(step, place.batch.rows, share);
    const bool some = step.cut == Cut::rows ? slice.rows() > 0 : slice.columns() > 0;
    if (some) run_rows(place, step, slice, share, function);
  }

  template <StepKind kind>
  void run_blocks(Place& place, const Step& step, int share) {
    if (plan_.kind == PlanKind::pieces) place.may_halt = false;  // it adds to what is there
    StepContext<T>& context = place.context;
    T* scratch = context.scratch + executor_.gemm_scratch_;
    const Range blocks = deal_.blocks_of(place.step, share);
    for (Index b = blocks.begin; b < blocks.end && goes_on(place, share); b += step.group) {
      context.same_step = b > blocks.begin;
      blocks_.template work<kind>(context, step, place.batch, {b, std::min(b + step.group, blocks.end)}, scratch,
                                  place.update);
    }
  }

  bool goes_on(const Place& place, int share) { return !place.may_halt || halt_.goes_on(share); }

  // Runs a slice. If the run may be halted, a long slice is cut into pieces of whole blocks of rows, unless it adds up rows.
  void run_rows(const Place& place, const Step& step, Slice slice, int share, RunSlice function) {
    constexpr Index kRows = 1024;
    const bool divides = step.cut == Cut::rows || rule_of(step.kind).product.has_value();
    if (!place.may_halt || !divides) return function(*this, place, step, slice);
    const Index block = deal_.rows_of_block(place.batch.rows);
    const Index rows = block_count(kRows, block) * block, end = slice.row_end;
    for (; slice.row < end && halt_.goes_on(share); slice.row = slice.row_end) {
      slice.row_end = std::min(slice.row + rows, end);
      function(*this, place, step, slice);
    }
  }

  template <StepKind kind>
  static void run_slice(TeamRun& self, const Place& place, const Step& step, const Slice& slice) {
    if constexpr (requires { self.run_own(Kind<kind>(), place, step, slice); }) {
      self.run_own(Kind<kind>(), place, step, slice);
    } else if constexpr (requires { self.rows_.run(Kind<kind>(), place.context, step, place.batch, slice); }) {
      self.rows_.run(Kind<kind>(), place.context, step, place.batch, slice);
    } else {
      run_kind<kind>(place.context, step, slice);
    }
  }

  // ---- the kinds that only this walk can run ----

  void run_own(Kind<StepKind::loss>, const Place& place, const Step& step, const Slice& slice) {
    loss_.compute(place.context, step, place.batch, slice.row, slice.row_end);
  }
  void run_own(Kind<StepKind::loss_tangent>, const Place& place, const Step& step, const Slice& slice) {
    loss_.compute_tangent(place.context, step, place.batch, slice);
  }
  void run_own(Kind<StepKind::limit_norm>, const Place&, const Step& step, const Slice& slice) {
    blocks_.limit_norm(step, slice);
  }
  bool check(Kind<StepKind::check_loss>, Place& place, int share) { return check_loss(place, share); }
  bool check(Kind<StepKind::check_statistics>, Place& place, int share) {
    const bool finite = has_finite_statistics(place.context);
    if (share == 0 && !finite) outcome = {.status = RunStatus::not_finite, .fault = fault_of(place)};
    return finite;
  }
  bool check(Kind<StepKind::check_gradient>, Place& place, int share) {
    place.may_halt = false;  // updates follow
    return check_gradient(place.batch, place.update, share);
  }

  // Each share adds the same numbers in the same order, so all decide alike without another meeting. An infinite variance
  // is refused as well: outputs that are divided by it are finite, but wrong.
  bool check_loss(const Place& place, int share) {
    const Batch& batch = place.batch;
    if (spoiled_) return false;
    const Index bad_row = rows_.bad_row();
    const Index bad_label = rows_.bad_label() != kNone ? rows_.bad_label() : loss_.bad_label();
    if (bad_row != kNone || bad_label != kNone) {
      if (share == 0) outcome = {.status = RunStatus::bad_data, .bad_row = bad_row};
      if (share == 0) outcome.bad_label = BadLabel::unpacked(bad_label);
      return false;
    }
    const double loss = loss_.sum(batch.rows);
    const bool finite = std::isfinite(loss) && has_finite_statistics(place.context);
    if (share == 0) {
      update_loss_ = (batch.is_first() ? 0.0 : update_loss_) + loss * batch.weight_unit;
      if (!finite) stop_at_loss(place, std::isfinite(loss) ? std::numeric_limits<double>::quiet_NaN() : update_loss_);
    }
    return finite;
  }

  // Ends the run before an update. A finite loss does not count if its batch statistics are not finite.
  void stop_at_loss(const Place& place, double loss) {
    outcome = {.status = RunStatus::not_finite, .fault = fault_of(place)};
    outcome.refused_loss = loss;
    outcome.refused_weight = place.batch.weight;
  }

  Fault fault_of(const Place& place) const { return fault_of_values(plan_, place.context, place.batch.rows); }

  // Checks the norm of the whole gradient in the same way; the update scales it down to clip_norm. It also refuses a step so
  // long that the parameters, or its squares, would overflow.
  bool check_gradient(const Batch& batch, UpdateArgs<T>& update, int share) {
    const double norm = gradient_norm();
    const bool clipped = run_.clip_norm > 0.0 && norm > run_.clip_norm;
    if (clipped) set_scale(update, run_.clip_norm, norm);
    const double used = clipped ? run_.clip_norm : norm;
    const double longest = std::max(used, 1.0) * plan_.most_rate * run_.learning_rates[batch.updates];
    const bool steep = std::isfinite(norm) && used > kSteep<T> && overflows_squares(update);
    const bool finite = std::isfinite(norm) && longest < kMostChange<T> && !steep;
    if (share == 0 && !finite) {
      outcome = {.status = RunStatus::not_finite, .fault = fault_of_gradient(plan_, run_.gradient)};
    }
    if (share == 0 && steep) outcome.too_steep = norm;
    if (share == 0 && !finite && !steep && std::isfinite(norm)) outcome.too_long = longest;
    return finite;
  }

  // Returns whether the square of some element overflows. The whole gradient is there before its update begins.
  bool overflows_squares(const UpdateArgs<T>& update) const {
    for (const Step& step : plan_.steps) {
      if (step.kind != StepKind::update_parameter) continue;
      const T* accumulated = run_.state[0] == nullptr ? nullptr : run_.state[0] + step.parameter;
      const SquaredGradient<T> gradient{run_.gradient + step.parameter, accumulated,
                                        step.work.extent * step.work.row_elements, update.grad_scale,
                                        update.grad_scale_rest};
      if (stoop::overflows_squares(*run_.optimizer, gradient)) return true;
    }
    return false;
  }

  // Checks the statistics of the batch. The running ones are a mean of these and their old values, so they stay finite too.
  bool has_finite_statistics(const StepContext<T>& context) const {
    for (const Step& step : plan_.steps) {
      if (step.kind != StepKind::batch_norm || step.statistics == kNone) continue;
      for (const Index row : {0, 1}) {
        if (!all_finite(context.at(step.statistics, row), step.out_features)) return false;
      }
    }
    return true;
  }

  static double sum(const std::vector<double>& parts) {
    double total = 0.0;
    for (const double part : parts) total += part;
    return total;
  }

  double gradient_norm() const { return norm_of_blocks(sums_.squares, sums_.norms); }

  // Runs on share 0 before the last meeting of the batch. The other shares read stop_ after that meeting.
  void finish_batch(const Batch& batch) {
    if (run_.read_ahead != nullptr) run_.read_ahead->advance(batch.start + batch.rows);
    cursor.row += batch.rows;
    cursor.correct += loss_.correct(batch.rows);
    if (halt_.may_come()) stop_ = batch.is_last() ? halt_.has_come() : !halt_.goes_on(0);
    if (!batch.is_last()) return;
    cursor.updates += 1;
    Poller* const poller = segment_.poller;
    if (poller == nullptr || run_.stops_within || !poller->is_due()) return;
    const FlushToZero::Paused paused(mode_);  // the callback computes in the mode of the calling thread
    if (poller->keep_going(cursor.row)) return;
    outcome.status = RunStatus::interrupted;
    stop_ = true;
  }

  // Runs on share 0 after the last meeting of the batch. The sums of squares are complete by then. They are overwritten only
  // after the first meeting of the next batch, which waits for this share.
  void add_sums(const Batch& batch) {
    const double penalty = run_.fixed_penalty * penalty_scale(run_, batch) + sum(sums_.penalties);
    const double norm = gradient_norm();
    cursor.loss_sum += update_loss_ + penalty * batch.weight;
    cursor.weight_sum += batch.weight;
    cursor.grad_norm_sum += norm;
    cursor.largest_norm = std::max(cursor.largest_norm, norm);
    const bool finite = std::isfinite(norm) && std::isfinite(penalty);
    if (finite && plan_.kind == PlanKind::training && !squares_gradients(*run_.optimizer)) {
      const double longest = std::max(norm, 1.0) * plan_.most_rate * run_.learning_rates[batch.updates];
      if (longest >= kMostChange<T>) outcome.too_long = longest;
    }
    spoiled_ = !finite || outcome.too_long > 0.0;
    if (spoiled_) outcome.status = RunStatus::not_finite;
    outcome.applied = spoiled_;
  }

  TeamExecutor<T>& executor_;
  const Plan& plan_;
  const OpTable<T>& ops_;
  const TrainingRun<T>& run_;
  const Segment& segment_;
  const int shares_;
  const Deal& deal_;
  BlockSums& sums_;
  const ParameterBlocks<T> blocks_;
  CallerRows<T> rows_;
  BatchLoss<T> loss_;
  const FlushToZero mode_;  // of the thread that called
  Halt halt_;
  double update_loss_ = 0.0;  // so far, weighted sum over the samples; share 0 writes it
  bool stop_ = false;         // written by share 0 before a meeting, read by all after it
  bool spoiled_ = false;      // the same: the last update had a non-finite gradient
};

}  // namespace stoop
