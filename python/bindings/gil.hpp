// Releases the GIL, takes it back, keeps other threads out meanwhile, and calls Python from the running core.
//
// The interpreter may end while daemon threads are in the core. A thread that asks for the GIL afterwards never gets it.
// Until Python 3.13 it is unwound by pthread_exit, or finds that the memory it needs was freed. Frames of the core and of
// pybind11 must not be unwound without the GIL, so the thread is parked here for the rest of the process, as Python 3.14 does
// by itself.
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include <pybind11/pybind11.h>

#include <stoop/error.hpp>

#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif

namespace stoop::python {

[[noreturn]] inline void park() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

inline bool is_ending() {
#if PY_VERSION_HEX >= 0x030D0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

// Calls a function that may ask for the GIL. It is as close to the C API as possible, because objects that are alive between
// here and there are destroyed.
template <class Call>
void call_or_park(Call&& call) {
#ifdef __GLIBCXX__
  try {
    call();
  } catch (const abi::__forced_unwind&) {
    park();
  }
#else
  call();
#endif
}

// The state of a thread that is within ReleasedGil, else null.
inline thread_local PyThreadState* released_state = nullptr;

inline void take_gil(PyThreadState* state) {
  if (is_ending()) park();
  call_or_park([state] { PyEval_RestoreThread(state); });
}

// The GIL is free as long as this object lives. The thread that ends the interpreter keeps it, since no other may have it.
class ReleasedGil {
 public:
  ReleasedGil() : outer_(std::exchange(released_state, is_ending() ? nullptr : PyEval_SaveThread())) {}
  ~ReleasedGil() {
    if (released_state != nullptr) take_gil(released_state);
    released_state = outer_;
  }
  ReleasedGil(const ReleasedGil&) = delete;
  ReleasedGil& operator=(const ReleasedGil&) = delete;

 private:
  PyThreadState* const outer_;
};

// The GIL is held as long as this object lives, even by a thread that released it. The thread state is the one that the
// thread had before, which belongs to its interpreter.
class HeldGil {
 public:
  HeldGil() : state_(std::exchange(released_state, nullptr)) {
    if (state_ != nullptr) take_gil(state_);
  }
  ~HeldGil() {
    if (state_ != nullptr) PyEval_SaveThread();
    released_state = state_;
  }
  HeldGil(const HeldGil&) = delete;
  HeldGil& operator=(const HeldGil&) = delete;

 private:
  PyThreadState* const state_;
};

// Makes threads that the core has started known to the interpreter, as threads that are within ReleasedGil: HeldGil then works
// on them too.
class CoreThreads {
 public:
  CoreThreads() : interpreter_(PyThreadState_GetInterpreter(PyThreadState_Get())) {}

  // Each thread calls these first and last.
  void begin() const {
    if (is_ending()) park();
    released_state = PyThreadState_New(interpreter_);
  }
  void end() const {
    PyThreadState* const state = std::exchange(released_state, nullptr);
    take_gil(state);
    call_or_park([state] { PyThreadState_Clear(state); });
    PyThreadState_DeleteCurrent();  // which lets go of the GIL
  }

 private:
  PyInterpreterState* const interpreter_;
};

// Returns what the function returns. Meanwhile other threads may have the GIL, and the interpreter may end.
template <class... Arguments>
pybind11::object call_python(const pybind11::handle& function, Arguments&&... arguments) {
  const pybind11::tuple packed = pybind11::make_tuple(std::forward<Arguments>(arguments)...);
  PyObject* result = nullptr;
  call_or_park([&] { result = PyObject_Call(function.ptr(), packed.ptr(), nullptr); });
  if (result == nullptr) throw pybind11::error_already_set();
  return pybind11::reinterpret_steal<pybind11::object>(result);
}

// Knows whether a call is in an object, and which thread may call the object from within that call, if any.
struct Gate {
  std::atomic_flag busy;
  std::atomic<std::thread::id> guest{};
};

// While the GIL is free, another thread or a callback could enter the same object, and both would share its memory. While a
// call is in the object, a second call raises RuntimeError, with a message of these parts; but a guest may enter.
class Exclusive {
 public:
  Exclusive(Gate& gate, std::string_view where, std::string_view given, std::string_view hint) : gate_(gate) {
    const std::thread::id own = std::this_thread::get_id();
    is_guest_ = gate.guest.load(std::memory_order_acquire) == own;
    if (is_guest_) gate.guest.store({}, std::memory_order_relaxed);  // one call at a time here as well
    if (is_guest_ || !gate.busy.test_and_set(std::memory_order_acquire)) return;
    throw std::runtime_error(format_error(where, given, "expected one call at a time", hint));
  }
  ~Exclusive() {
    if (is_guest_) {
      gate_.guest.store(std::this_thread::get_id(), std::memory_order_release);
    } else {
      gate_.busy.clear(std::memory_order_release);
    }
  }
  Exclusive(const Exclusive&) = delete;
  Exclusive& operator=(const Exclusive&) = delete;

 private:
  Gate& gate_;
  bool is_guest_ = false;
};

// As long as this object lives, this thread is a guest of an object that it is in.
class AsGuest {
 public:
  explicit AsGuest(Gate& gate) : gate_(gate), before_(gate.guest.exchange(std::this_thread::get_id())) {}
  ~AsGuest() { gate_.guest.store(before_); }
  AsGuest(const AsGuest&) = delete;
  AsGuest& operator=(const AsGuest&) = delete;

 private:
  Gate& gate_;
  const std::thread::id before_;
};

// Runs the handlers of signals that have arrived, as the interpreter does between two statements: Ctrl-C raises.
inline void check_signals() {
  if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
}

// Calls into Python from the running core. What Python raises is kept until the core has returned, because nothing may
// be thrown through a training step.
class GuardedCalls {
 public:
  // Returns the value of `call`, a bool. From the first call that raised on, it returns false.
  template <class Call>
  bool operator()(Call&& call) noexcept {
    return !raised_ && even_after(call);
  }

  // This is called even if an earlier call has raised. The first exception remains.
  template <class Call>
  bool even_after(Call&& call) noexcept {
    const HeldGil held;
    try {
      bool goes_on = false;
      call_or_park([&] { goes_on = call(); });
      return goes_on && !raised_;
    } catch (...) {
      if (!raised_) raised_ = std::current_exception();
      return false;
    }
  }

  void rethrow() const {
    if (raised_) std::rethrow_exception(raised_);
  }
  const std::exception_ptr& raised() const { return raised_; }

 private:
  std::exception_ptr raised_;
};

// Calls `call(keep_going)` without the GIL. keep_going asks whether a signal has arrived. A handler that raises, like that of
// Ctrl-C, ends the call. Only the main thread has signals, as everywhere in Python.
template <class Call>
auto without_gil(Call&& call) {
  GuardedCalls guarded;
  const KeepGoing keep_going = [&guarded] {
    return guarded([] {
      check_signals();
      return true;
    });
  };
  const auto run = [&] {
    const ReleasedGil released;
    return call(keep_going);
  };
  try {
    if constexpr (std::is_void_v<decltype(run())>) {
      run();
      guarded.rethrow();
    } else {
      auto result = run();
      guarded.rethrow();  // if the core ended with its result so far
      return result;
    }
  } catch (const Interrupted&) {
    guarded.rethrow();
    throw;
  }
}

}  // namespace stoop::python
