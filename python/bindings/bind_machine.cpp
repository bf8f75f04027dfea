// What the core was built with, the BLAS it has loaded, and what the machine can do at most.
#include <string>
#include <string_view>

#include <pybind11/pybind11.h>

#include <stoop/error.hpp>
#include <stoop/runtime.hpp>

#include "bindings.hpp"
#include "gil.hpp"

namespace stoop::python {
namespace {

py::dict blas_dict() {
  const BlasInfo info = blas_info();
  py::dict dict;
  dict["loaded"] = info.loaded;
  dict["path"] = info.path;
  dict["config"] = info.config;
  dict["error"] = info.error;
  return dict;
}

py::dict build_dict() {
  const BuildInfo info = build_info();
  py::dict dict;
  dict["version"] = info.version;
  dict["compiler"] = info.compiler;
  dict["flags"] = info.flags;
  dict["build_type"] = info.build_type;
  dict["cuda"] = info.cuda;
  return dict;
}

double fma_peak(std::string_view dtype, int threads) {
  const ReleasedGil released;
  if (dtype == "float32") return measure_fma_peak<float>(threads);
  if (dtype == "float64") return measure_fma_peak<double>(threads);
  throw_value_error("measure_fma_peak", "dtype \"" + std::string(dtype) + "\"", "expected float32 or float64",
                    "use one of these");
}

double memory_bandwidth(int threads) {
  const ReleasedGil released;
  return measure_memory_bandwidth(threads);
}

}  // namespace

void bind_machine(py::module_& m) {
  m.def("build_info", &build_dict);
  m.def("set_blas_path", &set_blas_path, py::arg("path"));
  m.def("blas_info", &blas_dict);
  m.def("measure_fma_peak", &fma_peak, py::arg("dtype"), py::arg("threads"));
  m.def("measure_memory_bandwidth", &memory_bandwidth, py::arg("threads"));
  m.def("measure_core_latency", &measure_core_latency, py::call_guard<ReleasedGil>());
}

}  // namespace stoop::python
