// What a call of Trainer.fit brings along beside its data: an object of stoop._fit.FitOptions, and the core's history, whose
// rows go on into the lists of Python.
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl/filesystem.h>

#include <stoop/trainer.hpp>

#include "checkpoint_view.hpp"
#include "gil.hpp"
#include "trainer_handle.hpp"

namespace stoop::python {

namespace py = pybind11;

inline constexpr std::array<std::pair<const char*, std::vector<double> History::*>, 7> kColumns{{
    {"loss", &History::loss},
    {"accuracy", &History::accuracy},
    {"val_loss", &History::val_loss},
    {"val_accuracy", &History::val_accuracy},
    {"learning_rate", &History::learning_rate},
    {"grad_norm", &History::grad_norm},
    {"samples_per_second", &History::samples_per_second},
}};

// Adds a row of `history` to the lists of Python, by name of a column; "epoch" counts from 1.
inline void add_row(const py::dict& record, const History& history, std::size_t row) {
  const auto append = [&record](const char* key, const auto& value) {
    if (record.contains(key)) py::reinterpret_borrow<py::list>(record[key]).append(value);
  };
  append("epoch", history.epochs[row] + 1);
  for (const auto& [key, column] : kColumns) {
    if (!(history.*column).empty()) append(key, (history.*column)[row]);
  }
}

// The functions of a fit, which call the object `loop` of the options (stoop._loop.FitLoop) and let signals in. Without a loop
// there are none: Python is not entered while the fit runs.
template <class T>
class FitCall {
 public:
  FitCall(TrainerHandle<T>& handle, const py::object& given)
      : handle_(handle), record_(given.attr("history").attr("_record")()), loop_(given.attr("loop")) {
    options.epochs = given.attr("epochs").cast<Index>();
    options.batch_size = given.attr("batch_size").cast<Index>();
    options.shuffle = given.attr("shuffle").cast<bool>();
    options.last_batch = last_batch_from_name(given.attr("last_batch").cast<std::string>(), "Trainer.fit");
    options.validation_freq = given.attr("validation_freq").cast<Index>();
    options.max_seconds = given.attr("max_seconds").cast<double>();
    options.rollback = given.attr("rollback").cast<bool>();
    options.penalty_per_sample = given.attr("penalty_per_sample").cast<bool>();
    if (const py::object path = given.attr("resume"); !path.is_none()) {
      options.resume = path.cast<std::filesystem::path>();
    }
    if (const py::object augment = given.attr("augment"); !augment.is_none()) {
      options.augment = augment.attr("_settings").cast<Augment>();
    }
    if (loop_.is_none()) return;
    options.on_begin = [this](const Checkpoint<T>* resumed) { return begin(resumed); };
    options.on_epoch = [this](const EpochResult&) { return epoch(); };
    options.on_progress = [this](const Progress& now) { return progress(now); };
    options.keep_going = [this] { return ask([] { return true; }); };
    if (!given.attr("calls_steps").cast<bool>()) return;
    options.next_steps = [this] {
      Index updates = 0;
      ask([&] {
        updates = call_python(loop_.attr("next_steps")).template cast<Index>();
        return true;
      });
      return updates;
    };
    options.on_steps = [this](const StepsResult& now) {
      return ask_as_guest([&] {
        return call_python(loop_.attr("steps"), now.epoch, now.steps, now.loss_sum, now.weight_sum, now.learning_rate);
      });
    };
  }
  FitCall(const FitCall&) = delete;
  FitCall& operator=(const FitCall&) = delete;

  // What Python raised within a callback, once the core has returned.
  void rethrow() const { guarded_.rethrow(); }
  const std::exception_ptr& raised() const { return guarded_.raised(); }

  // Where there is no loop, this adds all rows once the core has returned.
  void add_rows(const History& history) const {
    for (std::size_t row = 0; loop_.is_none() && row < history.epochs.size(); ++row) add_row(record_, history, row);
  }

  FitOptions<T> options;

 private:
  bool begin(const Checkpoint<T>* resumed) {
    return ask_as_guest([&] {
      if (resumed == nullptr) return call_python(loop_.attr("begin"), py::none(), py::none());
      return call_python(loop_.attr("begin"), resumed->extras.text, arrays_of(resumed->extras));
    });
  }

  // A row is added whatever has come in meanwhile, and not by Python code: a signal interrupts that anywhere, and the lists
  // would not be of one length.
  bool epoch() {
    guarded_.even_after([this] {
      const History& history = handle_.trainer.history();
      add_row(record_, history, history.epochs.size() - 1);
      return true;
    });
    return ask_as_guest([this] { return call_python(loop_.attr("epoch")); });
  }

  Next progress(const Progress& now) {
    int next = 2;
    ask([&] {
      next = call_python(loop_.attr("progress"), now.epoch, now.samples_done, now.samples).template cast<int>();
      return true;
    });
    return next == 0 ? Next::go_on : next == 1 ? Next::look : Next::stop;
  }

  // Lets signals in, then calls into Python, whose answer is a bool. False once something was raised.
  template <class Call>
  bool ask(const Call& call) {
    return guarded_([&call] {
      check_signals();
      return call();
    });
  }

  // The same for functions that may call this trainer.
  template <class Call>
  bool ask_as_guest(const Call& call) {
    const AsGuest guest(handle_.gate);
    return ask([&call] { return call().template cast<bool>(); });
  }

  TrainerHandle<T>& handle_;
  py::dict record_;  // by name of a column: the list that gets its values
  py::object loop_;
  GuardedCalls guarded_;
};

}  // namespace stoop::python
