// Makes the end of a message about an unknown name: the name that was meant, or what to do instead.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace stoop::inline v0_1 {

// `what` is the kind of the name ("loss", "optimizer", ...). For a name that other libraries use, the answer is what it
// means there, never a name that merely looks like it. For any other name, it is the nearest valid one, if that is near.
std::string suggest(std::string_view what, std::string_view name, std::span<const std::string_view> valid);

}  // namespace stoop
