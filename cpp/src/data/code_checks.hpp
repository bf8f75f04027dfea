// Checks of the codes of categories in X.
#pragma once

#include <span>
#include <string_view>

#include <stoop/input.hpp>

#include "../base/encoded_column.hpp"

namespace stoop::inline v0_1 {

// Throws ValueError for a code that is no whole number, and for float32 where a column has more codes than float32 tells apart.
// The rows of a mapped x are not read: there, what is no whole number is an unknown code.
void check_codes(std::string_view where, const InputView& x, std::span<const EncodedColumn> columns);

}  // namespace stoop
