// The loops that read and write large files ask here whether to go on. They run far below the call that was given the
// callback, in the same thread.
#pragma once

#include <chrono>
#include <string_view>
#include <utility>

#include <stoop/error.hpp>

namespace stoop::inline v0_1 {

// As long as this object lives, ask_to_go_on() of this thread asks the callback, at most every 50 ms.
class Asking {
 public:
  Asking(const KeepGoing& keep_going, std::string_view where)
      : keep_going_(keep_going), where_(where), outer_(std::exchange(current_, this)) {}
  ~Asking() { current_ = outer_; }
  Asking(const Asking&) = delete;
  Asking& operator=(const Asking&) = delete;

  // Throws Interrupted if the answer is no.
  static void ask_to_go_on() {
    if (current_ != nullptr) current_->ask();
  }

 private:
  using Clock = std::chrono::steady_clock;

  void ask() {
    if (!keep_going_ || Clock::now() - last_ < std::chrono::milliseconds(50)) return;
    last_ = Clock::now();
    if (!keep_going_()) throw_interrupted(where_);
  }

  const KeepGoing& keep_going_;
  const std::string_view where_;
  Clock::time_point last_ = Clock::now();
  Asking* const outer_;
  static inline thread_local Asking* current_ = nullptr;
};

}  // namespace stoop
