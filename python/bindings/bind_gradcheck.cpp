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
                        const Weights<double>& weights, const py::kwargs& given) {
  const auto& model = self.cast<const Model<double>&>();
  const InputView input = input_view("gradcheck", x);
  const TargetsView<double> targets("gradcheck", y, weights);
  const Loss parsed_loss = loss_from_json(loss);
  const Pin pin(x);
  GradcheckOptions options;
  options.l1 = given["l1"].cast<double>();
  options.l2 = given["l2"].cast<double>();
  options.eps = given["eps"].cast<double>();
  options.sample = given["sample"].cast<Index>();
  const GradcheckResult result = without_gil([&](const KeepGoing& keep_going) {
    options.keep_going = keep_going;
    return gradcheck(model, parsed_loss, input, targets.get(), options);
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
        py::arg("y").noconvert(), py::arg("weights").noconvert());
}

}  // namespace stoop::python
