#include <stoop/profile.hpp>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string>
#include <vector>

#include <stoop/error.hpp>

#include "../data/shuffle.hpp"
#include "../plan/costs.hpp"
#include "../plan/rules.hpp"
#include "../run/batches.hpp"
#include "../run/step_clock.hpp"
#include "trainer_core.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr const char* kProfile = "Trainer.profile";
constexpr double kNoChange = 1e-30;   // the learning rate
constexpr double kPass = 0.03;        // seconds of one measurement, if a batch is shorter
constexpr double kWarm = 0.1;         // seconds of training before it is measured, and
constexpr Index kWarmBatches = 64;    // so many batches, in which the size of the team is found,
constexpr double kLongestWarm = 1.0;  // but not longer than this
constexpr double kMeasured = 0.5;     // seconds of all measurements
constexpr int kFewestPasses = 3;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Runs batches of the samples, over and over, as an epoch of fit does.
template <class T>
class Runner {
 public:
  Runner(TrainerCore<T>& core, const Dataset<T>& data, Index batch, Poller* poller)
      : core_(core), batch_(batch), order_(static_cast<std::size_t>(data.rows())) {
    const bool checked = needs_all_gradients(core.config);
    executor_ = &core.executor(checked ? PlanKind::checked : PlanKind::training, batch, data);
    run_ = core.make_update_run(data, batch, checked);
    most_ = data.rows() / batch;
    run_.accumulate = std::min(core.config.accumulate, most_);
    rates_.assign(static_cast<std::size_t>(most_), kNoChange);
    run_.learning_rates = rates_.data();
    run_.poller = poller;
    shuffle(core.config.seed, 0, order_);
    run_.data.order = order_.data();
  }

  const Plan& plan() const { return executor_->plan(); }
  const InputView& x() const { return run_.data.x; }
  Index accumulate() const { return run_.accumulate; }
  // The most batches of a pass; less than all samples where that would be no whole number of updates.
  Index most() const { return most_ / run_.accumulate * run_.accumulate; }
  void fix_threads(int threads) { run_.num_threads = threads; }

  // Returns the seconds of a batch in a pass over so many, which fill whole updates.
  double pass(Index batches, StepClock* clock) {
    run_.clock = clock;
    run_.data.x.rows = batches * batch_;
    core_.read_ahead(run_);
    Cursor cursor;
    const Clock::time_point start = Clock::now();
    if (clock != nullptr) clock->start();
    const RunEnd end = executor_->run(run_, cursor, run_.data.x.rows);
    const double seconds = seconds_since(start);
    if (end.status == RunStatus::interrupted) throw_interrupted(kProfile);
    core_.refuse_bad_data(kProfile, run_.data.x, end);
    if (end.status == RunStatus::not_finite) core_.refuse_update(kProfile, kNoChange, end, core_.state.steps);
    return seconds / static_cast<double>(batches);
  }

 private:
  TrainerCore<T>& core_;
  const Index batch_;
  std::vector<std::int32_t> order_;
  std::vector<double> rates_;
  TrainingRun<T> run_;
  Executor<T>* executor_ = nullptr;
  Index most_ = 1;
};

// The seconds of a batch in the fastest pass: of every step that is walked, of waiting, and of the whole without a clock.
struct Fastest {
  std::vector<double> of_step;
  double waiting = 0.0;
  double whole = std::numeric_limits<double>::infinity();
};

template <class T>
Index warm_up(Runner<T>& runner, StepClock& clock) {
  const Index update = runner.accumulate();
  const Clock::time_point start = Clock::now();
  runner.pass(update, nullptr);  // allocates
  const double seconds = runner.pass(update, nullptr);
  const Index wanted = static_cast<Index>(kPass / std::max(seconds, 1e-9)) / update * update;
  const Index batches = std::clamp(wanted, update, runner.most());
  Index done = 0;
  for (double passed = 0.0; passed < kWarm || (done < kWarmBatches && passed < kLongestWarm);) {
    runner.pass(batches, &clock);
    done += batches;
    passed = seconds_since(start);
  }
  runner.fix_threads(clock.shares());
  return batches;
}

