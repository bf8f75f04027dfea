// Sets or unsets an environment variable for one scope of a test.
#pragma once

#include <stdlib.h>

#include <optional>
#include <string>
#include <utility>

namespace stoop {

class WithEnvironment {
 public:
  // A null value unsets the variable.
  WithEnvironment(std::string name, const char* value) : name_(std::move(name)) {
    if (const char* old = ::getenv(name_.c_str())) old_ = old;
    put(value);
  }
  ~WithEnvironment() { put(old_ ? old_->c_str() : nullptr); }
  WithEnvironment(const WithEnvironment&) = delete;
  WithEnvironment& operator=(const WithEnvironment&) = delete;

 private:
  void put(const char* value) {
#if defined(_WIN32)
    ::_putenv_s(name_.c_str(), value != nullptr ? value : "");
#else
    if (value != nullptr) {
      ::setenv(name_.c_str(), value, 1);
    } else {
      ::unsetenv(name_.c_str());
    }
#endif
  }

  std::string name_;
  std::optional<std::string> old_;
};

}  // namespace stoop
