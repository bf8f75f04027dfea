// Checks of arrays of the caller's that get outputs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "numpy_view.hpp"

namespace stoop::python {

// Returns the first byte of the elements, and the byte after the last. No stride is negative.
inline std::pair<std::uintptr_t, std::uintptr_t> extent_of(const py::array& array) {
  const auto begin = reinterpret_cast<std::uintptr_t>(array.data());
  py::ssize_t last = array.itemsize();
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) last += (array.shape(axis) - 1) * array.strides(axis);
  return {begin, begin + static_cast<std::uintptr_t>(last)};
}

[[noreturn]] inline void refuse_shared_memory(const char* where) {
  throw_value_error(where, "out shares memory with X or with a model", "expected memory of its own",
                    "make it with numpy.empty");
}

// Refuses an array that overlaps the parameters or statistics of a model that is to write there.
template <class T>
void refuse_own_memory(const char* where, const py::array& out, const Model<T>& model) {
  const auto extent = extent_of(out);
  for (const std::span<const T> block : {model.parameter_block(), model.buffer_block()}) {
    const auto begin = reinterpret_cast<std::uintptr_t>(block.data());
    if (extent.first < begin + block.size_bytes() && begin < extent.second) refuse_shared_memory(where);
  }
}

// Returns whether the elements of a row are neighbours, and whether rows, and matrices of rows, do not overlap.
inline bool has_apart_rows(const py::array& array) {
  const py::ssize_t size = array.itemsize(), last = array.ndim() - 1, cols = array.shape(last);
  std::vector<std::pair<py::ssize_t, py::ssize_t>> axes;  // stride and length, the shorter steps first
  for (py::ssize_t axis = 0; axis < last; ++axis) {
    if (array.shape(axis) > 1) axes.emplace_back(array.strides(axis), array.shape(axis));
  }
  std::sort(axes.begin(), axes.end());
  py::ssize_t extent = cols * size;
  for (const auto& [stride, count] : axes) {
    if (stride < extent || stride % size != 0) return false;
    extent += (count - 1) * stride;
  }
  return cols <= 1 || array.strides(last) == size;
}

// Returns `out` as an array. It must be of the type T and of this shape, with contiguous rows, which may be apart, and share
// no memory with x.
template <class T>
py::array checked_output(const char* where, const py::object& out, const std::vector<Index>& shape,
                         const py::array& x) {
  const std::string type = kDType<T> == DType::float32 ? "float32" : "float64";
  const std::string expected = py::str(py::tuple(py::cast(shape)));
  if (!py::isinstance<py::array_t<T>>(out)) {
    throw_type_error(where,
                     "out is " + in_quotes(std::string(py::str(py::type::handle_of(out).attr("__name__")))) +
                         (py::isinstance<py::array>(out) ? " of " + std::string(py::str(out.attr("dtype"))) : ""),
                     "expected an array of " + type, "make it with numpy.empty(" + expected + ", \"" + type + "\")");
  }
  const auto array = py::reinterpret_borrow<py::array>(out);
  if (!std::equal(shape.begin(), shape.end(), array.shape(), array.shape() + array.ndim())) {
    throw_value_error(where, "out has shape " + std::string(py::str(out.attr("shape"))), "expected " + expected,
                      "one row per sample, one column per output");
  }
  const bool aligned = (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
  if (!has_apart_rows(array) || !aligned) {
    throw_value_error(where, "the rows of out are not contiguous", "expected row-major order",
                      "make it with numpy.empty");
  }
  if (!array.writeable())
    throw_value_error(where, "out is read-only", "expected an array that may be written to", "give another");
  const auto written = extent_of(array), read = extent_of(x);
  if (written.first < read.second && read.first < written.second) refuse_shared_memory(where);
  return array;
}

}  // namespace stoop::python
