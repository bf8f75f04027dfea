// From a Columns layer and the number of columns of X to what becomes of each column.
#pragma once

#include <string>

#include "graph.hpp"

namespace stoop::inline v0_1 {

// Throws ValueError, about the layer at `path`, for columns that X does not have, and numbers that do not fit.
GraphColumns describe_columns(const Columns& layer, Index input_dim, const std::string& path);

// Returns the number of columns of the encoded row.
Index encoded_width(const GraphColumns& columns);

}  // namespace stoop
