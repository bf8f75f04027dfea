// Starts threads; no other file does.
#pragma once

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif

#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <utility>

namespace stoop::inline v0_1 {

// A thread of the system, used as std::thread is. The table of virtual functions of std::thread's state would be visible in
// every shared object that contains the library, and the threads of one such object could run the code of another.
class Thread {
 public:
#if defined(_WIN32)
  using Handle = void*;     // a HANDLE
  using Result = unsigned;  // of the function that a thread runs
#else
  using Handle = pthread_t;
  using Result = void*;
#endif

  explicit Thread(Handle handle) : handle_(handle), is_joinable_(true) {}
  Thread(Thread&& other) noexcept : handle_(other.handle_), is_joinable_(std::exchange(other.is_joinable_, false)) {}
  Thread& operator=(Thread&&) = delete;
  ~Thread() {
    if (is_joinable_) std::terminate();
  }

  Handle native_handle() const { return handle_; }
  void join() {
    wait_for(handle_);
    is_joinable_ = false;
  }
  void detach() {
    forget(handle_);
    is_joinable_ = false;
  }

  // Starts a thread that blocks all signals, which are for the threads of the program. Returns whether there is one.
  static bool create(Handle& handle, Result (*run)(void*), void* given);

 private:
  static void wait_for(Handle handle);
  static void forget(Handle handle);

  Handle handle_;
  bool is_joinable_ = false;
};

#if !defined(_WIN32)  // for which thread_windows.cpp has them
inline bool Thread::create(Handle& handle, Result (*run)(void*), void* given) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const bool is_started = pthread_create(&handle, nullptr, run, given) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return is_started;
}
inline void Thread::wait_for(Handle handle) { pthread_join(handle, nullptr); }
inline void Thread::forget(Handle handle) { pthread_detach(handle); }
#endif

template <class Body>
Thread::Result run_in_thread(void* given) noexcept {
  const std::unique_ptr<Body> body(static_cast<Body*>(given));
  (*body)();
  return {};
}

// Returns nothing if the system has no thread, or no memory, left.
template <class Body>
std::optional<Thread> start_thread(Body body) {
  std::unique_ptr<Body> owned(new (std::nothrow) Body(std::move(body)));
  if (!owned) return std::nullopt;
  Thread::Handle handle{};
  if (!Thread::create(handle, run_in_thread<Body>, owned.get())) return std::nullopt;
  static_cast<void>(owned.release());  // the thread has it
  return std::optional<Thread>(std::in_place, handle);
}

}  // namespace stoop
