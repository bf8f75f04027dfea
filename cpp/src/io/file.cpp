#include "file.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

#include <stoop/error.hpp>

#include "../base/path_text.hpp"
#include "asking.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr Index kMaxChunkBytes = Index{1} << 24;  // are read or written between two questions whether to go on

}  // namespace

File::File(Handle handle, std::filesystem::path&& path) noexcept : handle_(handle), path_(std::move(path)) {}

File::File(File&& other) noexcept : handle_(std::exchange(other.handle_, kNoFile)), path_(std::move(other.path_)) {}

File::~File() {
  if (handle_ != kNoFile) close(handle_);
}

void File::read(void* data, Index bytes, Index position) const {
  auto* cursor = static_cast<std::byte*>(data);
  while (bytes > 0) {
    Asking::ask_to_go_on();
    const Index done = read_some(cursor, std::min(bytes, kMaxChunkBytes), position);
    if (done == kAgain) continue;
    if (done == 0) {
      throw_checkpoint_error(name(), "the file became shorter while it was read", "expected a file at rest",
                             "wait until whatever writes it is done");
    }
    cursor += done;
    position += done;
    bytes -= done;
  }
}

void File::write(const void* data, Index bytes) const {
  const auto* cursor = static_cast<const std::byte*>(data);
  while (bytes > 0) {
    Asking::ask_to_go_on();
    const Index done = write_some(cursor, std::min(bytes, kMaxChunkBytes));
    if (done == kAgain) continue;
    cursor += done;
    bytes -= done;
  }
}

std::string File::name() const { return path_text(path_); }

bool is_there(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::status(path, error).type() != std::filesystem::file_type::not_found;
}

}  // namespace stoop
