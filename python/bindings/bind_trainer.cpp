// Trainer<T> as TrainerFloat32 and TrainerFloat64. The GIL is free while the core works; Ctrl-C and callbacks take it
// back for a moment.
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stoop/diagnose.hpp>
#include <stoop/profile.hpp>
#include <stoop/trainer.hpp>

#include "bindings.hpp"
#include "fit_call.hpp"
#include "gil.hpp"
#include "io/config_json.hpp"
#include "learning_rate.hpp"
#include "numpy_view.hpp"
#include "trainer_handle.hpp"

namespace stoop::python {
namespace {

constexpr const char* kValidation = "Trainer.fit, validation_data";

// The functions below take the object itself, so that it lives as long as the core is in it, whatever others let go of.

template <class T>
using Validation = std::optional<std::tuple<py::array, py::array, Weights<T>>>;

// Returns why the fit ended.
template <class T>
std::string fit(const py::object& object, const py::array& x, const py::array& y, const Weights<T>& weights,
                const Validation<T>& validation, const py::object& options) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  const InputView input = input_view("Trainer.fit", x);
  const Pin pin(x);
  const TargetsView<T> targets("Trainer.fit", y, weights);
  FitCall<T> call(self, options);
  std::optional<TargetsView<T>> validation_targets;
  std::optional<Pin> validation_pin;
  if (validation) {
    const auto& [validation_x, validation_y, validation_weights] = *validation;
    validation_pin.emplace(validation_x);
    validation_targets.emplace(kValidation, validation_y, validation_weights);
    call.options.validation_x = input_view(kValidation, validation_x);
    call.options.validation_y = validation_targets->get();
  }
  try {
    const ReleasedGil released;
    self.trainer.fit(input, targets.get(), call.options);
  } catch (const Interrupted&) {  // while the data were checked; what came in is kept
  }
  call.rethrow();
  return std::string(name_of(self.trainer.history().stop_reason));
}

// Whether a batch needs neither conversion nor any check but those of the core.
template <class T>
bool takes(TrainerHandle<T>& self, const py::object& x, const py::object& y) {
  const Exclusive exclusive = self.enter();  // which keeps the settings as they are
  if (!are_ready_samples(x, self.model.input_dim())) return false;
  const Index samples = py::reinterpret_borrow<py::array>(x).shape(0);
  const LossKind loss = kind_of(self.trainer.config().loss);
  return are_ready_targets<T>(y, samples, self.model.output_dim(), loss);
}

template <class T>
double step(const py::object& object, const py::array& x, const py::array& y, const Weights<T>& weights) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  const InputView input = input_view("Trainer.step", x);
  const Pin pin(x);
  const TargetsView<T> targets("Trainer.step", y, weights);
  return without_gil([&](const KeepGoing& keep_going) { return self.trainer.step(input, targets.get(), keep_going); });
}

// All gradients are views of one block, laid out like the parameters.
template <class T>
py::tuple loss_and_grad(const py::object& object, const py::array& x, const py::array& y, const Weights<T>& weights,
                        bool training, bool dropout) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  const InputView input = input_view("Trainer.loss_and_grad", x);
  const Pin pin(x);
  const TargetsView<T> targets("Trainer.loss_and_grad", y, weights);
  const std::size_t size = self.model.parameter_block().size();
  py::array_t<T> block(static_cast<py::ssize_t>(size));
  T* data = block.mutable_data();
  const double loss = without_gil([&](const KeepGoing& keep_going) {
    return self.trainer.loss_and_grad(input, targets.get(), {data, size}, {training, dropout}, keep_going);
  });
  return py::make_tuple(loss, parameter_views(self.model.parameter_infos(), data, block));
}

