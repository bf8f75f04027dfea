// Optimizers on bare arrays, the values of schedules, and the exponentially weighted average.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stoop/minimize.hpp>
#include <stoop/optimizer_step.hpp>

#include "bindings.hpp"
#include "gil.hpp"
#include "learning_rate.hpp"
#include "numpy_view.hpp"

namespace stoop::python {
namespace {

template <class T>
struct UpdaterHandle {
  UpdaterHandle(const std::string& config, const std::optional<PythonRate>& rate)
      : updater(optimizer_from(config, rate)) {}

  ParameterUpdater<T> updater;
  std::atomic_flag busy;
};

template <class T>
void update(const py::object& object, std::vector<Array<T>> parameters, const std::vector<Array<T>>& gradients,
            std::string_view where) {
  auto& self = object.cast<UpdaterHandle<T>&>();
  const Exclusive exclusive(self.busy, where, "this optimizer is already updating these arrays",
                            "use arrays of their own for each thread");
  std::vector<std::span<T>> targets;
  std::vector<std::span<const T>> sources;
  for (Array<T>& array : parameters) targets.emplace_back(array.mutable_data(), static_cast<std::size_t>(array.size()));
  for (const Array<T>& array : gradients) sources.emplace_back(array.data(), static_cast<std::size_t>(array.size()));
  std::vector<Pin> pins;
  for (const Array<T>& array : parameters) pins.emplace_back(array);
  for (const Array<T>& array : gradients) pins.emplace_back(array);
  const ReleasedGil released;
  self.updater.step(targets, sources);
}

template <class T>
py::tuple state(UpdaterHandle<T>& self) {
  const Exclusive exclusive(self.busy, "optimizer", "this optimizer is updating arrays", "copy it between updates");
  const UpdaterState<T> state = self.updater.state();
  py::list all;
  for (const auto& arrays : state.arrays) {
    py::list copies;
    for (const std::vector<T>& array : arrays) copies.append(copied(array));
    all.append(copies);
  }
  return py::make_tuple(all, state.sizes, state.steps);
}

template <class T>
void set_state(UpdaterHandle<T>& self, const std::vector<std::vector<Array<T>>>& arrays, std::vector<Index> sizes,
               Index steps) {
  UpdaterState<T> state{{}, std::move(sizes), steps};
  for (const std::vector<Array<T>>& of_state : arrays) state.arrays.push_back(copied(of_state));
  self.updater.set_state(state);
}

template <class T>
void bind_updater_of(py::module_& m, const char* name) {
  py::class_<UpdaterHandle<T>>(m, name)
      .def(py::init<const std::string&, const std::optional<PythonRate>&>(), py::arg("config"), py::arg("rate"))
      .def("step", &update<T>, py::arg("parameters").noconvert(), py::arg("gradients").noconvert(), py::arg("where"))
      .def("state", &state<T>)
      .def("set_state", &set_state<T>, py::arg("arrays"), py::arg("sizes"), py::arg("steps"))
      .def_property_readonly("steps", [](const UpdaterHandle<T>& self) { return self.updater.steps(); });
}

// `cost` writes the gradient at `point`, which it shares, into its argument and returns the value. It holds the GIL, and
// what it raises passes through the core. Its argument is an array of its own, since a traceback may keep it.
std::vector<double> minimize_point(const std::string& config, const std::optional<PythonRate>& rate,
                                   Array<double> point, const py::function& cost, Index steps) {
  const auto call = [&](std::span<const double>, std::span<double> gradient) {
    const Array<double> out(static_cast<py::ssize_t>(gradient.size()));
    const double value = call_python(cost, out).cast<double>();
    std::copy_n(out.data(), gradient.size(), gradient.begin());
    return value;
  };
  const auto keep_going = [] {
    check_signals();
    return true;
  };
  return minimize(call, {point.mutable_data(), static_cast<std::size_t>(point.size())}, optimizer_from(config, rate),
                  steps, keep_going);
}

Array<double> rates(const std::string& schedule, const std::optional<PythonRate>& custom, Index first, Index count) {
  const LearningRate rate = learning_rate_of(schedule, custom);
  Array<double> values(count);
  double* out = values.mutable_data();
  for (Index i = 0; i < count; ++i) out[i] = rate(first + i);
  return values;
}

// average_t = average_{t-1} + a * (x_t - average_{t-1}) for each column, with a = 1 - beta; the bias is corrected by
// a = (1 - beta) / (1 - beta^t), which is the same as dividing by 1 - beta^t but leaves constants as they are.
Array<double> ewa(const Array<double>& x, double beta, bool bias_correction) {
  const MatrixView<const double> input = matrix_view("ewa", x);
  Array<double> out({input.rows, input.cols});
  double* average = out.mutable_data();
  const ReleasedGil released;
  std::vector<double> state(static_cast<std::size_t>(input.cols), 0.0);
  double weight = 0.0;  // 1 - beta^t
  for (Index t = 0; t < input.rows; ++t) {
    weight = beta * weight + (1.0 - beta);
    const double* row = input.data + t * input.stride;
    for (Index j = 0; j < input.cols; ++j) {
      double& value = state[static_cast<std::size_t>(j)];
      if (bias_correction) {
        value = t == 0 ? row[j] : value + (1.0 - beta) / weight * (row[j] - value);
      } else {
        value = beta * value + (1.0 - beta) * row[j];
      }
      average[t * input.cols + j] = value;
    }
  }
  return out;
}

}  // namespace

void bind_optimizers(py::module_& m) {
  bind_updater_of<float>(m, "ParameterUpdaterFloat32");
  bind_updater_of<double>(m, "ParameterUpdaterFloat64");
  m.def("minimize", &minimize_point, py::arg("config"), py::arg("rate"), py::arg("point").noconvert(), py::arg("cost"),
        py::arg("steps"));
  m.def("schedule_rates", &rates, py::arg("schedule"), py::arg("rate"), py::arg("first"), py::arg("count"));
  m.def("ewa", &ewa, py::arg("x").noconvert(), py::arg("beta"), py::arg("bias_correction"));
}

}  // namespace stoop::python
