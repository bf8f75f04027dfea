// An update in pieces: forward, backward, apply, and what is done between them.
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings.hpp"
#include "gil.hpp"
#include "numpy_view.hpp"
#include "trainer_handle.hpp"

namespace stoop::python {
namespace {

template <class T>
Array<T> forward(const py::object& object, const py::array& x, bool training, bool dropout) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  const Pin pin(x);
  const InputView input = input_view("Trainer.forward", x);
  const Index members = self.model.members(), outputs = self.model.output_dim();
  const std::vector<py::ssize_t> each{input.rows, members, outputs}, alone{input.rows, outputs};
  Array<T> out(members > 1 ? each : alone);
  const MatrixView<T> output = matrix(out.mutable_data(), input.rows * members, outputs);
  without_gil([&](const KeepGoing& keep_going) {
    self.trainer.forward(input, output, {.training = training, .dropout = dropout}, keep_going);
  });
  return out;
}

// The rows of the members of a sample come one after the other in `grad_output`.
template <class T>
py::object backward(const py::object& object, const Array<T>& grad_output, bool input_gradient) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  const Pin pin(grad_output);
  const MatrixView<const T> gradient = matrix_view("Trainer.backward", grad_output);
  const Index rows = input_gradient ? gradient.rows / self.model.members() : 0;
  Array<T> out({rows, self.model.input_dim()});
  MatrixView<T> output;
  if (input_gradient) output = matrix(out.mutable_data(), rows, self.model.input_dim());
  without_gil([&](const KeepGoing& keep_going) { self.trainer.backward(gradient, output, keep_going); });
  return input_gradient ? py::object(out) : py::none();
}

template <class T>
double apply(const py::object& object) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  return without_gil([&](const KeepGoing& keep_going) { return self.trainer.apply(keep_going); });
}

// The views keep the trainer alive.
template <class T>
py::dict gradients(const py::object& object) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  const std::span<T> block = self.trainer.gradient_block();
  return parameter_views(self.model.parameter_infos(), block.data(), object);
}

// The indices as the core takes them. Those of int32 are copied; others are the Python layer's to convert.
class Indices {
 public:
  explicit Indices(const py::array& rows) : pin_(rows) {
    const auto size = static_cast<std::size_t>(rows.size());
    if (py::isinstance<Array<std::int64_t>>(rows)) {
      indices_ = {static_cast<const Index*>(rows.data()), size};
    } else {
      const auto* values = static_cast<const std::int32_t*>(rows.data());
      copied_.assign(values, values + size);
      indices_ = copied_;
    }
  }
  Indices(const Indices&) = delete;
  Indices& operator=(const Indices&) = delete;

  std::span<const Index> get() const { return indices_; }

 private:
  const Pin pin_;
  std::vector<Index> copied_;
  std::span<const Index> indices_;
};

// Gathers int64 classes, which the core does not take. An index that is no row is refused by the core.
inline py::array classes_of(const py::array& y, std::span<const Index> indices) {
  Array<std::int64_t> batch(static_cast<py::ssize_t>(indices.size()));
  const auto* classes = static_cast<const std::int64_t*>(y.data());
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const Index row = indices[i];
    batch.mutable_data()[i] = row >= 0 && row < y.size() ? classes[row] : 0;
  }
  return batch;
}

template <class T>
double step_rows(TrainerHandle<T>& self, const py::array& x, const py::array& y, const Weights<T>& weights,
                 const py::array& rows) {
  const InputView input = input_view("Trainer.step", x);
  const Pin pin(x);
  const Indices indices(rows);
  const auto run = [&](const py::array& targets, bool gathered) {
    const TargetsView<T> view("Trainer.step", targets, weights);
    return without_gil([&](const KeepGoing& keep_going) {
      return self.trainer.step_rows(input, view.get(), {indices.get(), gathered}, keep_going);
    });
  };
  const bool wide = y.ndim() == 1 && py::isinstance<Array<std::int64_t>>(y) && y.size() == input.rows;
  if (!wide) return run(y, false);
  try {
    return run(classes_of(y, indices.get()), true);
  } catch (const ValueError&) {
    return run(y, false);  // so that the message has the row of y, and not that of the batch
  }
}

// Returns the loss, or nothing if the arrays need a conversion. The values of the rows are checked when they are gathered.
template <class T>
std::optional<double> try_step_rows(const py::object& object, const py::object& x, const py::object& y,
                                    const Weights<T>& weights, const py::object& rows) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  if (!are_ready_samples(x, self.model.input_dim())) return std::nullopt;
  if (!is_ready<std::int64_t>(rows, 1) && !is_ready<std::int32_t>(rows, 1)) return std::nullopt;
  const bool classes = is_ready<std::int64_t>(y, 1) || is_ready<std::int32_t>(y, 1);
  if (!is_ready<T>(y, 2) && !(classes && takes_classes(kind_of(self.trainer.config().loss)))) return std::nullopt;
  const auto array = [](const py::object& ready) { return py::reinterpret_borrow<py::array>(ready); };
  return step_rows(self, array(x), array(y), weights, array(rows));
}

template <class T>
void zero_grad(TrainerHandle<T>& self) {
  const Exclusive exclusive = self.enter();
  self.trainer.zero_grad();
}

// Adds a trainer to the list if the object is one of this element type.
template <class T>
bool add_trainer(const py::handle& object, std::vector<AnyTrainer>& trainers, std::deque<Exclusive>& entered) {
  if (!py::isinstance<TrainerHandle<T>>(object)) return false;
  auto& handle = object.cast<TrainerHandle<T>&>();
  for (const AnyTrainer& other : trainers) {
    if (other == AnyTrainer(&handle.trainer))
      return trainers.emplace_back(&handle.trainer), true;  // the core refuses it
  }
  entered.emplace_back(handle.gate, "Trainer", "this trainer is already running", "use one Trainer per thread");
  trainers.emplace_back(&handle.trainer);
  return true;
}

double clip_norm(const py::list& objects, double max_norm) {
  std::vector<AnyTrainer> trainers;
  std::deque<Exclusive> entered;
  for (const py::handle object : objects) {
    if (!add_trainer<float>(object, trainers, entered)) add_trainer<double>(object, trainers, entered);
  }
  const ReleasedGil released;
  return clip_grad_norm(trainers, max_norm);
}

}  // namespace

template <class T>
void bind_pieces(py::class_<TrainerHandle<T>>& trainer) {
  trainer.def("forward", &forward<T>, py::arg("x").noconvert(), py::arg("training"), py::arg("dropout"))
      .def("takes_gradient",
           [](const TrainerHandle<T>&, const py::object& gradient) { return is_ready<T>(gradient, 2); })
      .def("backward", &backward<T>, py::arg("grad_output").noconvert(), py::arg("input_gradient"))
      .def("gradients", &gradients<T>)
      .def("apply", &apply<T>)
      .def("zero_grad", &zero_grad<T>)
      .def("try_step_rows", &try_step_rows<T>, py::arg("x"), py::arg("y"), py::arg("weights").noconvert(),
           py::arg("rows"));
}

void bind_clip_grad_norm(py::module_& m) {
  m.def("clip_grad_norm", &clip_norm, py::arg("trainers"), py::arg("max_norm"));
}

template void bind_pieces(py::class_<TrainerHandle<float>>&);
template void bind_pieces(py::class_<TrainerHandle<double>>&);

}  // namespace stoop::python
