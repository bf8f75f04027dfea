// Optimizers on bare arrays, the values of schedules, and the exponentially weighted average.
#include <algorithm>
#include <atomic>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stoop/averages.hpp>
#include <stoop/minimize.hpp>
#include <stoop/optimizer_step.hpp>

#include "bindings.hpp"
#include "gil.hpp"
#include "io/config_json.hpp"
#include "learning_rate.hpp"
#include "numpy_view.hpp"

namespace stoop::python {
namespace {

template <class T>
struct UpdaterHandle {
  UpdaterHandle(const std::string& config, const PythonRates& rates, std::string_view where)
      : updater(optimizer_from_json(config, functions_of(rates)), where) {}

  ParameterUpdater<T> updater;
  Gate gate;
};

template <class T>
void update(const py::object& object, std::vector<Array<T>> parameters, const std::vector<Array<T>>& gradients,
            std::string_view where) {
  auto& self = object.cast<UpdaterHandle<T>&>();
  const Exclusive exclusive(self.gate, where, "this optimizer is already updating these arrays",
                            "use arrays of their own for each thread");
  std::vector<std::span<T>> targets;
  std::vector<std::span<const T>> sources;
  for (Array<T>& array : parameters) targets.emplace_back(array.mutable_data(), static_cast<std::size_t>(array.size()));
  for (const Array<T>& array : gradients) sources.emplace_back(array.data(), static_cast<std::size_t>(array.size()));
  std::vector<Pin> pins;
  for (const Array<T>& array : parameters) pins.emplace_back(array);
  for (const Array<T>& array : gradients) pins.emplace_back(array);
  const ReleasedGil released;
  self.updater.step(targets, sources, where);
}

template <class T>
py::tuple state(UpdaterHandle<T>& self) {
  const Exclusive exclusive(self.gate, "optimizer", "this optimizer is updating arrays", "copy it between updates");
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
               Index steps, std::string_view where) {
  const Exclusive exclusive(self.gate, where, "this optimizer is updating arrays", "load the state between updates");
  UpdaterState<T> state{{}, std::move(sizes), steps};
  for (const std::vector<Array<T>>& of_state : arrays) state.arrays.push_back(copied(of_state));
  self.updater.set_state(state, where);
}

template <class T>
void bind_updater_of(py::module_& m, const char* name) {
  py::class_<UpdaterHandle<T>>(m, name)
      .def(py::init<const std::string&, const PythonRates&, std::string_view>(), py::arg("config"), py::arg("rates"),
           py::arg("where"))
      .def("step", &update<T>, py::arg("parameters").noconvert(), py::arg("gradients").noconvert(), py::arg("where"))
      .def("state", &state<T>)
      .def("set_state", &set_state<T>, py::arg("arrays"), py::arg("sizes"), py::arg("steps"), py::arg("where"))
      .def_property_readonly("steps", [](const UpdaterHandle<T>& self) { return self.updater.steps(); });
}

// `cost` writes the gradient at `point`, which it shares, into its argument and returns the value. It holds the GIL, and
// what it raises passes through the core. Its argument is an array of its own, since a traceback may keep it.
std::vector<double> minimize_point(const std::string& config, const PythonRates& rates, Array<double> point,
                                   const py::function& cost, Index steps) {
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
  return minimize(call, {point.mutable_data(), static_cast<std::size_t>(point.size())},
                  optimizer_from_json(config, functions_of(rates)), steps, keep_going);
}

Array<double> schedule_rates(const std::string& schedule, const PythonRates& rates, Index first, Index count) {
  const LearningRate rate = learning_rate_from_json(schedule, functions_of(rates));
  Array<double> values(count);
  double* out = values.mutable_data();
  for (Index i = 0; i < count; ++i) out[i] = rate(first + i);
  return values;
}

void check_optimizer(const std::string& config) { validate(optimizer_from_json(config)); }

void check_schedule(const std::string& schedule, const PythonRates& rates) {
  validate(learning_rate_from_json(schedule, functions_of(rates)));
}

Array<double> average(const Array<double>& x, double beta, bool bias_correction) {
  const MatrixView<const double> input = matrix_view("ewa", x);
  Array<double> out({input.rows, input.cols});
  double* averages = out.mutable_data();
  const ReleasedGil released;
  ewa(input, beta, bias_correction, {averages, static_cast<std::size_t>(input.rows * input.cols)});
  return out;
}

}  // namespace

void bind_optimizers(py::module_& m) {
  bind_updater_of<float>(m, "ParameterUpdaterFloat32");
  bind_updater_of<double>(m, "ParameterUpdaterFloat64");
  m.def("minimize", &minimize_point, py::arg("config"), py::arg("rates"), py::arg("point").noconvert(), py::arg("cost"),
        py::arg("steps"));
  m.def("check_optimizer", &check_optimizer, py::arg("config"));
  m.def("check_schedule", &check_schedule, py::arg("schedule"), py::arg("rates"));
  m.def("schedule_rates", &schedule_rates, py::arg("schedule"), py::arg("rates"), py::arg("first"), py::arg("count"));
  m.def("ewa", &average, py::arg("x").noconvert(), py::arg("beta"), py::arg("bias_correction"));
}

}  // namespace stoop::python