// The fastest pass is the one that other programs have disturbed least. Passes with a clock and without come in turns.
template <class T>
Fastest measure(Runner<T>& runner, StepClock& clock, Index batches) {
  Fastest found;
  double fastest = found.whole;
  const double count = static_cast<double>(batches);
  const Clock::time_point start = Clock::now();
  for (int passes = 0; passes < kFewestPasses || seconds_since(start) < kMeasured; ++passes) {
    found.whole = std::min(found.whole, runner.pass(batches, nullptr));
    const double seconds = runner.pass(batches, &clock);
    if (seconds >= fastest) continue;
    fastest = seconds;
    found.of_step.clear();
    for (std::size_t i = 0; i < runner.plan().steps.size(); ++i) found.of_step.push_back(clock.seconds(i) / count);
    found.waiting = clock.waited() / count;
  }
  return found;
}

template <class T>
CostTerms terms_of(const TrainerCore<T>& core, const InputView& x, Index batch, bool has_classes) {
  CostTerms terms;
  terms.rows = batch;
  terms.element_size = sizeof(T);
  terms.input_row = x.cols * x.element_size();
  terms.target_row = has_classes ? Index{sizeof(std::int32_t)} : core.model.output_dim() * Index{sizeof(T)};
  terms.update_elements = 2 * (1 + state_count(core.config.optimizer) + (core.config.ema ? 1 : 0));
  return terms;
}

// Names a step by what it does, the parameter, the sizes, and what is done in its epilogue.
template <class T>
std::string name_of(const Plan& plan, const Step& step, const Model<T>& model) {
  std::string name = rule_of(step.kind).name;
  for (const ParameterInfo& info : model.parameter_infos()) {
    if (step.parameter != kNone && info.offset == step.parameter) name += " " + info.name;
  }
  if (step.in_features > 0) name += " " + std::to_string(step.in_features) + "x" + std::to_string(step.out_features);
  if (step.activation != kind_of<Identity>()) name += " " + std::string(name_of(step.activation));
  if (step.work.after == After::update) name += " then update";
  for (const int taken : {step.dropout_step, step.sums_step}) {
    if (taken != kNone) name += std::string(" + ") + rule_of(plan.steps[static_cast<std::size_t>(taken)].kind).name;
  }
  return name;
}

}  // namespace

template <class T>
Profile profile(const Trainer<T>& trainer, const InputView& x, const std::type_identity_t<Targets<T>>& y,
                Index batch_size, const KeepGoing& keep_going) {
  if (batch_size < 1) {
    throw_value_error(kProfile, "batch_size=" + std::to_string(batch_size), "expected at least 1",
                      "give that of the fit");
  }
  if (is_full_batch(trainer.config().optimizer)) {
    throw_value_error(kProfile, "the optimizer " + std::string(stoop::name_of(trainer.config().optimizer)),
                      "expected one of mini-batches", "make a trainer with Adam or SGD");
  }
  Model<T> model = trainer.model();
  TrainerCore<T> core(model, trainer.config());
  Poller poller(keep_going);
  Poller* const asked = keep_going ? &poller : nullptr;
  const Dataset<T> data(kProfile, x, y, core.needs(), asked);
  const Index batch = std::min(batch_size, x.rows);
  core.check_batch(kProfile, x.rows, batch);
  if (const auto found = core.lacking_statistics(kProfile, data, asked)) core.set_statistics(*found);
  Runner<T> runner(core, data, batch, asked);
  const Plan& plan = runner.plan();
  StepClock clock(plan.steps.size());
  const Index batches = warm_up(runner, clock);
  const Fastest found = measure(runner, clock, batches);
  Profile out;
  const CostTerms terms = terms_of(core, runner.x(), batch, data.has_classes());
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    if (step.taken) continue;
    StepCost cost = cost_of(plan, step, terms);
    if (is_of_update(step.kind)) cost.bytes /= static_cast<double>(runner.accumulate());
    out.steps.push_back({name_of(plan, step, model), found.of_step[i], cost.flops, cost.bytes});
  }
  out.steps.push_back({"waiting", found.waiting, 0.0, 0.0});
  out.seconds = found.whole;
  out.threads = clock.shares();
  return out;
}

template Profile profile(const Trainer<float>&, const InputView&, const Targets<float>&, Index, const KeepGoing&);
template Profile profile(const Trainer<double>&, const InputView&, const Targets<double>&, Index, const KeepGoing&);

}  // namespace stoop
