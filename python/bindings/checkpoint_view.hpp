// What Python keeps in a checkpoint, as text and arrays.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include <pybind11/pybind11.h>

#include <stoop/checkpoint.hpp>

#include "numpy_view.hpp"

namespace stoop::python {

namespace py = pybind11;

// Copies the arrays, float32 or float64 and contiguous, out of a dict by name.
inline CheckpointExtras extras_of(const std::string& text, const py::dict& arrays) {
  CheckpointExtras extras{text, {}};
  for (const auto& [name, value] : arrays) {
    const auto array = py::cast<py::array>(value);
    CheckpointArray& kept = extras.arrays.emplace_back();
    kept.name = py::cast<std::string>(name);
    kept.dtype = array.itemsize() == 4 ? DType::float32 : DType::float64;
    kept.shape.assign(array.shape(), array.shape() + array.ndim());
    kept.bytes.resize(static_cast<std::size_t>(array.nbytes()));
    std::memcpy(kept.bytes.data(), array.data(), kept.bytes.size());
  }
  return extras;
}

// Returns the arrays as a dict by name.
inline py::dict arrays_of(const CheckpointExtras& extras) {
  py::dict arrays;
  for (const CheckpointArray& kept : extras.arrays) {
    const py::dtype dtype = kept.dtype == DType::float32 ? py::dtype::of<float>() : py::dtype::of<double>();
    py::array array(dtype, std::vector<py::ssize_t>(kept.shape.begin(), kept.shape.end()));
    std::memcpy(array.mutable_data(), kept.bytes.data(), kept.bytes.size());
    arrays[py::str(kept.name)] = array;
  }
  return arrays;
}

}  // namespace stoop::python
