// Model<T> as ModelFloat32 and ModelFloat64: built from JSON, parameters shared with NumPy.
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <stoop/layers.hpp>
#include <stoop/model.hpp>

#include "bindings.hpp"
#include "gil.hpp"
#include "io/config_json.hpp"
#include "numpy_view.hpp"

namespace stoop::python {
namespace {

using ReleaseGil = py::call_guard<ReleasedGil>;

// These take the object itself, so that it lives as long as the core uses it, whatever references are dropped.
template <class T>
Array<T> predict(const py::object& self, const py::array& x) {
  const auto& model = self.cast<const Model<T>&>();
  const Pin pin(x);
  const InputView input = input_view("Model.predict", x);
  Array<T> out({input.rows, model.output_dim()});
  const MatrixView<T> output = matrix(out.mutable_data(), input.rows, model.output_dim());
  without_gil([&](const KeepGoing& keep_going) { model.predict(input, output, keep_going); });
  return out;
}

template <class T>
Model<T> copy(const py::object& self) {
  const auto& model = self.cast<const Model<T>&>();
  const ReleasedGil released;
  return model;
}

template <class T>
void save(const py::object& self, const std::filesystem::path& path) {
  const auto& model = self.cast<const Model<T>&>();
  without_gil([&](const KeepGoing& keep_going) { model.save(path, keep_going); });
}

// The views' base is the Python object, so that they keep the model alive.
template <class T>
py::dict parameters(const py::object& self) {
  auto& model = self.cast<Model<T>&>();
  return parameter_views(model.parameter_infos(), model.parameter_block().data(), self);
}

template <class T>
py::dict buffers(const py::object& self) {
  auto& model = self.cast<Model<T>&>();
  return parameter_views(model.buffer_infos(), model.buffer_block().data(), self);
}

using NamesAndType = std::pair<std::vector<std::string>, std::string>;

template <class T>
std::optional<NamesAndType> classes(const Model<T>& model) {
  const std::optional<ClassNames>& classes = model.config().classes;
  return classes ? std::optional(NamesAndType(classes->names, classes->dtype)) : std::nullopt;
}

template <class T>
void set_classes(Model<T>& model, const std::optional<NamesAndType>& classes) {
  model.set_classes(classes ? std::optional(ClassNames{classes->first, classes->second}) : std::nullopt);
}

template <class T>
std::optional<std::string> output(const Model<T>& model) {
  const std::optional<OutputKind> output = model.config().output;
  return output ? std::optional(std::string(name_of(*output))) : std::nullopt;
}

template <class T>
void set_output(Model<T>& model, const std::optional<std::string>& name) {
  model.set_output(name ? std::optional(output_from_name(*name, "Model")) : std::nullopt);
}

template <class T>
void bind_model_of(py::module_& m, const char* name) {
  py::class_<Model<T>>(m, name)
      .def(py::init([](std::string_view config) { return Model<T>(model_config_from_json(config)); }),
           py::arg("config"))
      .def_property_readonly("input_dim", &Model<T>::input_dim)
      .def_property_readonly("output_dim", &Model<T>::output_dim)
      .def_property_readonly("num_parameters", &Model<T>::num_parameters)
      .def_property_readonly("input_scale", [](const Model<T>& model) { return model.config().input_scale; })
      .def_property_readonly("input_shift", [](const Model<T>& model) { return model.config().input_shift; })
      .def_property("output", &output<T>, &set_output<T>)
      .def_property("classes", &classes<T>, &set_classes<T>)
      .def("set_output_by_training",
           [](Model<T>& model, std::string_view output) { model.set_output_by_training(output_from_name(output)); })
      .def_property_readonly("output_is_given", &Model<T>::output_is_given)
      .def("config", [](const Model<T>& model) { return to_json(model.config()); })
      .def("parameters", &parameters<T>)
      .def("buffers", &buffers<T>)
      .def("predict", &predict<T>, py::arg("x").noconvert())
      .def(
          "takes", [](const Model<T>& model, const py::object& x) { return are_ready_samples(x, model.input_dim()); },
          py::arg("x"))
      .def("save", &save<T>, py::arg("path"))
      .def("copy", &copy<T>);
}

py::object load(const std::filesystem::path& path) {
  auto model = without_gil([&](const KeepGoing& keep_going) { return load_model(path, keep_going); });
  return std::visit([](auto& loaded) { return py::cast(std::move(loaded)); }, model);
}

}  // namespace

void bind_model(py::module_& m) {
  bind_model_of<float>(m, "ModelFloat32");
  bind_model_of<double>(m, "ModelFloat64");
  m.def("load_model", &load, py::arg("path"));
  m.attr("MOST_NESTED_RESIDUALS") = kMostNestedResiduals;
}

}  // namespace stoop::python
