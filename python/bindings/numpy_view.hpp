// The only place where NumPy arrays become views of the core. Nothing is copied here except int64 classes.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <stoop/error.hpp>
#include <stoop/model.hpp>
#include <stoop/trainer.hpp>

namespace stoop::python {

namespace py = pybind11;

// A row-major array of exactly this element type. Bind it with .noconvert(): the Python layer converts, and says so.
template <class T>
using Array = py::array_t<T, py::array::c_style>;

template <class T>
MatrixView<const T> matrix_view(const char* where, const Array<T>& array) {
  if (array.ndim() != 2) {
    throw_value_error(where, "an array with " + std::to_string(array.ndim()) + " dimensions", "expected 2 dimensions",
                      "give (n_samples, n_columns)");
  }
  return matrix<const T>(array.data(), array.shape(0), array.shape(1));
}

// The table of NumPy's functions, which is looked up once.
inline void load_numpy() { py::detail::npy_api::get(); }

// Returns whether the memory is that of a file: a numpy.memmap, an array made from an mmap, or a view of one.
inline bool is_mapped(const py::array& array) {
  py::object base = array.base();
  while (base && py::isinstance<py::array>(base)) base = py::reinterpret_borrow<py::array>(base).base();
  if (!base) return false;
  if (PyMemoryView_Check(base.ptr())) base = base.attr("obj");
  const auto module = py::reinterpret_steal<py::object>(PyImport_GetModule(py::str("mmap").ptr()));
  if (!module) PyErr_Clear();  // not imported: there can be none
  return module && !base.is_none() && py::isinstance(base, module.attr("mmap"));
}

// Keeps the memory of an array in its place while the GIL is free. NumPy's `resize` frees it, even if there is a view, if it is
// told not to count references (refcheck=False), but never while there is a weak reference.
class Pin {
 public:
  explicit Pin(const py::array& array) {
    py::handle owner = array;
    for (py::handle base = owner; base && py::isinstance<py::array>(base);) {
      owner = base;
      base = py::detail::array_proxy(owner.ptr())->base;
    }
    weak_ = py::reinterpret_steal<py::object>(PyWeakref_NewRef(owner.ptr(), nullptr));
    if (!weak_) throw py::error_already_set();
  }

