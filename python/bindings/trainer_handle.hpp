// A trainer as Python holds it, for the files that bind parts of it.
#pragma once

#include <string_view>

#include <pybind11/pybind11.h>

#include <stoop/trainer.hpp>

#include "gil.hpp"
#include "io/config_json.hpp"
#include "learning_rate.hpp"
#include "world_handle.hpp"

namespace stoop::python {

template <class T>
struct TrainerHandle {
  TrainerHandle(Model<T>& trained, std::string_view config, const PythonRates& rates, const WorldHandle* world)
      : model(trained), trainer(made(trained, trainer_config_from_json(config, functions_of(rates)), world)) {}

  Exclusive enter() { return {gate, "Trainer", "this trainer is already running", "use one Trainer per thread"}; }

  Model<T>& model;
  Trainer<T> trainer;
  Gate gate;

 private:
  static Trainer<T> made(Model<T>& trained, TrainerConfig config, const WorldHandle* world) {
    if (world == nullptr) return Trainer<T>(trained, std::move(config));
    return Trainer<T>(trained, std::move(config), world->get());
  }
};

// Adds the calls that save and load to the class: bind_checkpoint.cpp.
template <class T>
void bind_checkpoints(pybind11::class_<TrainerHandle<T>>& handle);

// Adds the pieces of an update to the class of trainers. They are bound in bind_pieces.cpp.
template <class T>
void bind_pieces(pybind11::class_<TrainerHandle<T>>& trainer);

}  // namespace stoop::python
