// The checks of what a model says about its outputs.
#pragma once

#include <optional>

#include <stoop/model.hpp>

namespace stoop {

// ValueError for a softmax of one output.
void check_output(const std::optional<OutputKind>& output, Index outputs);

// ValueError for names that are not one for each output (two for one), not different, or not of their dtype.
void check_classes(const std::optional<ClassNames>& classes, Index outputs);

}  // namespace stoop
