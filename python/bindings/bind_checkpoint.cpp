// The state of a trainer, as Python pickles it and as a checkpoint.
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <stoop/checkpoint.hpp>

#include "checkpoint_view.hpp"
#include "fit_call.hpp"
#include "numpy_view.hpp"
#include "trainer_handle.hpp"

namespace stoop::python {
namespace {

py::tuple tuple_of(const EpochPlace& place) {
  return py::make_tuple(place.row, place.updates, place.loss_sum, place.weight_sum, place.correct, place.grad_norm_sum,
                        place.largest_norm);
}

EpochPlace place_of(const py::tuple& values) {
  return {values[0].cast<Index>(),  values[1].cast<Index>(),  values[2].cast<double>(), values[3].cast<double>(),
          values[4].cast<double>(), values[5].cast<double>(), values[6].cast<double>()};
}

py::tuple tuple_of(const FitRecord& fit) {
  return py::make_tuple(fit.first_epoch, fit.epochs, fit.samples, fit.batch_size, fit.shuffle,
                        std::string(name_of(fit.last_batch)), fit.data, fit.augment);
}

FitRecord record_of(const py::tuple& values) {
  FitRecord fit{values[0].cast<Index>(),        values[1].cast<Index>(),
                values[2].cast<Index>(),        values[3].cast<Index>(),
                values[4].cast<bool>(),         last_batch_from_name(values[5].cast<std::string>()),
                values[6].cast<std::uint32_t>()};
  if (values.size() > 7) fit.augment = values[7].cast<std::uint32_t>();  // pickles of earlier versions have none
  return fit;
}

// What is not in the model: its parameters and buffers are carried with it.
template <class T>
py::dict state(TrainerHandle<T>& self) {
  const Exclusive exclusive = self.enter();
  const TrainingState<T> state = self.trainer.state();
  py::list arrays;
  for (const std::vector<T>& array : state.optimizer) arrays.append(copied(array));
  py::dict dict;
  dict["optimizer"] = arrays;
  dict["average"] = copied(state.average);
  dict["swapped"] = state.swapped;
  dict["epoch"] = state.epoch;
  dict["steps"] = state.steps;
  dict["place"] = tuple_of(state.place);
  dict["fit"] = tuple_of(state.fit);
  return dict;
}

template <class T>
void set_state(TrainerHandle<T>& self, const py::kwargs& given) {
  const Exclusive exclusive = self.enter();
  TrainingState<T> state = self.trainer.state();
  state.optimizer = copied(given["optimizer"].cast<std::vector<Array<T>>>());
  state.average = copied(given["average"].cast<Array<T>>());
  state.swapped = given["swapped"].cast<bool>();
  state.epoch = given["epoch"].cast<Index>();
  state.steps = given["steps"].cast<Index>();
  // Pickles of earlier versions have neither.
  state.place = given.contains("place") ? place_of(given["place"].cast<py::tuple>()) : EpochPlace{};
  state.fit = given.contains("fit") ? record_of(given["fit"].cast<py::tuple>()) : FitRecord{};
  self.trainer.set_state(state);
}

template <class T>
void save_checkpoint(TrainerHandle<T>& self, const std::filesystem::path& path, const std::string& text,
                     const py::dict& arrays) {
  const Exclusive exclusive = self.enter();
  const CheckpointExtras extras = extras_of(text, arrays);
  without_gil([&](const KeepGoing& keep_going) { self.trainer.save_checkpoint(path, extras, keep_going); });
}

// Returns what Python had kept in it, whose text goes to `check` before anything is changed.
template <class T>
py::tuple load_checkpoint(TrainerHandle<T>& self, const std::filesystem::path& path, const py::function& check) {
  const Exclusive exclusive = self.enter();
  const Checkpoint<T> checkpoint =
      without_gil([&](const KeepGoing& keep_going) { return read_checkpoint<T>(path, keep_going); });
  check(checkpoint.extras.text);
  self.trainer.load_checkpoint(checkpoint);
  return py::make_tuple(checkpoint.extras.text, arrays_of(checkpoint.extras));
}

// The columns of the newest fit, "epoch" among them.
template <class T>
py::dict history(TrainerHandle<T>& self) {
  const Exclusive exclusive = self.enter();
  const History& history = self.trainer.history();
  py::dict dict;
  py::list epochs;
  for (const Index epoch : history.epochs) epochs.append(epoch + 1);
  dict["epoch"] = epochs;
  for (const auto& [name, column] : kColumns) dict[name] = history.*column;
  return dict;
}

// The settings that a checkpoint may have changed. A learning rate that is a function is None: it stays as it is.
template <class T>
py::dict settings(TrainerHandle<T>& self) {
  const TrainerConfig& config = self.trainer.config();
  py::dict dict;
  dict["learning_rate"] = learning_rate_to_json(config.optimizer);
  dict["l1"] = config.l1;
  dict["l2"] = config.l2;
  dict["clip_norm"] = config.clip_norm;
  dict["clip_value"] = config.clip_value;
  return dict;
}

}  // namespace

template <class T>
void bind_checkpoints(py::class_<TrainerHandle<T>>& handle) {
  handle.def("state", &state<T>)
      .def("set_state", &set_state<T>)
      .def("save_checkpoint", &save_checkpoint<T>, py::arg("path"), py::arg("text"), py::arg("arrays"))
      .def("load_checkpoint", &load_checkpoint<T>, py::arg("path"), py::arg("check"))
      .def("history", &history<T>)
      .def("settings", &settings<T>);
}

template void bind_checkpoints(py::class_<TrainerHandle<float>>&);
template void bind_checkpoints(py::class_<TrainerHandle<double>>&);

// Returns element size, configuration and a flag: whether its learning rate is a function.
py::tuple checkpoint_config(const std::filesystem::path& path) {
  const auto read = [&]<class T>(T) {
    const auto checkpoint =
        without_gil([&](const KeepGoing& keep_going) { return read_checkpoint<T>(path, keep_going); });
    return py::make_tuple(to_json(checkpoint.trainer), checkpoint.has_custom_rate);
  };
  return file_dtype(path) == DType::float32 ? read(float{}) : read(double{});
}

void bind_checkpoint(py::module_& m) { m.def("checkpoint_config", &checkpoint_config, py::arg("path")); }

}  // namespace stoop::python
