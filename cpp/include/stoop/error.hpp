// Every message the library gives is formatted and thrown here: `[where] what was given; what was expected; what to do.`
// Checks happen once, at the public boundary; what lies below is noexcept.
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

namespace stoop {

// The caller gave a value that cannot be used. Python: ValueError.
struct STOOP_API ValueError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// The caller gave something of the wrong kind (dtype, targets of another sort). Python: TypeError.
struct STOOP_API TypeError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// A model or checkpoint file that is damaged or does not fit. Python: stoop.CheckpointError.
struct STOOP_API CheckpointError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Memory for a model or a batch could not be had. Python: MemoryError.
struct STOOP_API OutOfMemory : std::bad_alloc {
  explicit OutOfMemory(std::string text) : message(std::move(text)) {}
  const char* what() const noexcept override { return message.c_str(); }
  std::string message;
};

// The operating system refused a file. Python: OSError with errno and the file name.
struct STOOP_API FileError : std::system_error {
  FileError(int error_number, std::string path, const std::string& what_failed);
  std::string path;
};

// The loss or a gradient became infinite or NaN, or an update so long that the parameters might (`what` says which);
// the model keeps its last good parameters. Python: stoop.NonFiniteLossError.
struct STOOP_API NonFiniteLossError : std::runtime_error {
  NonFiniteLossError(Index step, Index epoch, std::string cause, std::string_view where = "Trainer.fit",
                     std::string_view what = "the loss or its gradient is not finite");
  Index step;         // updates that are in the parameters as they are kept
  Index epoch;        // epochs completed by then
  std::string cause;  // the likely reason, in words
};

// The caller's KeepGoing said no: the call has ended without what it was for, and has changed nothing.
struct STOOP_API Interrupted : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What a long call asks on the thread that made it, at most every 50 ms: false ends the call with Interrupted. A call of
// less than some milliseconds does not ask. Must neither throw nor call the same object. Empty: the call goes on.
using KeepGoing = std::function<bool()>;

// The text in double quotes for a message: cut when long, control characters replaced.
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

// Refuses `name`, listing `valid` and suggesting what was probably meant.
[[noreturn]] STOOP_API void throw_unknown_name(std::string_view where, std::string_view what, std::string_view name,
                                               std::span<const std::string_view> valid);

}  // namespace stoop