// `direction` has an array for each parameter, of its shape: the Python layer sees to that.
template <class T>
py::dict hessian_vector_product(const py::object& object, const py::array& x, const py::array& y,
                                const Weights<T>& weights, const std::map<std::string, Array<T>>& direction,
                                const py::kwargs& mode) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  const InputView input = input_view("Trainer.hessian_vector_product", x);
  const Pin pin(x);
  const TargetsView<T> targets("Trainer.hessian_vector_product", y, weights);
  const std::size_t size = self.model.parameter_block().size();
  std::vector<T> along(size, T(0));
  for (const ParameterInfo& info : self.model.parameter_infos()) {
    std::copy_n(direction.at(info.name).data(), info.rows * info.cols, along.begin() + info.offset);
  }
  const GradientMode how{mode["training"].cast<bool>(), mode["dropout"].cast<bool>()};
  py::array_t<T> block(static_cast<py::ssize_t>(size));
  T* data = block.mutable_data();
  without_gil([&](const KeepGoing& keep_going) {
    self.trainer.hessian_vector_product(input, targets.get(), along, {data, size}, how, keep_going);
  });
  return parameter_views(self.model.parameter_infos(), data, block);
}

template <class T>
py::dict critical_point(const py::object& object, const py::array& x, const py::array& y, const Weights<T>& weights,
                        const py::kwargs& given) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  const InputView input = input_view("critical_point", x);
  const Pin pin(x);
  const TargetsView<T> targets("critical_point", y, weights);
  CriticalPointOptions options;
  options.gradient_tolerance = given["gradient_tolerance"].cast<double>();
  options.curvature_tolerance = given["curvature_tolerance"].cast<double>();
  options.plateau_tolerance = given["plateau_tolerance"].cast<double>();
  options.iterations = given["iterations"].cast<int>();
  options.mode.training = given["training"].cast<bool>();
  const CriticalPoint point = without_gil([&](const KeepGoing& keep_going) {
    options.keep_going = keep_going;
    return stoop::critical_point(self.trainer, input, targets.get(), options);
  });
  py::dict dict;
  dict["kind"] = name_of(point.kind);
  dict["loss"] = point.loss;
  dict["gradient_norm"] = point.gradient_norm;
  dict["smallest_eigenvalue"] = point.smallest_eigenvalue;
  dict["largest_eigenvalue"] = point.largest_eigenvalue;
  dict["smallest_residual"] = point.smallest_residual;
  dict["largest_residual"] = point.largest_residual;
  dict["products"] = point.products;
  return dict;
}

// The steps as tuples (name, seconds, flops, bytes).
template <class T>
py::dict profile(const py::object& object, const py::array& x, const py::array& y, Index batch_size) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  const InputView input = input_view("Trainer.profile", x);
  const Pin pin(x);
  const TargetsView<T> targets("Trainer.profile", y);
  const Profile profile = without_gil([&](const KeepGoing& keep_going) {
    return stoop::profile(self.trainer, input, targets.get(), batch_size, keep_going);
  });
  py::list steps;
  for (const StepTime& step : profile.steps) {
    steps.append(py::make_tuple(step.name, step.seconds, step.flops, step.bytes));
  }
  py::dict dict;
  dict["steps"] = steps;
  dict["seconds"] = profile.seconds;
  dict["threads"] = profile.threads;
  return dict;
}

// With `keeps_losses` the loss is that of each sample.
template <class T>
py::dict evaluate(const py::object& object, const py::array& x, const py::array& y, const Weights<T>& weights,
                  bool keeps_losses) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  const InputView input = input_view("Trainer.evaluate", x);
  const Pin pin(x);
  const TargetsView<T> targets("Trainer.evaluate", y, weights);
  py::array_t<double> losses(static_cast<py::ssize_t>(keeps_losses ? input.rows : 0));
  const std::span<double> out(losses.mutable_data(), static_cast<std::size_t>(losses.size()));
  const Metrics metrics = without_gil(
      [&](const KeepGoing& keep_going) { return self.trainer.evaluate(input, targets.get(), keep_going, out); });
  py::dict dict;
  dict["loss"] = keeps_losses ? py::object(losses) : py::object(py::float_(metrics.loss));
  dict["accuracy"] = metrics.accuracy;
  return dict;
}

template <class T>
py::array_t<double> losses(const py::object& object, const py::array& x, const py::array& y,
                           const Weights<T>& weights) {
  auto& self = object.cast<TrainerHandle<T>&>();
  const Exclusive exclusive = self.enter();
  const InputView input = input_view("Trainer.losses", x);
  const Pin pin(x);
  const TargetsView<T> targets("Trainer.losses", y, weights);
  py::array_t<double> out(static_cast<py::ssize_t>(input.rows));
  const std::span<double> span(out.mutable_data(), static_cast<std::size_t>(out.size()));
  without_gil([&](const KeepGoing& keep_going) { self.trainer.losses(input, targets.get(), span, keep_going); });
  return out;
}

