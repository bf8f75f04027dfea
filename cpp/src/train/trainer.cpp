// The calls of Trainer<T> except fit. They check their arguments and throw the errors.

#include <algorithm>
#include <limits>
#include <optional>
#include <string>

#include <stoop/error.hpp>

#include "agreement.hpp"
#include "trainer_core.hpp"

namespace stoop::inline v0_1 {
namespace {

template <class T>
double step_full_batch(TrainerCore<T>& core, const Dataset<T>& data, Poller* poller) {
  core.full_batch->forget_point();
  const auto result = core.run_iteration(data, core.make_objective("Trainer.step", data, poller), "Trainer.step");
  core.full_batch->forget_point();  // this may be within a fit, on other samples
  if (!result) throw_interrupted("Trainer.step");
  return result->loss;
}

[[noreturn]] void refuse_size(const char* where, std::size_t losses, Index rows) {
  throw_value_error(where, "losses has " + std::to_string(losses) + " elements and X " + std::to_string(rows) + " rows",
                    "expected one for each sample", "give it the number of rows of X");
}

template <class T>
Metrics measure(TrainerCore<T>& core, const char* where, const InputView& x, const Targets<T>& y,
                const KeepGoing& keep_going, std::span<double> losses) {
  Poller poller(keep_going);
  Poller* const asked = keep_going ? &poller : nullptr;
  std::optional<Dataset<T>> data;
  const auto prepare = [&] {
    core.bind_adapted_model(where);
    data.emplace(where, x, y, core.needs(), asked);
    if (!losses.empty() && static_cast<Index>(losses.size()) != x.rows) refuse_size(where, losses.size(), x.rows);
    Claims claims;
    if (core.is_shared()) claims = claims_of(core, *data, false);
    claims.options = losses.empty() ? 0 : 1;
    return claims;
  };
  agree(core.world(), where, prepare);
  return core.evaluate(where, *data, asked, losses);
}

}  // namespace

template <class T>
Trainer<T>::Trainer(Model<T>& model, TrainerConfig config, const World& world) {
  check_collectives(world);
  agree(world, "Trainer", [&] {
    impl_ = std::make_unique<Impl>(model, std::move(config), world);
    return Claims{.machine = claim_of_machine(*impl_),
                  .settings = claim_of_settings(*impl_),
                  .options = static_cast<std::uint64_t>(world.shards)};
  });
}
template <class T>
Trainer<T>::Trainer(Trainer&&) noexcept = default;
template <class T>
Trainer<T>::~Trainer() = default;

template <class T>
double Trainer<T>::step(const InputView& batch, const Targets<T>& y, const KeepGoing& keep_going) {
  constexpr const char* kWhere = "Trainer.step";
  TrainerCore<T>& core = *impl_;
  Poller poller(keep_going);
  InputView x = batch;
  x.mapped = false;  // all of it is read at once, so it is checked first like any other
  std::optional<Dataset<T>> checked;
  double rate = 0.0;
  agree(core.world(), kWhere, [&] {
    core.check_not_alone(kWhere);
    core.check_not_swapped(kWhere);
    core.bind_adapted_model(kWhere);
    checked.emplace(kWhere, x, y, core.needs(), keep_going ? &poller : nullptr);
    core.check_batch(kWhere, x.rows, x.rows);
    if (!core.full_batch) core.prepare_updates(core.state.steps, {&rate, 1});
    return core.is_shared() ? claims_of(core, *checked, false) : Claims{};
  });
  const Dataset<T>& data = *checked;
  if (core.full_batch) return step_full_batch(core, data, keep_going ? &poller : nullptr);
  TrainingRun<T> run = core.make_update_run(data, x.rows, true);
  run.learning_rates = &rate;
  run.poller = keep_going ? &poller : nullptr;
  run.stops_within = run.poller != nullptr;
  Cursor done;
  const RunEnd end = core.executor(PlanKind::checked, x.rows, data).run(run, done, x.rows);
  if (end.status == RunStatus::interrupted) throw_interrupted(kWhere);
  core.refuse_bad_data(kWhere, x, end);
  if (end.status == RunStatus::not_finite) core.refuse_update(kWhere, rate, end, core.state.steps);
  core.state.steps += 1;
  return done.loss();
}

template <class T>
double Trainer<T>::loss_and_grad(const InputView& x, const Targets<T>& y, std::span<T> gradient, GradientMode mode,
                                 const KeepGoing& keep_going) {
  constexpr const char* kWhere = "Trainer.loss_and_grad";
  TrainerCore<T>& core = *impl_;
  Poller poller(keep_going);
  core.bind_adapted_model(kWhere);
  const Dataset<T> data(kWhere, x, y, core.needs(), keep_going ? &poller : nullptr);
  if (mode.training) core.check_batch(kWhere, x.rows, x.rows);
  if (!gradient.empty()) core.check_block(kWhere, "gradient", gradient.size());
  std::fill(gradient.begin(), gradient.end(), T(0));  // padding, and layers that are not trainable
  TrainingRun<T> run = core.make_run(data, x.rows);
  run.gradient = gradient.data();
  run.poller = keep_going ? &poller : nullptr;
  if (gradient.empty()) run.fixed_penalty = core.penalty(Weights::all);  // no step visits the weights
  const Answer answer = core.ask(kWhere, gradient.empty() ? Question::loss : Question::gradient, mode, run);
  // A run that stopped at a non-finite loss has no gradient; the loss is the sum that was found there.
  if (!answer.finite) std::fill(gradient.begin(), gradient.end(), std::numeric_limits<T>::quiet_NaN());
  return answer.sums.loss();
}

template <class T>
void Trainer<T>::hessian_vector_product(const InputView& x, const Targets<T>& y, std::span<const T> direction,
                                        std::span<T> product, GradientMode mode, const KeepGoing& keep_going) {
  constexpr const char* kWhere = "Trainer.hessian_vector_product";
  TrainerCore<T>& core = *impl_;
  Poller poller(keep_going);
  core.bind_adapted_model(kWhere);
  const Dataset<T> data(kWhere, x, y, core.needs(), keep_going ? &poller : nullptr);
  if (mode.training) core.check_batch(kWhere, x.rows, x.rows);
  core.check_block(kWhere, "direction", direction.size());
  core.check_block(kWhere, "product", product.size());
  std::fill(product.begin(), product.end(), T(0));
  TrainingRun<T> run = core.make_run(data, x.rows);
  run.direction = direction.data();
  run.gradient = product.data();
  run.poller = keep_going ? &poller : nullptr;
  const Answer answer = core.ask(kWhere, Question::curvature, mode, run);
  if (!answer.finite) std::fill(product.begin(), product.end(), std::numeric_limits<T>::quiet_NaN());
}

template <class T>
Metrics Trainer<T>::evaluate(const InputView& x, const Targets<T>& y, const KeepGoing& keep_going,
                             std::span<double> losses) {
  return measure(*impl_, "Trainer.evaluate", x, y, keep_going, losses);
}

template <class T>
void Trainer<T>::losses(const InputView& x, const Targets<T>& y, std::span<double> out, const KeepGoing& keep_going) {
  constexpr const char* kWhere = "Trainer.losses";
  if (static_cast<Index>(out.size()) != x.rows) refuse_size(kWhere, out.size(), x.rows);
  measure(*impl_, kWhere, x, y, keep_going, out);
}

template <class T>
void Trainer<T>::work_alone(bool alone) {
  impl_->is_alone = alone;
}

template <class T>
std::uint64_t Trainer<T>::fingerprint() const {
  return claim_of_state(*impl_, true);
}

template <class T>
std::span<T> Trainer<T>::ema_block() {
  return impl_->state.average.elements();
}

template <class T>
void Trainer<T>::swap_ema() {
  if (!impl_->config.ema) {
    throw_value_error("Trainer.swap_ema", "no average of the parameters is kept", "expected `ema` in the configuration",
                      "make the trainer with ema=0.999, for example");
  }
  impl_->bind_model("Trainer.swap_ema");
  LiveState<T>& state = impl_->state;
  if (!state.swapped) impl_->start_average();
  std::swap_ranges(state.parameters.begin(), state.parameters.end(), state.average.data());
  state.swapped = !state.swapped;
}

template <class T>
const Model<T>& Trainer<T>::model() const {
  return impl_->model;
}
template <class T>
Index Trainer<T>::epoch() const {
  return impl_->state.epoch;
}
template <class T>
Index Trainer<T>::steps() const {
  return impl_->state.steps;
}
template <class T>
const TrainerConfig& Trainer<T>::config() const {
  return impl_->config;
}

template class Trainer<float>;
template class Trainer<double>;

}  // namespace stoop
