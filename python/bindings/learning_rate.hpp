// A learning rate that a Python function gives, as the core's LearningRate. One that is data crosses as JSON.
#pragma once

#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stoop/optimizers.hpp>

#include "gil.hpp"
#include "io/config_json.hpp"

namespace stoop::python {

namespace py = pybind11;

// The function from t to a float, what t counts ("step" or "epoch"), and the (steps, per) of each Warmup around it, the
// innermost first.
using PythonRate = std::tuple<py::object, std::string, std::vector<std::pair<Index, std::string>>>;

inline schedules::Per per_from_name(const std::string& name) {
  return name == "epoch" ? schedules::Per::epoch : schedules::Per::step;
}

// What the function raises passes through the core, which asks for the rates between updates only.
inline LearningRate learning_rate_from(const PythonRate& rate) {
  const auto& [function, per, warmups] = rate;
  LearningRate result = schedules::Custom{.function =
                                              [call = function](Index t) {
                                                const HeldGil held;
                                                return call_python(call, t).template cast<double>();
                                              },
                                          .per = per_from_name(per)};
  for (const auto& [steps, warmup_per] : warmups) {
    result = schedules::Warmup{.schedule = result, .steps = steps, .per = per_from_name(warmup_per)};
  }
  return result;
}

// The optimizer of the JSON text, which holds a placeholder where `rate` is given.
inline Optimizer optimizer_from(const std::string& config, const std::optional<PythonRate>& rate) {
  Optimizer optimizer = trainer_config_from_json("{\"optimizer\": " + config + "}").optimizer;
  if (rate) set_learning_rate(optimizer, learning_rate_from(*rate));
  return optimizer;
}

// The learning rate or schedule of the JSON text, or the function where one is given.
inline LearningRate learning_rate_of(const std::string& rate, const std::optional<PythonRate>& function) {
  if (function) return learning_rate_from(*function);
  return schedule_of(optimizer_from("{\"type\": \"sgd\", \"learning_rate\": " + rate + "}", std::nullopt));
}

}  // namespace stoop::python
