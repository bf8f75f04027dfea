// The table of contents of stoop._core. Each concept is bound in the file of its name.
#include "bindings.hpp"
#include "numpy_view.hpp"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The compiled core. Private: use the classes of the package, which check, convert and document.";
  // Made at the first use else, which may be that of a daemon thread while the interpreter ends: an import is too late then.
  stoop::python::load_numpy();
  stoop::python::bind_errors(m);
  stoop::python::bind_runtime(m);
  stoop::python::bind_model(m);
  stoop::python::bind_trainer(m);
  stoop::python::bind_optimizers(m);
  stoop::python::bind_gradcheck(m);
  stoop::python::bind_specs(m);
}
