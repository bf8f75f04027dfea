// What a Trainer does for LBFGS and NewtonCG: its objective, and an epoch, which is one of their iterations.

#include <chrono>
#include <cmath>
#include <limits>

#include "trainer_impl.hpp"

namespace stoop {

template <class T>
Objective<T> Trainer<T>::Impl::make_objective(const MatrixView<const T>& x, const Targets<T>& y, Poller* poller) {
  Objective<T> objective;
  objective.point = model.parameter_block();
  objective.free = trained_elements(graph);
  objective.value_and_gradient = [this, x, y](std::span<T> out) {
    std::fill(out.begin(), out.end(), T(0));
    TrainingRun<T> run = make_run(x, y, x.rows, weights);
    run.gradient = out.data();
    const TrainingResult result = ask(Question::gradient, GradientMode{}, run, y);
    last_correct = result.correct;
    return result.non_finite_loss ? std::numeric_limits<double>::quiet_NaN() : result.loss_sum / result.weight_sum;
  };
  objective.hessian_vector = [this, x, y](std::span<const T> direction, std::span<T> product) {
    std::fill(product.begin(), product.end(), T(0));
    TrainingRun<T> run = make_run(x, y, x.rows, weights);
    run.direction = direction.data();
    run.gradient = product.data();
    ask(Question::curvature, GradientMode{}, run, y);
  };
  if (poller != nullptr) {
    objective.keep_going = [poller] { return !poller->is_due() || poller->keep_going(0); };
  }
  return objective;
}

template <class T>
std::optional<EpochResult> Trainer<T>::Impl::run_iteration(const MatrixView<const T>& x, const Targets<T>& y,
                                                           const Objective<T>& objective, std::string_view where,
                                                           bool& interrupted) {
  const auto start = std::chrono::steady_clock::now();
  full_batch->look(objective);
  const double correct = last_correct;
  const Iteration iteration = full_batch->iterate(objective, rates[0]);
  if (!std::isfinite(iteration.value) || !std::isfinite(iteration.grad_norm)) {
    refuse_update(where, rates[0], 0);
  }
  interrupted = iteration.interrupted;
  if (interrupted) return std::nullopt;
  if (iteration.step == 0.0) last_correct = correct;  // it stayed where that was
  EpochResult out;
  const double samples = static_cast<double>(x.rows);
  out.epoch = epoch;
  out.loss = iteration.value;
  out.accuracy = has_accuracy(loss()) ? correct / samples : std::numeric_limits<double>::quiet_NaN();
  out.val_loss = out.val_accuracy = std::numeric_limits<double>::quiet_NaN();
  out.learning_rate = iteration.step;
  out.grad_norm = iteration.grad_norm;
  if (has_node(graph, NodeKind::batch_norm)) {  // whose batch is all there is: inference gets exactly its statistics
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
History Trainer<T>::Impl::fit_full_batch(const MatrixView<const T>& x, const Targets<T>& y,
                                         const FitOptions<T>& options, Poller* poller) {
  if (options.batch_size < x.rows) {
    throw_value_error("Trainer.fit",
                      "batch_size=" + std::to_string(options.batch_size) + " of " + std::to_string(x.rows) +
                          " samples with the optimizer " + std::string(name_of(kind_of(config.optimizer))),
                      "expected the full batch", "give batch_size=" + std::to_string(x.rows) + ", shuffle=false");
  }
  rates.resize(1);
  const Objective<T> objective = make_objective(x, y, poller);
  full_batch->forget_point();
  return run_epochs(options, [&](bool& interrupted) { return run_iteration(x, y, objective, "fit", interrupted); });
}

template <class T>
double Trainer<T>::Impl::step_full_batch(const MatrixView<const T>& x, const Targets<T>& y) {
  bool interrupted = false;
  full_batch->forget_point();
  return run_iteration(x, y, make_objective(x, y, nullptr), "step", interrupted)->loss;
}

template History Trainer<float>::Impl::fit_full_batch(const MatrixView<const float>&, const Targets<float>&,
                                                      const FitOptions<float>&, Poller*);
template History Trainer<double>::Impl::fit_full_batch(const MatrixView<const double>&, const Targets<double>&,
                                                       const FitOptions<double>&, Poller*);
template double Trainer<float>::Impl::step_full_batch(const MatrixView<const float>&, const Targets<float>&);
template double Trainer<double>::Impl::step_full_batch(const MatrixView<const double>&, const Targets<double>&);

}  // namespace stoop
