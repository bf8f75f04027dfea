// Model<T> as ModelFloat32 and ModelFloat64: built from JSON, parameters shared with NumPy.
#include <filesystem>
#include <string>
#include <string_view>

#include <pybind11/pybind11.h>
#include <pybind11/stl/filesystem.h>

#include <stoop/model.hpp>

#include "bindings.hpp"
#include "gil.hpp"
#include "io/config_json.hpp"
#include "numpy_view.hpp"

namespace stoop::python {
namespace {

using ReleaseGil = py::call_guard<ReleasedGil>;

// These take the object itself, so that it lives as long as the core is in it, whatever others let go of.
template <class T>
Array<T> predict(const py::object& self, const py::array& x) {
  const auto& model = self.cast<const Model<T>&>();
  const Pin pin(x);
  const InputView input = input_view("predict", x);
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

template <class T>
Model<T> load(const std::filesystem::path& path) {
  return without_gil([&](const KeepGoing& keep_going) { return Model<T>::load(path, keep_going); });
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
      .def("config", [](const Model<T>& model) { return to_json(model.config()); })
      .def("parameters", &parameters<T>)
      .def("buffers", &buffers<T>)
      .def("predict", &predict<T>, py::arg("x").noconvert())
      .def(
          "takes", [](const Model<T>& model, const py::object& x) { return are_ready_samples(x, model.input_dim()); },
          py::arg("x"))
      .def("save", &save<T>, py::arg("path"))
      .def_static("load", &load<T>, py::arg("path"))
      .def("copy", &copy<T>);
}

std::string dtype_of_file(const std::filesystem::path& path) {
  return file_dtype(path) == DType::float32 ? "float32" : "float64";
}

}  // namespace

void bind_model(py::module_& m) {
  bind_model_of<float>(m, "ModelFloat32");
  bind_model_of<double>(m, "ModelFloat64");
  m.def("file_dtype", &dtype_of_file, py::arg("path"), ReleaseGil());
}

}  // namespace stoop::python
