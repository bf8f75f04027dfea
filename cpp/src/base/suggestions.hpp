// What a message about an unknown name says at its end: the name that was meant, or what to do instead.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace stoop {

// `what` is the kind of the name ("loss", "optimizer", ...). A name that other libraries use is answered by what it
// means there, never by one that merely looks like it; any other by the nearest valid one, if that is near.
std::string suggest(std::string_view what, std::string_view name, std::span<const std::string_view> valid);

}  // namespace stoop
