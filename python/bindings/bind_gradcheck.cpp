// gradcheck: the result crosses as a dict, which gradcheck.py turns into a dataclass.
#include <string_view>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stoop/gradcheck.hpp>

#include "bindings.hpp"
#include "gil.hpp"
#include "io/config_json.hpp"
#include "numpy_view.hpp"

namespace stoop::python {
namespace {

py::dict to_dict(const ParameterCheck& check) {
  py::dict dict;
  dict["relative_error"] = check.relative_error;
  dict["worst_index"] = check.worst_index;
  dict["worst_analytic"] = check.worst_analytic;
  dict["worst_numeric"] = check.worst_numeric;
  return dict;
}

py::dict check_gradient(const py::object& self, std::string_view loss, const py::array& x, const py::array& y,
                        const Weights<double>& weights, double l1, double l2, double eps, Index sample) {
  const auto& model = self.cast<const Model<double>&>();
  const InputView input = input_view("gradcheck", x);
  const TargetsView<double> targets("gradcheck", y, weights);
  const Loss parsed_loss = loss_from_json(loss);
  const Pin pin(x);
  const GradcheckResult result = without_gil([&](const KeepGoing& keep_going) {
    return gradcheck(model, parsed_loss, input, targets.get(),
                     {.l1 = l1, .l2 = l2, .eps = eps, .sample = sample, .keep_going = keep_going});
  });
  py::dict per_parameter;
  for (const ParameterCheck& check : result.per_parameter) per_parameter[py::str(check.name)] = to_dict(check);
  py::dict dict;
  dict["relative_error"] = result.relative_error;
  dict["per_parameter"] = per_parameter;
  dict["passed"] = result.passed;
  return dict;
}

}  // namespace

void bind_gradcheck(py::module_& m) {
  m.def("gradcheck", &check_gradient, py::arg("model"), py::arg("loss"), py::arg("x").noconvert(),
        py::arg("y").noconvert(), py::arg("weights").noconvert(), py::arg("l1"), py::arg("l2"), py::arg("eps"),
        py::arg("sample"));
}

}  // namespace stoop::python
