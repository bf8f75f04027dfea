// Ensemble<T> as EnsembleFloat32 and EnsembleFloat64: members that Python objects own.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <stoop/ensemble.hpp>

#include "bindings.hpp"
#include "gil.hpp"
#include "numpy_view.hpp"
#include "output_view.hpp"

namespace stoop::python {
namespace {

// Each pointer keeps its Python object alive.
template <class T>
Ensemble<T> make(const std::vector<py::object>& models) {
  std::vector<std::shared_ptr<Model<T>>> members;
  for (const py::object& model : models) {
    members.emplace_back(&model.cast<Model<T>&>(), [model](Model<T>*) {});
  }
  return Ensemble<T>(std::move(members));
}

template <class T>
void predict_into(const py::object& self, const py::array& x, const py::object& out) {
  constexpr const char* kWhere = "Ensemble.predict";
  const auto& ensemble = self.cast<const Ensemble<T>&>();
  const Pin pin(x);
  const InputView input = input_view(kWhere, x);
  const Index members = ensemble.size(), cols = ensemble.output_dim();
  const py::array array = checked_output<T>(kWhere, out, {members, input.rows, cols}, x);
  for (Index i = 0; i < members; ++i) refuse_own_memory(kWhere, array, ensemble[i]);
  const Pin out_pin(array);
  const py::ssize_t size = sizeof(T);
  const MemberOutputs<T> output{.data = static_cast<T*>(const_cast<void*>(array.data())),
                                .members = members,
                                .rows = input.rows,
                                .cols = cols,
                                .member_stride = members > 1 ? array.strides(0) / size : 0,
                                .row_stride = input.rows > 1 ? array.strides(1) / size : 0};
  without_gil([&](const KeepGoing& keep_going) { ensemble.predict(input, output, keep_going); });
}

template <class T>
Array<T> predict(const py::object& self, const py::array& x) {
  const auto& ensemble = self.cast<const Ensemble<T>&>();
  const Pin pin(x);
  const InputView input = input_view("Ensemble.predict", x);
  Array<T> out({ensemble.size(), input.rows, ensemble.output_dim()});
  const MemberOutputs<T> output{out.mutable_data(), ensemble.size(), input.rows, ensemble.output_dim()};
  without_gil([&](const KeepGoing& keep_going) { ensemble.predict(input, output, keep_going); });
  return out;
}

template <class T>
using MeanAndSpread = std::pair<Array<T>, std::optional<Array<T>>>;

// Calls what writes a mean and a spread of that many columns.
template <class T, class Call>
MeanAndSpread<T> summarize(const char* where, const py::array& x, Index cols, bool with_spread, const Call& call) {
  const Pin pin(x);
  const InputView input = input_view(where, x);
  MeanAndSpread<T> result{Array<T>({input.rows, cols}), std::nullopt};
  const auto view = [&](Array<T>& array) { return matrix(array.mutable_data(), input.rows, cols); };
  if (with_spread) result.second.emplace(std::vector<py::ssize_t>{input.rows, cols});
  const MatrixView<T> mean = view(result.first), spread = with_spread ? view(*result.second) : MatrixView<T>{};
  without_gil([&](const KeepGoing& keep_going) { call(input, mean, spread, keep_going); });
  return result;
}

template <class T>
MeanAndSpread<T> predict_mean(const py::object& self, const py::array& x, bool with_deviation) {
  const auto& ensemble = self.cast<const Ensemble<T>&>();
  return summarize<T>("Ensemble.predict_mean", x, ensemble.output_dim(), with_deviation,
                      [&](auto&&... arguments) { ensemble.predict_mean(arguments...); });
}

template <class T>
MeanAndSpread<T> predict_proba(const py::object& self, const py::array& x, bool with_deviation) {
  const auto& ensemble = self.cast<const Ensemble<T>&>();
  return summarize<T>("Ensemble.predict_proba", x, ensemble.probability_columns(), with_deviation,
                      [&](auto&&... arguments) { ensemble.predict_proba(arguments...); });
}

template <class T>
MeanAndSpread<T> predict_gaussian(const py::object& self, const py::array& x) {
  const auto& ensemble = self.cast<const Ensemble<T>&>();
  return summarize<T>("Ensemble.predict_gaussian", x, ensemble.output_dim() / 2, true,
                      [&](auto&&... arguments) { ensemble.predict_gaussian(arguments...); });
}

template <class T>
void save(const py::object& self, const std::filesystem::path& path) {
  const auto& ensemble = self.cast<const Ensemble<T>&>();
  without_gil([&](const KeepGoing& keep_going) { ensemble.save(path, keep_going); });
}

template <class T>
void bind_ensemble_of(py::module_& m, const char* name) {
  py::class_<Ensemble<T>>(m, name)
      .def(py::init(&make<T>), py::arg("models"))
      .def(
          "takes",
          [](const Ensemble<T>& ensemble, const py::object& x) { return are_ready_samples(x, ensemble.input_dim()); },
          py::arg("x"))
      .def("predict", &predict<T>, py::arg("x").noconvert())
      .def("predict_into", &predict_into<T>, py::arg("x").noconvert(), py::arg("out"))
      .def("predict_mean", &predict_mean<T>, py::arg("x").noconvert(), py::arg("with_deviation"))
      .def("predict_proba", &predict_proba<T>, py::arg("x").noconvert(), py::arg("with_deviation"))
      .def("predict_gaussian", &predict_gaussian<T>, py::arg("x").noconvert())
      .def("save", &save<T>, py::arg("path"));
}

// Returns the models of the members.
py::list load(const std::filesystem::path& path) {
  auto loaded = without_gil([&](const KeepGoing& keep_going) { return load_ensemble(path, keep_going); });
  py::list models;
  const auto take = [&](auto& ensemble) {
    for (Index i = 0; i < ensemble.size(); ++i) models.append(py::cast(std::move(ensemble[i])));
  };
  std::visit(take, loaded);
  return models;
}

}  // namespace

void bind_ensemble(py::module_& m) {
  bind_ensemble_of<float>(m, "EnsembleFloat32");
  bind_ensemble_of<double>(m, "EnsembleFloat64");
  m.def("load_ensemble", &load, py::arg("path"));
}

}  // namespace stoop::python
