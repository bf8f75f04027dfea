// How exceptions of the core look in Python, and the wording of a name that nobody knows.
#include <cerrno>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stoop/error.hpp>

#include "bindings.hpp"

namespace stoop::python {
namespace {

// Owned by the module for the life of the process; an exception translator cannot carry state of its own.
PyObject* checkpoint_error = nullptr;
PyObject* non_finite_loss_error = nullptr;

// A class that shows as stoop.<name>, the place where users import it from.
PyObject* new_exception(py::module_& m, const char* name, const char* doc, PyObject* base, const py::dict& attributes) {
  const std::string qualified = std::string("stoop.") + name;
  PyObject* type = PyErr_NewExceptionWithDoc(qualified.c_str(), doc, base, attributes.ptr());
  if (type == nullptr) throw py::error_already_set();
  m.attr(name) = py::reinterpret_borrow<py::object>(type);
  return type;
}

void raise_non_finite_loss(const NonFiniteLossError& error) {
  py::object instance = py::reinterpret_borrow<py::object>(non_finite_loss_error)(error.what());
  instance.attr("step") = error.step;
  instance.attr("epoch") = error.epoch;
  instance.attr("cause") = error.cause;
  instance.attr("layer") = error.layer;
  PyErr_SetObject(non_finite_loss_error, instance.ptr());
}

// Messages and paths may hold bytes that are no UTF-8, because file names may.
py::object text_of(const std::string& text) {
  PyObject* decoded = PyUnicode_DecodeUTF8(text.data(), static_cast<py::ssize_t>(text.size()), "backslashreplace");
  if (decoded == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(decoded);
}

void raise(PyObject* type, const std::exception& error) { PyErr_SetObject(type, text_of(error.what()).ptr()); }

// OSError picks its own subclass (FileNotFoundError, PermissionError, ...) from errno. Windows has other numbers, most of
// which have one of errno that means the same.
void raise_os_error(const FileError& error) {
  const std::error_condition condition = error.code().default_error_condition();
  const int number = condition.category() == std::generic_category() ? condition.value() : EIO;
  const py::object type = py::reinterpret_borrow<py::object>(PyExc_OSError);
  PyObject* decoded = PyUnicode_DecodeFSDefaultAndSize(error.path.data(), static_cast<py::ssize_t>(error.path.size()));
  if (decoded == nullptr) throw py::error_already_set();
  const py::object filename = py::reinterpret_steal<py::object>(decoded);
  py::object instance = type(number, error.code().message(), filename);
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(instance.ptr())), instance.ptr());
}

void translate(std::exception_ptr pending) {
  try {
    if (pending) std::rethrow_exception(pending);
  } catch (const NonFiniteLossError& error) {
    raise_non_finite_loss(error);
  } catch (const FileError& error) {
    raise_os_error(error);
  } catch (const CheckpointError& error) {
    raise(checkpoint_error, error);
  } catch (const TypeError& error) {
    raise(PyExc_TypeError, error);
  } catch (const ValueError& error) {
    raise(PyExc_ValueError, error);
  }
}

void refuse_name(std::string_view where, std::string_view what, std::string_view name,
                 const std::vector<std::string>& valid) {
  const std::vector<std::string_view> names(valid.begin(), valid.end());
  throw_unknown_name(where, what, name, names);
}

}  // namespace

void bind_errors(py::module_& m) {
  checkpoint_error = new_exception(m, "CheckpointError", "A model or checkpoint file that is damaged or does not fit.",
                                   PyExc_ValueError, py::dict());
  py::dict defaults;
  defaults["step"] = 0;
  defaults["epoch"] = 0;
  defaults["cause"] = "";
  defaults["layer"] = "";
  non_finite_loss_error = new_exception(
      m, "NonFiniteLossError",
      "The loss or a gradient became infinite or NaN; the model keeps its last good parameters.\n\n"
      "Attributes\n----------\nstep : int\n    Updates made before the one that failed.\n"
      "epoch : int\n    Epochs completed before it.\ncause : str\n    The likely reason, in words.\n"
      "layer : str\n    The first layer whose values, or whose gradient in the backward pass, were not finite: "
      "``layer 2 (Dense)``,\n    by its number in the names of parameters; ``the input`` after scaling, "
      "``the loss (mse)`` where all\n    outputs are finite. Empty if unknown.",
      PyExc_ArithmeticError, defaults);
  py::register_local_exception_translator(translate);
  m.def("refuse_name", &refuse_name, py::arg("where"), py::arg("what"), py::arg("name"), py::arg("valid"));
}

}  // namespace stoop::python
