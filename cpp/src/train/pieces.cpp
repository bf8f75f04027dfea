// An update in pieces, for loops of the caller's own: forward, backward, apply. `step` is the three with the gradient of the
// loss between them, and comes to the same bits.

#include "pieces.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include <stoop/error.hpp>

#include "../base/finite.hpp"
#include "../data/checks.hpp"
#include "../data/code_checks.hpp"
#include "trainer_core.hpp"

namespace stoop::inline v0_1 {
namespace {

std::string shape_text(Index rows, Index cols) { return std::to_string(rows) + " x " + std::to_string(cols); }

void check_shape(std::string_view where, const char* name, Index rows, Index cols, Index wanted_rows, Index wanted_cols,
                 const char* hint) {
  if (rows == wanted_rows && cols == wanted_cols) return;
  throw_value_error(where, std::string(name) + " is " + shape_text(rows, cols),
                    "expected " + shape_text(wanted_rows, wanted_cols), hint);
}

// Makes the checks that all pieces have in common.
template <class T>
void begin(TrainerCore<T>& core, const char* where) {
  if (core.full_batch != nullptr) {
    throw_value_error(where, "the optimizer is " + std::string(name_of(core.config.optimizer)),
                      "expected one that needs a single gradient for an update",
                      "use fit or step, or make the trainer with another optimizer");
  }
  core.check_not_swapped(where);
  core.bind_model(where);
}

template <class T>
void check_waiting(const TrainerCore<T>& core, const char* where) {
  const auto& waiting = core.pieces.waiting;
  if (waiting.executor == nullptr) {
    throw_value_error(where, "no forward pass waits for a gradient",
                      "expected one call of forward before each of backward", "call forward first");
  }
  if (waiting.steps == core.state.steps && waiting.parameters == core.state.parameters.data()) return;
  throw_value_error(where, "the parameters have changed since forward", "expected those that forward used",
                    "call forward again");
}

template <class T>
void check_finite_gradient(const TrainerCore<T>& core, const char* where, const MatrixView<const T>& grad_output) {
  for (Index i = 0; i < grad_output.rows; ++i) {
    const T* row = grad_output.data + i * grad_output.stride;
    if (all_finite(row, grad_output.cols)) continue;
    const Index j = std::find_if(row, row + grad_output.cols, [](T v) { return !std::isfinite(v); }) - row;
    throw NonFiniteLossError(core.state.steps, core.state.epoch,
                             "look at the outputs and at the formula of the gradient", where,
                             std::string("grad_output has ") + (std::isnan(row[j]) ? "NaN" : "an infinity") +
                                 " at row " + std::to_string(i) + ", column " + std::to_string(j));
  }
}

// Returns whether an update adds something to the gradient, or cuts it.
template <class T>
bool changes_gradient(const TrainerCore<T>& core) {
  if (core.config.clip_value) return true;
  return std::ranges::any_of(core.graph.nodes, [&](const Node& node) {
    return is_regularized(core.graph, node) && node.trainable && penalties_of(core.config, node).any();
  });
}

template <class T>
[[noreturn]] void refuse_gradient(const TrainerCore<T>& core, const char* where, double rate, const RunEnd& end) {
  if (end.too_long > 0.0 || end.too_steep > 0.0) core.refuse_update(where, rate, end, core.state.steps);
  throw NonFiniteLossError(core.state.steps, core.state.epoch,
                           "the gradient of the outputs was too large, or was made not finite by the caller", where,
                           "the gradient or a penalty is not finite", core.layer_of(end.fault));
}

template <class T>
PlanRequest request_of(const TrainerCore<T>& core, const GradientMode& mode, Index rows) {
  PlanRequest request = core.plan_request(PlanKind::pieces, rows, false);
  request.batch_statistics = mode.training;
  request.dropout = mode.dropout;
  return request;
}

}  // namespace

template <class T>
void Trainer<T>::forward(const InputView& x, MatrixView<T> out, GradientMode mode, const KeepGoing& keep_going) {
  constexpr const char* kWhere = "Trainer.forward";
  TrainerCore<T>& core = *impl_;
  Poller poller(keep_going);
  Poller* const asked = keep_going ? &poller : nullptr;
  begin(core, kWhere);
  core.bind_adapted_model(kWhere);
  InputView samples = with_stride(x);
  samples.mapped = false;  // all of it is read at once, so it is checked first like any other
  check_samples<T>(kWhere, samples, core.model.input_dim(), asked, missing_values(core.graph));
  if (core.graph.columns) check_codes(kWhere, samples, core.graph.columns->columns);
  if (mode.training) core.check_batch(kWhere, x.rows, x.rows);
  check_shape(kWhere, "out", out.rows, out.cols, x.rows * core.graph.members(), core.model.output_dim(),
              "one row per sample and member, one column per output");
  check_stride(kWhere, "out", out.row_stride(), out.cols);
  core.pieces.waiting = {};
  Executor<T>& executor = core.pieces.plans.executor(request_of(core, mode, x.rows));
  SampleRows<T> rows;
  rows.x = samples;
  TrainingRun<T> run = core.make_run(rows, x.rows);
  run.pass = Pass::first;
  run.outputs = with_stride(out);
  run.rows_before = core.pieces.rows;
  run.poller = asked;
  run.stops_within = asked != nullptr;
  Cursor unused;
  const RunEnd end = executor.run(run, unused, x.rows);
  if (end.status == RunStatus::interrupted) throw_interrupted(kWhere);
  if (end.status == RunStatus::not_finite) core.refuse_update(kWhere, 0.0, end, 0);
  core.pieces.waiting = {&executor, x.rows, core.state.steps, core.state.parameters.data()};
}

template <class T>
void Trainer<T>::backward(MatrixView<const T> grad_output, MatrixView<T> input_gradient, const KeepGoing& keep_going) {
  constexpr const char* kWhere = "Trainer.backward";
  TrainerCore<T>& core = *impl_;
  Poller poller(keep_going);
  begin(core, kWhere);
  check_waiting(core, kWhere);
  const Index rows = core.pieces.waiting.rows;
  check_shape(kWhere, "grad_output", grad_output.rows, grad_output.cols, rows * core.graph.members(),
              core.model.output_dim(), "give the gradient of what forward returned, one row per sample and member");
  check_stride(kWhere, "grad_output", grad_output.row_stride(), grad_output.cols);
  if (input_gradient.data != nullptr) {
    check_shape(kWhere, "input_gradient", input_gradient.rows, input_gradient.cols, rows, core.model.input_dim(),
                "one row per sample, one column per input");
    check_stride(kWhere, "input_gradient", input_gradient.row_stride(), input_gradient.cols);
  }
  check_finite_gradient(core, kWhere, with_stride(grad_output));
  core.pieces.gradient.reserve(core.parameter_count());
  SampleRows<T> samples;
  samples.x.rows = rows;
  TrainingRun<T> run = core.make_run(samples, rows);
  run.pass = Pass::second;
  run.grad_output = with_stride(grad_output);
  run.input_gradient = with_stride(input_gradient);
  run.gradient = core.pieces.gradient.data();
  run.adds = !core.pieces.is_empty || core.pieces.is_shown;
  run.poller = keep_going ? &poller : nullptr;
  run.stops_within = run.poller != nullptr;
  Cursor unused;
  const RunEnd end = core.pieces.waiting.executor->run(run, unused, rows);
  if (end.status == RunStatus::interrupted) throw_interrupted(kWhere);
  core.pieces.waiting = {};
  core.pieces.is_empty = false;
  core.pieces.rows += rows;
}

template <class T>
double Trainer<T>::apply(const KeepGoing& keep_going) {
  constexpr const char* kWhere = "Trainer.apply";
  TrainerCore<T>& core = *impl_;
  Poller poller(keep_going);
  begin(core, kWhere);
  Pieces<T>& pieces = core.pieces;
  if (pieces.is_empty && !pieces.is_shown) {
    throw_value_error(kWhere, "there is no gradient", "expected one call of backward or more before each of apply",
                      "call forward and backward first");
  }
  double rate = 0.0;
  core.set_rates(core.state.steps, {&rate, 1});
  const bool changes = changes_gradient(core);  // if so, it does that to a copy, since the update may be refused
  SampleRows<T> none;
  none.x.rows = 1;
  TrainingRun<T> run = core.make_update_run(none, 1, changes);
  run.raw_gradient = changes ? pieces.gradient.data() : nullptr;
  if (!changes) run.gradient = pieces.gradient.data();
  run.learning_rates = &rate;
  run.poller = keep_going ? &poller : nullptr;
  run.stops_within = run.poller != nullptr;
  Cursor done;
  const RunEnd end = pieces.plans.executor(core.plan_request(PlanKind::apply, 1, false)).run(run, done, 1);
  if (end.status == RunStatus::interrupted) throw_interrupted(kWhere);
  if (end.status == RunStatus::not_finite) refuse_gradient(core, kWhere, rate, end);
  core.state.steps += 1;
  pieces.clear();
  return done.grad_norm_sum;
}

template <class T>
void Trainer<T>::zero_grad() {
  impl_->pieces.clear();
}

template <class T>
std::span<T> Trainer<T>::gradient_block() {
  return impl_->pieces.show(impl_->parameter_count());
}

template void Trainer<float>::forward(const InputView&, MatrixView<float>, GradientMode, const KeepGoing&);
template void Trainer<double>::forward(const InputView&, MatrixView<double>, GradientMode, const KeepGoing&);
template void Trainer<float>::backward(MatrixView<const float>, MatrixView<float>, const KeepGoing&);
template void Trainer<double>::backward(MatrixView<const double>, MatrixView<double>, const KeepGoing&);
template double Trainer<float>::apply(const KeepGoing&);
template double Trainer<double>::apply(const KeepGoing&);
template void Trainer<float>::zero_grad();
template void Trainer<double>::zero_grad();
template std::span<float> Trainer<float>::gradient_block();
template std::span<double> Trainer<double>::gradient_block();

}  // namespace stoop
