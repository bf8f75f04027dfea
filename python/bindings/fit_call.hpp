// What a call of Trainer.fit brings along beside its data: an object of stoop._fit.FitOptions, and the core's history, whose
// rows go on into the lists of Python.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include <pybind11/pybind11.h>

#include <stoop/trainer.hpp>

#include "gil.hpp"

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

// Adds the newest row of `history` to the lists of Python, by name of a column; "epoch" counts from 1.
inline void add_row(const py::dict& record, const History& history) {
  const auto append = [&record](const char* key, const auto& value) {
    if (record.contains(key)) py::reinterpret_borrow<py::list>(record[key]).append(value);
  };
  append("epoch", history.epochs.back() + 1);
  for (const auto& [key, column] : kColumns) {
    if (!(history.*column).empty()) append(key, (history.*column).back());
  }
}

template <class T>
class FitCall {
 public:
  explicit FitCall(const py::object& given)
      : record_(given.attr("history").attr("_record")()), table_(given.attr("table")) {
    options.epochs = given.attr("epochs").cast<Index>();
    options.batch_size = given.attr("batch_size").cast<Index>();
    options.shuffle = given.attr("shuffle").cast<bool>();
    options.last_batch = last_batch_from_name(given.attr("last_batch").cast<std::string>(), "Trainer.fit");
    options.history = &history_;
    options.on_epoch = [this](const EpochResult&) { return epoch(); };
    options.on_progress = [this](const Progress& now) {
      return ask([&] {
        if (!table_.is_none()) call_python(table_.attr("update"), now.epoch, now.samples_done, now.samples);
      });
    };
    options.keep_going = [this] { return ask([] {}); };
  }
  FitCall(const FitCall&) = delete;
  FitCall& operator=(const FitCall&) = delete;

  // What Python raised within a callback, once the core has returned.
  void rethrow() const { guarded_.rethrow(); }

  FitOptions<T> options;

 private:
  // A row is added whatever has come in meanwhile, and not by Python code: a signal interrupts that anywhere, and the lists
  // would not be of one length.
  bool epoch() {
    guarded_.even_after([this] {
      add_row(record_, history_);
      return true;
    });
    return ask([this] {
      if (!table_.is_none()) call_python(table_.attr("row"));
    });
  }

  // Lets signals in, then calls into Python. False once something was raised.
  template <class Call>
  bool ask(const Call& call) {
    return guarded_([&call] {
      check_signals();
      call();
      return true;
    });
  }

  History history_;
  py::dict record_;  // by name of a column: the list that gets its values
  py::object table_;
  GuardedCalls guarded_;
};

}  // namespace stoop::python
