// An update in pieces: forward, backward, apply, and what is done between them.
#include <span>

#include <pybind11/pybind11.h>

#include "bindings.hpp"
#include "gil.hpp"
#include "numpy_view.hpp"
#include "trainer_handle.hpp"

namespace stoop::python {
namespace {

template <class T>
Array<T> forward(const py::object& object, const py::array& x, bool training, bool dropout) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  const Pin pin(x);
  const InputView input = input_view("Trainer.forward", x);
  Array<T> out({input.rows, self.model.output_dim()});
  const MatrixView<T> output = matrix(out.mutable_data(), input.rows, self.model.output_dim());
  without_gil([&](const KeepGoing& keep_going) {
    self.trainer.forward(input, output, {.training = training, .dropout = dropout}, keep_going);
  });
  return out;
}

template <class T>
py::object backward(const py::object& object, const Array<T>& grad_output, bool input_gradient) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  const Pin pin(grad_output);
  const MatrixView<const T> gradient = matrix_view("Trainer.backward", grad_output);
  Array<T> out({input_gradient ? gradient.rows : 0, self.model.input_dim()});
  MatrixView<T> output;
  if (input_gradient) output = matrix(out.mutable_data(), gradient.rows, self.model.input_dim());
  without_gil([&](const KeepGoing& keep_going) { self.trainer.backward(gradient, output, keep_going); });
  return input_gradient ? py::object(out) : py::none();
}

template <class T>
double apply(const py::object& object) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  return without_gil([&](const KeepGoing& keep_going) { return self.trainer.apply(keep_going); });
}

// The views keep the trainer alive.
template <class T>
py::dict gradients(const py::object& object) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  const std::span<T> block = self.trainer.gradient_block();
  return parameter_views(self.model.parameter_infos(), block.data(), object);
}

template <class T>
void zero_grad(TrainerHandle<T>& self) {
  const Exclusive exclusive = self.enter();
  self.trainer.zero_grad();
}

}  // namespace

template <class T>
void bind_pieces(py::class_<TrainerHandle<T>>& trainer) {
  trainer.def("forward", &forward<T>, py::arg("x").noconvert(), py::arg("training"), py::arg("dropout"))
      .def("takes_gradient",
           [](const TrainerHandle<T>&, const py::object& gradient) { return is_ready<T>(gradient, 2); })
      .def("backward", &backward<T>, py::arg("grad_output").noconvert(), py::arg("input_gradient"))
      .def("gradients", &gradients<T>)
      .def("apply", &apply<T>)
      .def("zero_grad", &zero_grad<T>);
}

template void bind_pieces(py::class_<TrainerHandle<float>>&);
template void bind_pieces(py::class_<TrainerHandle<double>>&);

}  // namespace stoop::python
