// The boundary of the C interface: what is thrown below it becomes a status, and a message for the thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <stdexcept>

#include <stoop/stoop.h>
#include <stoop/trainer.hpp>

struct stoop_model {
  std::shared_ptr<stoop::Model<float>> model;
};

struct stoop_trainer {
  std::shared_ptr<stoop::Model<float>> model;  // is freed after `trainer`, which refers to it
  stoop::Trainer<float> trainer;
  bool rollback = true;
  stoop::Index target_columns = 0;  // of targets that are values
  mutable std::atomic<bool> in_use{false};
};

namespace stoop::c {

// Turns the exception that is being handled into a status, and keeps its message. Allocates nothing.
int keep_exception() noexcept;

// Calls work(). Everything that it throws becomes the status that is returned.
template <class Work>
int guarded(const Work& work) noexcept {
  try {
    work();
    return STOOP_OK;
  } catch (...) {
    return keep_exception();
  }
}

// Refuses NULL. `where` is the function of the C interface, `hint` says what to give.
void require(const char* where, const char* name, const void* pointer, const char* hint);

// Thrown where two threads use one trainer.
struct Busy : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Holds a trainer during a call.
class InUse {
 public:
  InUse(const char* where, const stoop_trainer* trainer);
  ~InUse();
  InUse(const InUse&) = delete;
  InUse& operator=(const InUse&) = delete;

 private:
  const stoop_trainer* trainer_;
};

// x (rows, cols), after checks of the pointer and of the size.
MatrixView<const float> matrix_of(const char* where, const char* name, const float* data, std::int64_t rows,
                                  Index cols);

}  // namespace stoop::c