// Views of the moving average; they keep the trainer alive.
template <class T>
py::dict ema_parameters(const py::object& self) {
  auto& handle = self.cast<TrainerHandle<T>&>();
  const std::span<T> block = handle.trainer.ema_block();
  return block.empty() ? py::dict() : parameter_views(handle.model.parameter_infos(), block.data(), self);
}

template <class T>
void swap_ema(TrainerHandle<T>& self) {
  const Exclusive exclusive = self.enter();
  self.trainer.swap_ema();
}

template <class T>
void set_learning_rate(TrainerHandle<T>& self, const std::string& rate, const PythonRates& rates) {
  const Exclusive exclusive = self.enter();
  self.trainer.set_learning_rate(learning_rate_from_json(rate, functions_of(rates)));
}

template <class T>
void set_penalties(TrainerHandle<T>& self, double l1, double l2) {
  const Exclusive exclusive = self.enter();
  self.trainer.set_penalties(l1, l2);
}

template <class T>
void set_clipping(TrainerHandle<T>& self, std::optional<double> norm, std::optional<double> value) {
  const Exclusive exclusive = self.enter();
  self.trainer.set_clipping(norm, value);
}

template <class T>
void bind_trainer_of(py::module_& m, const char* name) {
  using Handle = TrainerHandle<T>;
  const auto x = py::arg("x").noconvert();
  const auto y = py::arg("y").noconvert();
  const auto weights = py::arg("weights").noconvert() = py::none();
  py::class_<Handle> handle(m, name);
  handle
      .def(py::init<Model<T>&, std::string_view, const PythonRates&, const WorldHandle*>(), py::arg("model"),
           py::arg("config"), py::arg("rates"), py::arg("world") = py::none(), py::keep_alive<1, 2>(),
           py::keep_alive<1, 5>())
      .def("fit", &fit<T>, x, y, py::arg("weights").noconvert(), py::arg("validation").noconvert(), py::arg("options"))
      .def("step", &step<T>, x, y, weights)
      .def("takes", &takes<T>, py::arg("x"), py::arg("y"))
      .def("loss_and_grad", &loss_and_grad<T>, x, y, weights, py::arg("training"), py::arg("dropout"))
      .def("hessian_vector_product", &hessian_vector_product<T>, x, y, weights, py::arg("direction").noconvert())
      .def("critical_point", &critical_point<T>, x, y, weights)
      .def("profile", &profile<T>, x, y, py::arg("batch_size"))
      .def("evaluate", &evaluate<T>, x, y, weights, py::arg("keeps_losses") = false)
      .def("losses", &losses<T>, x, y, weights)
      .def("ema_parameters", &ema_parameters<T>)
      .def("swap_ema", &swap_ema<T>)
      .def(
          "work_alone", [](Handle& self, bool alone) { self.trainer.work_alone(alone); }, py::arg("alone"))
      .def("fingerprint", [](const Handle& self) { return self.trainer.fingerprint(); })
      .def("set_learning_rate", &set_learning_rate<T>, py::arg("rate"), py::arg("rates"))
      .def("set_penalties", &set_penalties<T>, py::arg("l1"), py::arg("l2"))
      .def("set_clipping", &set_clipping<T>, py::arg("norm"), py::arg("value"))
      .def_property_readonly("epoch", [](const Handle& self) { return self.trainer.epoch(); })
      .def_property_readonly("steps", [](const Handle& self) { return self.trainer.steps(); })
      .def("config", [](const Handle& self) { return to_json(self.trainer.config()); });
  bind_checkpoints<T>(handle);
  bind_pieces<T>(handle);
}

}  // namespace

void bind_trainer(py::module_& m) {
  bind_trainer_of<float>(m, "TrainerFloat32");
  bind_trainer_of<double>(m, "TrainerFloat64");
}

}  // namespace stoop::python
