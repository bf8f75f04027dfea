// The part of a Trainer for LBFGS and NewtonCG: its objective, and an epoch, which is one iteration.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "trainer_impl.hpp"

namespace stoop {

template <class T>
Objective<T> Trainer<T>::Impl::make_objective(const InputView& x, const Targets<T>& y, Poller* poller) {
  Objective<T> objective;
  objective.point = model.parameter_block();
  objective.free = trained_elements(graph);
  objective.value_and_gradient = [this, x, y, poller](std::span<T> out) {
    std::fill(out.begin(), out.end(), T(0));
    TrainingRun<T> run = make_run(x, y, x.rows, weights);
    run.gradient = out.data();
    run.poller = poller;
    const TrainingResult result = ask(Question::gradient, GradientMode{}, run, y);
    last_correct = result.correct;
    return result.non_finite_loss ? std::numeric_limits<double>::quiet_NaN() : result.loss_sum / result.weight_sum;
  };
  objective.hessian_vector = [this, x, y, poller](std::span<const T> direction, std::span<T> product) {
    std::fill(product.begin(), product.end(), T(0));
    TrainingRun<T> run = make_run(x, y, x.rows, weights);
    run.direction = direction.data();
    run.gradient = product.data();
    run.poller = poller;
    ask(Question::curvature, GradientMode{}, run, y);
  };
  if (poller != nullptr) {
    objective.keep_going = [poller] { return poller->goes_on(); };
  }
  return objective;
}

namespace {

// If keep_going ends an iteration, even within an evaluation, the point stays where it was.
template <class T>
Iteration iterate(FullBatchOptimizer<T>& optimizer, const Objective<T>& objective, double rate, double& correct,
                  const double& last_correct) {
  try {
    optimizer.look(objective);
    correct = last_correct;
    return optimizer.iterate(objective, rate);
  } catch (const Interrupted&) {
    return {.interrupted = true};
  }
}

}  // namespace

template <class T>
std::optional<EpochResult> Trainer<T>::Impl::run_iteration(const InputView& x, const Targets<T>& y,
                                                           const Objective<T>& objective, double rate,
                                                           std::string_view where, bool& interrupted) {
  const auto start = std::chrono::steady_clock::now();
  double correct = 0.0;
  const Iteration iteration = iterate(*full_batch, objective, rate, correct, last_correct);
  if (!std::isfinite(iteration.value) || !std::isfinite(iteration.grad_norm)) {
    refuse_update(where, rate, {}, 0);
  }
  interrupted = iteration.interrupted;
  if (interrupted) return std::nullopt;
  if (iteration.step == 0.0) last_correct = correct;  // the point stayed
  EpochResult out;
  const double samples = static_cast<double>(x.rows);
  out.epoch = epoch;
  out.loss = iteration.value;
  out.accuracy = has_accuracy(loss()) ? correct / samples : std::numeric_limits<double>::quiet_NaN();
  out.val_loss = out.val_accuracy = std::numeric_limits<double>::quiet_NaN();
  out.learning_rate = iteration.step;
  out.grad_norm = iteration.grad_norm;
  if (has_node(graph, NodeKind::batch_norm)) {  // the batch is all samples, so inference gets exactly its statistics
    TrainingRun<T> run = make_run(x, y, x.rows, weights);
    gradient.reserve(parameter_count());
    run.gradient = gradient.data();
    ask(Question::statistics, GradientMode{}, run, y);
  }
  if (config.ema) {
    ops.average({parameter_count(), average.data(), model.parameter_block().data(), static_cast<T>(*config.ema)});
  }
  ++steps;
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  out.samples_per_second = samples / out.seconds;
  return out;
}

template <class T>
History Trainer<T>::Impl::fit_full_batch(const InputView& x, const Targets<T>& y, const FitOptions<T>& options,
                                         Poller* poller) {
  if (options.batch_size < x.rows) {
    throw_value_error("Trainer.fit",
                      "batch_size=" + std::to_string(options.batch_size) + " of " + std::to_string(x.rows) +
                          " samples with the optimizer " + std::string(name_of(config.optimizer)),
                      "expected the full batch", "give batch_size=" + std::to_string(x.rows) + ", shuffle=false");
  }
  Objective<T> objective = make_objective(x, y, poller);
  std::vector<T> left;  // the parameters after an iteration; on_epoch may change them, or assign the model
  History history = run_epochs(options, 1, [&](std::span<const double> rates, bool& interrupted) {
    objective.point = model.parameter_block();
    const std::span<T> now = objective.point;
    if (!std::equal(now.begin(), now.end(), left.begin(), left.end())) full_batch->forget_point();
    const std::optional<EpochResult> result = run_iteration(x, y, objective, rates[0], "fit", interrupted);
    left.assign(now.begin(), now.end());
    return result;
  });
  full_batch->forget_point();  // this may be within another fit, on other samples
  return history;
}

template <class T>
double Trainer<T>::Impl::step_full_batch(const InputView& x, const Targets<T>& y, double rate, Poller* poller) {
  bool interrupted = false;
  full_batch->forget_point();
  const auto result = run_iteration(x, y, make_objective(x, y, poller), rate, "step", interrupted);
  full_batch->forget_point();  // this may be within a fit, on other samples
  if (!result) throw_interrupted("Trainer.step");
  return result->loss;
}

template History Trainer<float>::Impl::fit_full_batch(const InputView&, const Targets<float>&, const FitOptions<float>&,
                                                      Poller*);
template History Trainer<double>::Impl::fit_full_batch(const InputView&, const Targets<double>&,
                                                       const FitOptions<double>&, Poller*);
template double Trainer<float>::Impl::step_full_batch(const InputView&, const Targets<float>&, double, Poller*);
template double Trainer<double>::Impl::step_full_batch(const InputView&, const Targets<double>&, double, Poller*);

}  // namespace stoop
