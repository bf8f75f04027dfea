// Exceptions and the form of their messages: `[where] what was given; what was expected; what to do.`
// Arguments are checked once, at the public boundary; everything below it is noexcept.
#pragma once

#include <new>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <stoop/types.hpp>

namespace stoop::inline v0_1 {

// The caller gave a value that cannot be used. Python: ValueError.
struct STOOP_API ValueError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// The caller gave something of the wrong kind (another dtype, values where classes are needed). Python: TypeError.
struct STOOP_API TypeError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// A model or checkpoint file that is damaged or does not fit. Python: stoop.CheckpointError.
struct STOOP_API CheckpointError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// There was not enough memory for a model or a batch. Python: MemoryError.
struct STOOP_API OutOfMemory : std::bad_alloc {
  explicit OutOfMemory(std::string text) : message(std::move(text)) {}
  const char* what() const noexcept override { return message.c_str(); }
  std::string message;
};

// The operating system refused a file. Python: OSError with errno and the file name.
// code() has the number of the system: that of errno, or on Windows of GetLastError(). It compares with std::errc everywhere.
struct STOOP_API FileError : std::system_error {
  FileError(std::error_code code, std::string path, const std::string& what_failed);
  FileError(int error_number, std::string path, const std::string& what_failed);  // a number of errno
  std::string path;
};

// The loss or a gradient became infinite or NaN, or an update became so long that the parameters might. `what` says
// which. The model keeps its last good parameters. Python: stoop.NonFiniteLossError.
struct STOOP_API NonFiniteLossError : std::runtime_error {
  NonFiniteLossError(Index step, Index epoch, std::string cause, std::string_view where = "Trainer.fit",
                     std::string_view what = "the loss or its gradient is not finite", std::string layer = {});
  Index step;         // number of updates in the parameters that were kept
  Index epoch;        // number of epochs completed
  std::string cause;  // the likely reason, in words
  // The first layer whose values, or whose gradient in the backward pass, were not finite: `layer 2 (Dense)`, as in the
  // names of parameters. `the input` after scaling, `the loss (mse)` where all outputs are finite; empty if unknown.
  std::string layer;
};

// The caller's KeepGoing returned false: the call ended early, has no result and has changed nothing.
struct STOOP_API Interrupted : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A function that a long call asks whether to go on, on the calling thread and at most every 50 ms. If it returns false,
// the call throws Interrupted. A call of a few milliseconds does not ask. The function must neither throw nor call the
// same object. An empty function means that the call always goes on.
using KeepGoing = std::function<bool()>;

// Returns the text in double quotes for a message. Long texts are cut, and control characters are replaced.
STOOP_API std::string in_quotes(std::string_view text);

// The shortest text that reads back as this number.
STOOP_API std::string number_text(double value);

// `[where] given; expected; hint.` An empty part is left out.
STOOP_API std::string format_error(std::string_view where, std::string_view given, std::string_view expected,
                                   std::string_view hint);

[[noreturn]] STOOP_API void throw_value_error(std::string_view where, std::string_view given, std::string_view expected,
                                              std::string_view hint);
[[noreturn]] STOOP_API void throw_type_error(std::string_view where, std::string_view given, std::string_view expected,
                                             std::string_view hint);
[[noreturn]] STOOP_API void throw_interrupted(std::string_view where);
[[noreturn]] STOOP_API void throw_out_of_memory(Index elements, Index element_size);
[[noreturn]] STOOP_API void throw_checkpoint_error(std::string_view where, std::string_view given,
                                                   std::string_view expected, std::string_view hint);

// Refuses `name` with a message that lists the valid names and suggests what was probably meant.
[[noreturn]] STOOP_API void throw_unknown_name(std::string_view where, std::string_view what, std::string_view name,
                                               std::span<const std::string_view> valid);

}  // namespace stoop
