// Checks what a model says about its outputs.
#pragma once

#include <optional>

#include <stoop/model.hpp>

namespace stoop::inline v0_1 {

// Throws ValueError for a softmax of one output.
void check_output(const std::optional<OutputKind>& output, Index outputs);

// Throws ValueError if there is not one name for each output (two for a single output), or if names repeat or are not of
// their dtype.
void check_classes(const std::optional<ClassNames>& classes, Index outputs);

}  // namespace stoop
