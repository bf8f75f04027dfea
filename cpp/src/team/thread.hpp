// Starts threads; no other file does.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <new>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

namespace stoop::inline v0_1 {

using Thread = std::thread;

// Starts a thread that blocks all signals, which are for the threads of the program. Returns nothing if the system has no
// thread, or no memory, left.
template <class Body>
std::optional<Thread> start_thread(Body body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::optional<Thread> thread;
  try {
    thread.emplace(std::move(body));
  } catch (const std::system_error&) {
  } catch (const std::bad_alloc&) {
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace stoop
