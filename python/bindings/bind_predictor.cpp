// Predictor<T> as PredictorFloat32 and PredictorFloat64.
#include <pybind11/pybind11.h>

#include <stoop/predictor.hpp>

#include "bindings.hpp"
#include "gil.hpp"
#include "numpy_view.hpp"
#include "output_view.hpp"

namespace stoop::python {
namespace {

constexpr const char* kWhere = "Predictor.predict";

template <class T>
Predictor<T> make(const py::object& model) {
  const auto& copied = model.cast<const Model<T>&>();
  const ReleasedGil released;
  return Predictor<T>(copied);
}

template <class T>
Array<T> predict(const py::object& self, const py::array& x) {
  const auto& predictor = self.cast<const Predictor<T>&>();
  const Pin pin(x);
  const InputView input = input_view(kWhere, x);
  const Index columns = predictor.model().output_dim();
  Array<T> out({input.rows, columns});
  const MatrixView<T> output = matrix(out.mutable_data(), input.rows, columns);
  without_gil([&](const KeepGoing& keep_going) { predictor.predict(input, output, keep_going); });
  return out;
}

template <class T>
void predict_into(const py::object& self, const py::array& x, const py::object& out) {
  const auto& predictor = self.cast<const Predictor<T>&>();
  const Pin pin(x);
  const InputView input = input_view(kWhere, x);
  const Index columns = predictor.model().output_dim();
  const py::array array = checked_output<T>(kWhere, out, {input.rows, columns}, x);
  const Pin out_pin(array);
  const py::ssize_t stride = input.rows > 1 ? array.strides(0) / static_cast<py::ssize_t>(sizeof(T)) : columns;
  const MatrixView<T> output{static_cast<T*>(const_cast<void*>(array.data())), input.rows, columns, stride};
  without_gil([&](const KeepGoing& keep_going) { predictor.predict(input, output, keep_going); });
}

template <class T>
Model<T> model(const py::object& self) {
  const auto& predictor = self.cast<const Predictor<T>&>();
  const ReleasedGil released;
  return predictor.model();
}

template <class T>
void bind_predictor_of(py::module_& m, const char* name) {
  py::class_<Predictor<T>>(m, name)
      .def(py::init(&make<T>), py::arg("model"))
      .def(
          "takes",
          [](const Predictor<T>& predictor, const py::object& x) {
            return are_ready_samples(x, predictor.model().input_dim());
          },
          py::arg("x"))
      .def("predict", &predict<T>, py::arg("x").noconvert())
      .def("predict_into", &predict_into<T>, py::arg("x").noconvert(), py::arg("out"))
      .def("model", &model<T>);
}

}  // namespace

void bind_predictor(py::module_& m) {
  bind_predictor_of<float>(m, "PredictorFloat32");
  bind_predictor_of<double>(m, "PredictorFloat64");
}

}  // namespace stoop::python
