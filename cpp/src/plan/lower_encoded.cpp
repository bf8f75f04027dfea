// The product of encoded columns with the weight of the first Dense, with the scales of members between them, as one operation that
// makes no encoded row: cpu/encoded.inl.hpp.

#include <algorithm>

#include "lower.hpp"

namespace stoop::inline v0_1 {
namespace {

// A column costs two rows of the weight, whatever its width, and a table is made of each weight. So it pays only where the columns
// are encoded by many more.
constexpr Index kLeastWidth = 8;

bool is_marked(const EncodedColumn& column) {
  return column.kind == ColumnKind::ladder || column.kind == ColumnKind::indicator;
}

}  // namespace

// Returns the Dense that is computed from the places of X, or kNone. The plans of single gradients are left out: they add up those
// of groups of rows, and have tangents.
int Lowering::find_encoded_product() const {
  const PlanKind kind = request_.kind;
  if (!graph_.columns || kind == PlanKind::gradient || kind == PlanKind::curvature || kind == PlanKind::pieces ||
      kind == PlanKind::apply) {
    return kNone;
  }
  const bool has_scale = node_count() > 2 && node(2).kind == NodeKind::member_scale;
  const int product = has_scale ? 3 : 2;
  if (product >= node_count() || node(product).kind != NodeKind::dense) return kNone;
  for (int i = 1; i < product; ++i) {
    if (node(i).consumers != 1 || node(i + 1).input != i) return kNone;
  }
  const std::vector<EncodedColumn>& columns = graph_.columns->columns;
  const bool pays = node(product).in_features >= kLeastWidth * static_cast<Index>(columns.size());
  const bool is_held = !has_scale || (node(2).bias == kNone && node(1).members == 1);
  return pays && is_held && std::ranges::all_of(columns, is_marked) ? product : kNone;
}

// Starts an operation of that Dense on the places.
Operation Lowering::start_encoded(StepKind kind, int i) const {
  Operation operation = start(kind, i);
  operation.x = state(0).value;
  operation.scale = i == 3 ? offset(node(2).weight) : kNone;
  return operation;
}

void Lowering::add_encoded_gradient(int i) {
  const Node& product = node(i);
  const Index members = product.members;
  Operation gradient = start_encoded(StepKind::encoded_gradient, i);
  gradient.grad = state(i).grad;
  gradient.columns = kColumnBlock * static_cast<Index>(graph_.columns->columns.size());
  gradient.sums = add_buffer("d_weight", product.in_features * product.out_features, 1);
  const auto add_stored = [&](int owner, int buffer, Index extent, Index row_elements) {
    Operation stored = start(StepKind::stored_gradient, owner);
    stored.sums = buffer;
    stored.work.extent = extent;
    stored.work.row_elements = row_elements;
    stored.work.is_weight = row_elements > 1;
    add_parameter_gradient(stored, node(owner).weight);
  };
  const bool of_scale = i == 3 && node(2).trainable;
  if (of_scale) gradient.statistics = add_buffer("d_scale", members * product.in_features, 1);
  if (of_scale || product.trainable) push_gradient(gradient, i);
  add_stored(i, gradient.sums, product.in_features, product.out_features);
  if (of_scale) add_stored(2, gradient.statistics, members * product.in_features, 1);
  add_bias_gradient(i);
  for (int before = 0; before < i; ++before) state(before).needs_grad = false;
}

}  // namespace stoop