 private:
  py::object weak_;
};

// Returns whether an object is an array of this type and rank that the core reads as it is. Subclasses are not, because the
// Python layer has to see them: some elements of a masked array do not count.
template <class T>
bool is_ready(const py::handle& object, py::ssize_t rank) {
  if (Py_TYPE(object.ptr()) != py::detail::npy_api::get().PyArray_Type_) return false;
  const auto array = py::reinterpret_borrow<py::array>(object);
  const bool aligned = (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
  return array.ndim() == rank && aligned && py::isinstance<Array<T>>(object);
}

// Returns whether the checks of the Python layer would let samples through as they are. The layer asks this first, because
// its own checks take a tenth of the time of a small step or of the prediction of one row.
inline bool are_ready_samples(const py::handle& x, Index cols) {
  if (!is_ready<float>(x, 2) && !is_ready<double>(x, 2) && !is_ready<std::uint8_t>(x, 2)) return false;
  const auto array = py::reinterpret_borrow<py::array>(x);
  return array.shape(0) > 0 && array.shape(1) == cols;
}

// Returns whether all integers are class indices 0 .. outputs - 1; others may be names. It combines bits without a branch: v
// or outputs-1 - v has the highest bit set if v is outside.
template <class Integer>
bool are_indices(const py::array& classes, Index outputs) {
  using Bits = std::make_unsigned_t<Integer>;
  const auto* values = static_cast<const Integer*>(classes.data());
  const py::ssize_t size = classes.size();
  const auto last = static_cast<Bits>(outputs - 1);
  Bits all = 0;
  for (py::ssize_t i = 0; i < size; ++i) {
    const auto v = static_cast<Bits>(values[i]);
    all |= v | (last - v);
  }
  return all >> (8 * sizeof(Bits) - 1) == 0;
}

// Returns whether all numbers are from 0 to 1. A label of one output may have other names.
template <class T>
bool are_probabilities(const py::array& labels) {
  const auto* values = static_cast<const T*>(labels.data());
  const py::ssize_t size = labels.size();
  bool all = true;
  for (py::ssize_t i = 0; i < size; ++i) all &= values[i] >= T(0) && values[i] <= T(1);
  return all;
}

// The same for targets of that many rows: values of the model's type T, or class indices where the loss takes them.
template <class T>
bool are_ready_targets(const py::handle& y, Index rows, Index outputs, LossKind loss) {
  const bool values = is_ready<T>(y, 2);
  if (!values && !(takes_classes(loss) && (is_ready<std::int64_t>(y, 1) || is_ready<std::int32_t>(y, 1)))) return false;
  const auto array = py::reinterpret_borrow<py::array>(y);
  if (array.shape(0) != rows || (values && array.shape(1) != target_columns(loss, outputs))) return false;
  if (!values) {
    return array.itemsize() == 8 ? are_indices<std::int64_t>(array, outputs)
                                 : are_indices<std::int32_t>(array, outputs);
  }
  return !takes_labels(loss) || outputs > 1 || are_probabilities<T>(array);
}

// Returns a view of samples of any type that the core reads in place. Rows may be apart, but not their elements. Pin the array
// as well.
inline InputView input_view(const char* where, const py::array& array) {
  if (array.ndim() != 2) {
    throw_value_error(where, "an array with " + std::to_string(array.ndim()) + " dimensions", "expected 2 dimensions",
                      "give (n_samples, n_columns)");
  }
  const py::ssize_t rows = array.shape(0), cols = array.shape(1), size = array.itemsize();
  const py::ssize_t stride = rows > 1 ? array.strides(0) : cols * size;
  if ((cols > 1 && array.strides(1) != size) || stride % size != 0 || stride < cols * size) {
    throw_value_error(where, "rows of X that do not lie one after the other", "expected row-major order",
                      "use numpy.ascontiguousarray");
  }
  const auto view = [&]<class T>(const T* data) {
    InputView x = MatrixView<const T>{data, rows, cols, stride / size};
    x.mapped = is_mapped(array);
    return x;
  };
  if (py::isinstance<py::array_t<float>>(array)) return view(static_cast<const float*>(array.data()));
  if (py::isinstance<py::array_t<double>>(array)) return view(static_cast<const double*>(array.data()));
  if (py::isinstance<py::array_t<std::uint8_t>>(array)) return view(static_cast<const std::uint8_t*>(array.data()));
  throw_type_error(where, "X is an array of " + std::string(py::str(array.dtype())),
                   "expected float32, float64 or uint8", "convert it first");
}

// int64 is NumPy's integer, int32 the core's. Narrowing here saves the caller a NumPy pass per step.
inline std::vector<std::int32_t> narrow_classes(const char* where, std::span<const std::int64_t> classes) {
  std::vector<std::int32_t> narrowed(classes.size());
  for (std::size_t row = 0; row < classes.size(); ++row) {
    const std::int64_t label = classes[row];
    narrowed[row] = static_cast<std::int32_t>(label);
    if (narrowed[row] != label) {
      throw_value_error(where, "y holds class " + std::to_string(label) + " in row " + std::to_string(row),
                        "expected 0 <= class < n_outputs", "number the classes from 0");
    }
  }
  return narrowed;
}

// A weight per sample (n), or per target (n, n_outputs), or none.
template <class T>
using Weights = std::optional<Array<T>>;

// Targets that borrow from NumPy arrays: (n) int32 or int64 classes, or (n, n_outputs) values of type T, and weights. The
// arrays must outlive it, and are pinned.
template <class T>
class TargetsView {
 public:
  TargetsView(const char* where, const py::array& y, const Weights<T>& weights = std::nullopt) {
    const auto size = static_cast<std::size_t>(y.size());
    if (y.ndim() == 1 && py::isinstance<Array<std::int32_t>>(y)) {
      targets_ = std::span(static_cast<const std::int32_t*>(y.data()), size);
      pin_.emplace(y);
    } else if (y.ndim() == 1 && py::isinstance<Array<std::int64_t>>(y)) {
      narrowed_ = narrow_classes(where, {static_cast<const std::int64_t*>(y.data()), size});
      targets_ = std::span<const std::int32_t>(narrowed_);
    } else if (y.ndim() == 2 && py::isinstance<Array<T>>(y)) {
      targets_ = matrix<const T>(static_cast<const T*>(y.data()), y.shape(0), y.shape(1));
      pin_.emplace(y);
    } else {
      throw_type_error(where, "y is an array of " + std::string(py::str(y.dtype())),
                       "expected (n) int32 or int64 classes, or (n, n_outputs) values of the model's dtype",
                       "convert it first");
    }
    if (!weights) return;
    if (weights->ndim() == 2) {
      targets_.element_weights = matrix<const T>(weights->data(), weights->shape(0), weights->shape(1));
    } else {
      targets_.weights = {weights->data(), static_cast<std::size_t>(weights->size())};
    }
    weights_pin_.emplace(*weights);
  }
  TargetsView(const TargetsView&) = delete;
  TargetsView& operator=(const TargetsView&) = delete;

  const Targets<T>& get() const { return targets_; }

 private:
  std::vector<std::int32_t> narrowed_;
  Targets<T> targets_;
  std::optional<Pin> pin_, weights_pin_;
};

template <class T>
py::array_t<T> copied(const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

template <class T>
std::vector<T> copied(const Array<T>& values) {
  return {values.data(), values.data() + values.size()};
}

template <class T>
std::vector<std::vector<T>> copied(const std::vector<Array<T>>& arrays) {
  std::vector<std::vector<T>> out;
  for (const Array<T>& array : arrays) out.push_back(copied(array));
  return out;
}

// Returns writable views into `block` by name. It is laid out as Model::parameter_block(), and `base` keeps it alive.
template <class T>
py::dict parameter_views(const std::vector<ParameterInfo>& infos, T* block, const py::object& base) {
  py::dict views;
  for (const ParameterInfo& info : infos) {
    std::vector<py::ssize_t> shape{static_cast<py::ssize_t>(info.cols)};
    if (info.rank > 1) shape.insert(shape.begin(), static_cast<py::ssize_t>(info.rows / info.members));
    if (info.rank > 2) shape.insert(shape.begin(), static_cast<py::ssize_t>(info.members));
    views[py::str(info.name)] = py::array_t<T>(shape, block + info.offset, base);
  }
  return views;
}

}  // namespace stoop::python
