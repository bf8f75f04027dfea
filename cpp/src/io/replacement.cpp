// The new file has one of a few fixed names beside its target, made from the target's name. So the leftovers of a killed
// save are found by trying these names, not by listing a folder that may hold a million files. A file with such a name
// belongs to a save as long as it is locked. A save that finds it unlocked may lock and remove it.
#include "replacement.hpp"

#include <cstdint>
#include <string>
#include <system_error>
#include <utility>

#include <stoop/error.hpp>

#include "../base/path_text.hpp"

namespace stoop::inline v0_1 {
namespace {

constexpr int kMostAtOnce = 1000;  // most saves of one file at the same time
constexpr int kLookedAt = 8;       // names that each save checks for leftovers

// Returns the file that a chain of symbolic links ends in, whether it exists or not.
std::filesystem::path follow_links(const std::filesystem::path& link) {
  constexpr int kMostLinks = 40;  // the kernel's limit
  std::filesystem::path path = link;
  for (int i = 0; i < kMostLinks; ++i) {
    std::error_code error;
    if (!std::filesystem::is_symlink(std::filesystem::symlink_status(path, error))) return path;
    const std::filesystem::path next = std::filesystem::read_symlink(path, error);
    if (error) throw FileError(error, path_text(link), "cannot follow");
    path = path.parent_path() / next;
  }
  throw FileError(make_error_code(std::errc::too_many_symbolic_link_levels), path_text(link), "cannot follow");
}

}  // namespace

Replacement::Replacement(const std::filesystem::path& path)
    : given_(path), target_(follow_links(path)), old_(check_target(target_, path)) {
  try {
    create();
  } catch (...) {
    discard();
    throw;
  }
}

Replacement::~Replacement() { discard(); }

// The name holds a digest (FNV-1a) of the target's name, which may itself be as long as the file system allows.
std::filesystem::path Replacement::candidate(int number) const {
  std::uint64_t digest = 0xcbf29ce484222325u;
  const std::filesystem::path name = target_.filename();
  for (const auto c : name.native()) digest = (digest ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return target_.parent_path() / (".stoop-" + std::to_string(digest) + "-" + std::to_string(number) + ".tmp");
}

void Replacement::create() {
  std::filesystem::path name = given_;
  std::error_code error;
  for (int number = 0; number < kMostAtOnce; ++number) {
    path_ = candidate(number);
    File::Handle handle = claim(path_, error);
    if (error == std::errc::file_exists && remove_leftover(path_)) handle = claim(path_, error);
    if (handle != File::kNoFile) {
      file_.emplace(handle, std::move(name));
      return remove_leftovers(number);
    }
    if (error != std::errc::file_exists && error != std::errc::interrupted) break;
  }
  if (error == std::errc::file_exists) error = make_error_code(std::errc::resource_unavailable_try_again);
  throw FileError(error, path_text(given_), "cannot create a file for");
}

// Removes what several saves at once left when they were killed.
void Replacement::remove_leftovers(int own) const {
  for (int number = own + 1; number < kLookedAt; ++number) remove_leftover(candidate(number));
}

}  // namespace stoop
