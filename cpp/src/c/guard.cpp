#include "guard.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <limits>
#include <new>
#include <string>

#include <stoop/error.hpp>

namespace stoop::c {
namespace {

constexpr std::size_t kMostMessage = 4096;  // bytes, the NUL included
thread_local constinit char t_message[kMostMessage] = "";
thread_local constinit int t_status = STOOP_OK;

// Keeps as much as there is room for, and no part of a character of several bytes.
int keep(int status, const char* text) noexcept {
  std::size_t length = std::strlen(text);
  if (length >= kMostMessage) {
    length = kMostMessage - 1;
    while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0u) == 0x80u) --length;
  }
  std::memmove(t_message, text, length);
  t_message[length] = '\0';
  t_status = status;
  return status;
}

}  // namespace

int keep_exception() noexcept {
  try {
    throw;
  } catch (const ValueError& error) {
    return keep(STOOP_INVALID_ARGUMENT, error.what());
  } catch (const TypeError& error) {
    return keep(STOOP_INVALID_ARGUMENT, error.what());
  } catch (const NonFiniteLossError& error) {
    return keep(STOOP_NON_FINITE_LOSS, error.what());
  } catch (const CheckpointError& error) {
    return keep(STOOP_CHECKPOINT, error.what());
  } catch (const FileError& error) {
    return keep(STOOP_IO, error.what());
  } catch (const OutOfMemory& error) {
    return keep(STOOP_OUT_OF_MEMORY, error.what());
  } catch (const std::bad_alloc&) {
    return keep(STOOP_OUT_OF_MEMORY, "[stoop] there is not enough memory; free some, or give fewer rows");
  } catch (const Busy& error) {
    return keep(STOOP_BUSY, error.what());
  } catch (const std::exception& error) {
    return keep(STOOP_INTERNAL, error.what());
  } catch (...) {
    return keep(STOOP_INTERNAL, "[stoop] an unknown exception; this is a fault of the library; please report it");
  }
}

void require(const char* where, const char* name, const void* pointer, const char* hint) {
  if (pointer == nullptr) throw_value_error(where, std::string(name) + " is NULL", "expected a pointer", hint);
}

InUse::InUse(const char* where, const stoop_trainer* trainer) : trainer_(trainer) {
  require(where, "trainer", trainer, "make one with stoop_trainer_create");
  if (!trainer->in_use.exchange(true, std::memory_order_acquire)) return;
  throw Busy(format_error(where, "another thread is using this trainer", "expected one thread at a time",
                          "give each thread a trainer of its own, with a model of its own"));
}

InUse::~InUse() { trainer_->in_use.store(false, std::memory_order_release); }

MatrixView<const float> matrix_of(const char* where, const char* name, const float* data, std::int64_t rows,
                                  Index cols) {
  if (rows < 0) {
    throw_value_error(where, "rows is " + std::to_string(rows), "expected at least 0", "give the number of rows of x");
  }
  constexpr Index most = std::numeric_limits<std::ptrdiff_t>::max() / static_cast<Index>(sizeof(float));
  if (rows > most / cols) {
    throw_value_error(where, std::to_string(rows) + " rows of " + std::to_string(cols) + " columns",
                      "expected an array that fits into memory", "give the number of rows of x");
  }
  if (rows > 0) require(where, name, data, "give an array of as many rows as `rows` says");
  return {data, rows, cols, cols};
}

}  // namespace stoop::c

extern "C" {

const char* stoop_last_error(void) { return stoop::c::t_message; }

int stoop_last_status(void) { return stoop::c::t_status; }

}  // extern "C"
