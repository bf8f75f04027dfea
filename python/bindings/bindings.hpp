// What each bind_*.cpp offers to module.cpp.
#pragma once

#include <pybind11/pybind11.h>

namespace stoop::python {

namespace py = pybind11;

void bind_errors(py::module_& m);  // first: the others may throw
void bind_runtime(py::module_& m);
void bind_machine(py::module_& m);
void bind_model(py::module_& m);
void bind_predictor(py::module_& m);
void bind_world(py::module_& m);
void bind_ensemble(py::module_& m);
void bind_trainer(py::module_& m);
void bind_augment(py::module_& m);
void bind_fit_many(py::module_& m);
void bind_checkpoint(py::module_& m);
void bind_clip_grad_norm(py::module_& m);
void bind_optimizers(py::module_& m);
void bind_gradcheck(py::module_& m);
void bind_specs(py::module_& m);

}  // namespace stoop::python
