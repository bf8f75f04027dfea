// Threads, and the instruction sets that are there and in use.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stoop/runtime.hpp>

#include "bindings.hpp"

namespace stoop::python {

void bind_runtime(py::module_& m) {
  m.def("set_num_threads", &set_num_threads, py::arg("n"));
  m.def("get_num_threads", &get_num_threads);
  m.def("usable_cores", &usable_cores);
  m.def("available_isas", &available_isas);
  m.def("active_isa", &active_isa);
  m.def("available_bfloat16", &available_bfloat16);
  m.def("active_bfloat16", &active_bfloat16);
  m.def("active_gemm", &active_gemm);
}

}  // namespace stoop::python
