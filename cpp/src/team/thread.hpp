// Starts threads; no other file does.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <utility>

namespace stoop::inline v0_1 {

// A thread of POSIX, used as std::thread is. The table of virtual functions of std::thread's state would be visible in every
// shared object that contains the library, and the threads of one such object could run the code of another.
class Thread {
 public:
  using Handle = pthread_t;

  explicit Thread(Handle handle) : handle_(handle), is_joinable_(true) {}
  Thread(Thread&& other) noexcept : handle_(other.handle_), is_joinable_(std::exchange(other.is_joinable_, false)) {}
  Thread& operator=(Thread&&) = delete;
  ~Thread() {
    if (is_joinable_) std::terminate();
  }

  Handle native_handle() const { return handle_; }
  void join() {
    pthread_join(handle_, nullptr);
    is_joinable_ = false;
  }
  void detach() {
    pthread_detach(handle_);
    is_joinable_ = false;
  }

 private:
  Handle handle_;
  bool is_joinable_ = false;
};

template <class Body>
void* run_in_thread(void* given) noexcept {
  const std::unique_ptr<Body> body(static_cast<Body*>(given));
  (*body)();
  return nullptr;
}

// Starts a thread that blocks all signals, which are for the threads of the program. Returns nothing if the system has no
// thread, or no memory, left.
template <class Body>
std::optional<Thread> start_thread(Body body) {
  std::unique_ptr<Body> owned(new (std::nothrow) Body(std::move(body)));
  if (!owned) return std::nullopt;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  Thread::Handle handle{};
  const bool is_started = pthread_create(&handle, nullptr, run_in_thread<Body>, owned.get()) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!is_started) return std::nullopt;
  static_cast<void>(owned.release());  // the thread has it
  return std::optional<Thread>(std::in_place, handle);
}

}  // namespace stoop
