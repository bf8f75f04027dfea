// Letting go of the GIL, taking it back, keeping others out meanwhile and calling Python from the running core.
//
// Until Python 3.13 a daemon thread that then asks for the GIL is unwound by pthread_exit. Frames of the core and of
// pybind11 must not be unwound without the GIL, so the thread hangs instead, which Python 3.14 does by itself.
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <stdexcept>
#include <string_view>
#include <thread>

#include <pybind11/pybind11.h>

#include <stoop/error.hpp>

#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif

namespace stoop::python {

template <class Attach>
void attach_or_hang(Attach&& attach) {
#ifdef __GLIBCXX__
  try {
    attach();
  } catch (const abi::__forced_unwind&) {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
#else
  attach();
#endif
}

// The GIL is free as long as this lives.
class ReleasedGil {
 public:
  ReleasedGil() : state_(PyEval_SaveThread()) {}
  ~ReleasedGil() {
    attach_or_hang([this] { PyEval_RestoreThread(state_); });
  }
  ReleasedGil(const ReleasedGil&) = delete;
  ReleasedGil& operator=(const ReleasedGil&) = delete;

 private:
  PyThreadState* state_;
};

// The GIL is held as long as this lives, in a thread that let go of it.
class HeldGil {
 public:
  HeldGil() {
    attach_or_hang([this] { state_ = PyGILState_Ensure(); });
  }
  ~HeldGil() { PyGILState_Release(state_); }
  HeldGil(const HeldGil&) = delete;
  HeldGil& operator=(const HeldGil&) = delete;

 private:
  PyGILState_STATE state_{};
};

// With the GIL free another thread could enter the same object, as could a callback: both would share its memory. `busy`
// says that somebody is in it; RuntimeError then, with a message of these parts.
class Exclusive {
 public:
  Exclusive(std::atomic_flag& busy, std::string_view where, std::string_view given, std::string_view hint)
      : busy_(busy) {
    if (!busy_.test_and_set(std::memory_order_acquire)) return;
    throw std::runtime_error(format_error(where, given, "expected one call at a time", hint));
  }
  ~Exclusive() { busy_.clear(std::memory_order_release); }
  Exclusive(const Exclusive&) = delete;
  Exclusive& operator=(const Exclusive&) = delete;

 private:
  std::atomic_flag& busy_;
};

// Calls into Python from the running core. What Python raises is kept until the core has returned, because nothing may
// be thrown through a training step.
class GuardedCalls {
 public:
  // The value of `call`, a bool; false from the first one on that raised.
  template <class Call>
  bool operator()(Call&& call) noexcept {
    return !raised_ && even_after(call);
  }

  // Also called when one before has raised, whose exception remains.
  template <class Call>
  bool even_after(Call&& call) noexcept {
    const HeldGil held;
    try {
      return call() && !raised_;
    } catch (...) {
      if (!raised_) raised_ = std::current_exception();
      return false;
    }
  }

  void rethrow() const {
    if (raised_) std::rethrow_exception(raised_);
  }

 private:
  std::exception_ptr raised_;
};

// Runs the handlers of signals that came in, as the interpreter does between two statements: Ctrl-C raises.
inline void check_signals() {
  if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
}

}  // namespace stoop::python
