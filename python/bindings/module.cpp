// The table of contents of stoop._core. Each concept is bound in the file of its name.
#include "bindings.hpp"
#include "numpy_view.hpp"

// Free-threaded Python need not turn the GIL on: what threads share here has its own lock or flag, and NumPy sees to its arrays.
PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  m.doc() = "The compiled core. Private: use the classes of the package, which check, convert and document.";
  // Otherwise this would be made at the first use, perhaps by a daemon thread while the interpreter ends. An import is too late
  // then.
  stoop::python::load_numpy();
  stoop::python::bind_errors(m);
  stoop::python::bind_runtime(m);
  stoop::python::bind_machine(m);
  stoop::python::bind_model(m);
  stoop::python::bind_predictor(m);
  stoop::python::bind_world(m);
  stoop::python::bind_ensemble(m);
  stoop::python::bind_trainer(m);
  stoop::python::bind_augment(m);
  stoop::python::bind_fit_many(m);
  stoop::python::bind_checkpoint(m);
  stoop::python::bind_clip_grad_norm(m);
  stoop::python::bind_optimizers(m);
  stoop::python::bind_gradcheck(m);
  stoop::python::bind_specs(m);
}
