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
#include "output_view.hpp"

namespace stoop::python {
namespace {

using ReleaseGil = py::call_guard<ReleasedGil>;

// These take the object itself, so that it lives as long as the core uses it, whatever references are dropped.
template <class T>
Array<T> predict(const py::object& self, const py::array& x, int most_threads) {
  const auto& model = self.cast<const Model<T>&>();
  const Pin pin(x);
  const InputView input = input_view("Model.predict", x);
  Array<T> out({input.rows, model.output_dim()});
  const MatrixView<T> output = matrix(out.mutable_data(), input.rows, model.output_dim());
  without_gil([&](const KeepGoing& keep_going) { model.predict(input, output, keep_going, most_threads); });
  return out;
}

template <class T>
void adapt(const py::object& self, const py::array& x) {
  auto& model = self.cast<Model<T>&>();
  const Pin pin(x);
  const InputView input = input_view("Model.adapt", x);
  without_gil([&](const KeepGoing& keep_going) { model.adapt(input, keep_going); });
}

// Returns a view of an array of the caller's that gets the outputs.
template <class T>
MatrixView<T> output_view(const Model<T>& model, const py::object& out, const py::array& x) {
  constexpr const char* kWhere = "Model.predict";
  const Index rows = x.shape(0), cols = model.output_dim();
  const py::array array = checked_output<T>(kWhere, out, {rows, cols}, x);
  refuse_own_memory(kWhere, array, model);
  const py::ssize_t stride = rows > 1 ? array.strides(0) / static_cast<py::ssize_t>(sizeof(T)) : cols;
  return {static_cast<T*>(const_cast<void*>(array.data())), rows, cols, stride};
}

template <class T>
void predict_into(const py::object& self, const py::array& x, const py::object& out, int most_threads) {
  const auto& model = self.cast<const Model<T>&>();
  const Pin pin(x);
  const InputView input = input_view("Model.predict", x);
  const MatrixView<T> output = output_view(model, out, x);
  const Pin out_pin(py::reinterpret_borrow<py::array>(out));
  without_gil([&](const KeepGoing& keep_going) { model.predict(input, output, keep_going, most_threads); });
}

template <class T>
void check_out(const Model<T>& model, const py::array& x, const py::object& out) {
  output_view(model, out, x);
}

template <class T>
Array<T> input_gradient(const py::object& self, const py::array& x, const Array<T>& grad_output) {
  const auto& model = self.cast<const Model<T>&>();
  const Pin pin(x), gradient_pin(grad_output);
  const InputView input = input_view("Model.input_gradient", x);
  const MatrixView<const T> gradient = matrix_view("Model.input_gradient", grad_output);
  Array<T> out({input.rows, model.input_dim()});
  const MatrixView<T> output = matrix(out.mutable_data(), input.rows, model.input_dim());
  without_gil([&](const KeepGoing& keep_going) { model.input_gradient(input, gradient, output, keep_going); });
  return out;
}

template <class T>
Array<T> jacobian(const py::object& self, const py::array& x) {
  const auto& model = self.cast<const Model<T>&>();
  const Pin pin(x);
  const InputView input = input_view("Model.jacobian", x);
  const Index outputs = model.output_dim(), inputs = model.input_dim();
  Array<T> out({input.rows, outputs, inputs});
  const MatrixView<T> output = matrix(out.mutable_data(), input.rows, outputs * inputs);
  without_gil([&](const KeepGoing& keep_going) { model.jacobian(input, output, keep_going); });
  return out;
}

template <class T>
void soft_update(const py::object& self, const py::object& source, double tau) {
  auto& model = self.cast<Model<T>&>();
  const auto& from = source.cast<const Model<T>&>();
  const ReleasedGil released;
  model.soft_update(from, tau);
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
  const std::optional<ClassNames> classes = model.config_now().classes;
  return classes ? std::optional(NamesAndType(classes->names, classes->dtype)) : std::nullopt;
}

template <class T>
void set_classes(Model<T>& model, const std::optional<NamesAndType>& classes) {
  model.set_classes(classes ? std::optional(ClassNames{classes->first, classes->second}) : std::nullopt);
}

template <class T>
std::optional<std::string> output(const Model<T>& model) {
  const std::optional<OutputKind> output = model.output();
  return output ? std::optional(std::string(name_of(*output))) : std::nullopt;
}

template <class T>
void set_output(Model<T>& model, const std::optional<std::string>& name) {
  model.set_output(name ? std::optional(output_from_name(*name, "Model")) : std::nullopt);
}

// The shift of a Normalization takes away digits that float32 lacks, and codes may be larger than it holds.
bool takes_exact_input(const ModelConfig& config) {
  const Layer& first = config.layers.front();
  return std::holds_alternative<Columns>(first) || std::holds_alternative<Normalization>(first);
}

// The layer at a place: its number in the model, then, where that is a Residual, its number among those within, and so on.
const std::vector<Layer>& layers_at(const ModelConfig& config, const std::vector<std::size_t>& path) {
  const std::vector<Layer>* layers = &config.layers;
  for (const std::size_t place : path) layers = &std::get<Residual>(layers->at(place)).layers;
  return *layers;
}

std::string layer_config(const ModelConfig& config, std::vector<std::size_t> path) {
  const std::size_t last = path.back();
  path.pop_back();
  return layer_to_json(layers_at(config, path).at(last));
}

template <class T>
void bind_model_of(py::module_& m, const char* name) {
  py::class_<Model<T>>(m, name)
      .def(py::init([](std::string_view config) { return Model<T>(model_config_from_json(config)); }),
           py::arg("config"))
      .def_property_readonly("input_dim", &Model<T>::input_dim)
      .def_property_readonly("output_dim", &Model<T>::output_dim)
      .def_property_readonly("members", &Model<T>::members)
      .def_property_readonly("num_parameters", &Model<T>::num_parameters)
      .def_property_readonly("input_scale", [](const Model<T>& model) { return model.config().input_scale; })
      .def_property_readonly("input_shift", [](const Model<T>& model) { return model.config().input_shift; })
      .def_property("output", &output<T>, &set_output<T>)
      .def_property("classes", &classes<T>, &set_classes<T>)
      .def_property(
          "metadata", [](const Model<T>& model) { return model.config_now().metadata; }, &Model<T>::set_metadata)
      .def("set_output_by_training",
           [](Model<T>& model, std::string_view output) { model.set_output_by_training(output_from_name(output)); })
      .def_property_readonly("output_is_given", &Model<T>::output_is_given)
      .def("config", [](const Model<T>& model) { return to_json(model.config_now()); })
      .def_property_readonly("takes_exact_input",
                             [](const Model<T>& model) { return takes_exact_input(model.config()); })
      .def("layer_count", [](const Model<T>& model,
                             const std::vector<std::size_t>& path) { return layers_at(model.config(), path).size(); })
      .def("layer_config", [](const Model<T>& model,
                              const std::vector<std::size_t>& path) { return layer_config(model.config(), path); })
      .def("parameters", &parameters<T>)
      .def("buffers", &buffers<T>)
      .def("predict", &predict<T>, py::arg("x").noconvert(), py::arg("most_threads") = 0)
      .def("predict_into", &predict_into<T>, py::arg("x").noconvert(), py::arg("out"), py::arg("most_threads") = 0)
      .def("check_out", &check_out<T>, py::arg("x").noconvert(), py::arg("out"))
      .def("adapt", &adapt<T>, py::arg("x").noconvert())
      .def_property_readonly("is_adapted", &Model<T>::is_adapted)
      .def("input_gradient", &input_gradient<T>, py::arg("x").noconvert(), py::arg("grad_output").noconvert())
      .def("jacobian", &jacobian<T>, py::arg("x").noconvert())
      .def("soft_update", &soft_update<T>, py::arg("source"), py::arg("tau"))
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
  m.def("memory_of_values", &memory_of_values, py::arg("text"));
  m.attr("MOST_NESTED_RESIDUALS") = kMostNestedResiduals;
}

}  // namespace stoop::python
