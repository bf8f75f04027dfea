// The part of a Trainer for LBFGS and NewtonCG: its objective, and an epoch, which is one iteration.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "trainer_core.hpp"

namespace stoop::inline v0_1 {

template <class T>
Objective<T> TrainerCore<T>::make_objective(const char* where, const Dataset<T>& data, Poller* poller) {
  Objective<T> objective;
  objective.point = state.parameters;
  objective.free = trained_elements(graph);
  objective.value_and_gradient = [this, where, &data, poller](std::span<T> out) {
    std::fill(out.begin(), out.end(), T(0));
    TrainingRun<T> run = make_run(data, data.rows());
    run.gradient = out.data();
    run.poller = poller;
    const Answer answer = ask(where, Question::gradient, GradientMode{}, run);
    last_correct = answer.sums.correct;
    return answer.finite ? answer.sums.loss() : std::numeric_limits<double>::quiet_NaN();
  };
  objective.hessian_vector = [this, where, &data, poller](std::span<const T> direction, std::span<T> product) {
    std::fill(product.begin(), product.end(), T(0));
    TrainingRun<T> run = make_run(data, data.rows());
    run.direction = direction.data();
    run.gradient = product.data();
    run.poller = poller;
    ask(where, Question::curvature, GradientMode{}, run);
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
std::optional<EpochResult> TrainerCore<T>::run_iteration(const Dataset<T>& data, const Objective<T>& objective,
                                                         std::string_view where) {
  const auto start = std::chrono::steady_clock::now();
  double rate = 0.0, correct = 0.0;
  prepare_updates(state.steps, {&rate, 1});
  const Iteration iteration = iterate(*full_batch, objective, rate, correct, last_correct);
  if (!std::isfinite(iteration.value) || !std::isfinite(iteration.grad_norm))
    refuse_update(where, rate, {.fault = last_fault}, 0);
  if (iteration.interrupted) return std::nullopt;
  if (iteration.step == 0.0) last_correct = correct;  // the point stayed
  EpochResult out;
  const double samples = static_cast<double>(data.rows());
  out.epoch = state.epoch;
  out.loss = iteration.value;
  out.accuracy = accuracy_of(correct, data, nullptr, data.rows());
  out.val_loss = out.val_accuracy = std::numeric_limits<double>::quiet_NaN();
  out.learning_rate = iteration.step;
  out.grad_norm = iteration.grad_norm;
  if (has_batch_norm()) {  // the batch is all samples, so inference gets exactly its statistics
    state.gradient.reserve(parameter_count());
    TrainingRun<T> run = make_run(data, data.rows());
    ask(where, Question::statistics, GradientMode{}, run);
  }
  if (config.ema) {
    device.ops.average({parameter_count(), state.average.data(), state.parameters.data(), static_cast<T>(*config.ema)});
  }
  ++state.steps;
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  out.samples_per_second = samples / out.seconds;
  return out;
}

template Objective<float> TrainerCore<float>::make_objective(const char*, const Dataset<float>&, Poller*);
template Objective<double> TrainerCore<double>::make_objective(const char*, const Dataset<double>&, Poller*);
template std::optional<EpochResult> TrainerCore<float>::run_iteration(const Dataset<float>&, const Objective<float>&,
                                                                      std::string_view);
template std::optional<EpochResult> TrainerCore<double>::run_iteration(const Dataset<double>&, const Objective<double>&,
                                                                       std::string_view);

}  // namespace stoop
