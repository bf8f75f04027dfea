#include "input_gradient.hpp"

#include <algorithm>
#include <utility>

#include "../run/row_limit.hpp"

namespace stoop::inline v0_1 {
namespace {

// The rows of a pass. More would not be faster, and fewer are a matter of memory: passes of wide models have fewer.
constexpr Index kManyRows = 256;
constexpr Index kFewRows = 8;
constexpr Index kPasses = 2;  // a backward pass needs the values and the gradients of all layers

template <class T>
MatrixView<T> rows_of(MatrixView<T> view, Index begin, Index rows) {
  view.data += begin * view.stride;
  view.rows = rows;
  return view;
}

// Runs a pass of the rows that `run` has.
template <class T>
bool runs(Executor<T>& executor, TrainingRun<T>& run, Pass pass) {
  run.pass = pass;
  Cursor unused;
  return executor.run(run, unused, run.data.x.rows).status != RunStatus::interrupted;
}

// One forward pass, then a backward pass for each output.
template <class T>
bool run_jacobian(Executor<T>& executor, TrainingRun<T>& run, std::vector<T>& unit, const MatrixView<T>& out) {
  const auto outputs = static_cast<Index>(unit.size());
  if (!runs(executor, run, Pass::first)) return false;
  run.grad_output = {unit.data(), out.rows, outputs, 0};
  run.input_gradient = {out.data, out.rows, out.cols / outputs, out.stride};
  for (T& one : unit) {
    one = T(1);
    const bool done = runs(executor, run, Pass::second);
    one = T(0);
    if (!done) return false;
    run.input_gradient.data += run.input_gradient.cols;
  }
  return true;
}

}  // namespace

template <class T>
bool InputGradients<T>::compute(const Derivatives<T>& wanted) {
  const Index rows = wanted.data.x.rows;
  const bool few = rows <= kFewRows;
  Worker worker = take(wanted, few);
  TrainingRun<T> run;
  run.parameters = const_cast<T*>(wanted.parameters);  // a plan without updates only reads these two
  run.running = const_cast<T*>(wanted.running);
  run.poller = wanted.poller;
  run.stops_within = run.poller != nullptr;
  bool done = true;
  for (Index begin = 0; done && begin < rows; begin += run.batch) {
    run.batch = std::min(rows - begin, worker.executor->most_rows());
    run.data = wanted.data;
    run.data.x.data = wanted.data.x.row(begin);
    run.data.x.rows = run.batch;
    const MatrixView<T> out = rows_of(wanted.out, begin, run.batch);
    if (wanted.grad_output.data == nullptr) {
      done = run_jacobian(*worker.executor, run, worker.unit, out);
    } else {
      run.grad_output = rows_of(wanted.grad_output, begin, run.batch);
      run.input_gradient = out;
      done = runs(*worker.executor, run, Pass::all);
    }
    done = done && (run.poller == nullptr || run.poller->goes_on());
  }
  const std::lock_guard lock(mutex_);
  idle(wanted, few).push_back(std::move(worker));
  return done;
}

template <class T>
typename InputGradients<T>::Worker InputGradients<T>::take(const Derivatives<T>& wanted, bool few) {
  {
    const std::lock_guard lock(mutex_);
    std::vector<Worker>& waiting = idle(wanted, few);
    if (!waiting.empty()) {
      Worker worker = std::move(waiting.back());
      waiting.pop_back();
      return worker;
    }
  }
  PlanRequest request;
  request.kind = PlanKind::pieces;
  request.graph = wanted.graph;
  request.batch = few ? kFewRows : kManyRows;
  request.batch_statistics = request.dropout = request.parameter_gradients = false;
  request.output = wanted.output;
  request.combines = true;
  request.element_size = sizeof(T);
  const Graph& graph = *wanted.graph;
  request.batch = rows_within(build_plan(request), kPasses * most_value_bytes(graph, sizeof(T)));
  return {make_executor(device_, request), std::vector<T>(static_cast<std::size_t>(graph.output_dim()))};
}

template class InputGradients<float>;
template class InputGradients<double>;

}  // namespace stoop
