// Gives Python functions in a learning rate to the core. The rest of a learning rate crosses as JSON.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stoop/schedules.hpp>

#include "gil.hpp"
#include "io/config_json.hpp"

namespace stoop::python {

namespace py = pybind11;

// For each schedule of a learning rate that holds no other, in order: nothing, or the function from t to a float that
// stands in its place, with what t counts ("step" or "epoch").
using PythonRates = std::vector<std::optional<std::pair<py::object, std::string>>>;

// The core copies and drops functions while the GIL is free. All copies share one reference, and the last copy takes the GIL to
// let go of it.
inline std::shared_ptr<const py::object> shared_reference(const py::object& object) {
  return {new py::object(object), [](const py::object* last) {
            const HeldGil held;
            delete last;
          }};
}

// What the functions raise passes through the core, which asks for the rates between updates only.
inline RateFunctions functions_of(const PythonRates& rates) {
  RateFunctions functions;
  for (const auto& rate : rates) {
    auto& custom = functions.emplace_back();
    if (!rate) continue;
    custom.emplace([call = shared_reference(rate->first)](Index t) {
      const HeldGil held;
      return call_python(*call, t).template cast<double>();
    });
    custom->per = rate->second == "epoch" ? schedules::Per::epoch : schedules::Per::step;
  }
  return functions;
}

}  // namespace stoop::python
