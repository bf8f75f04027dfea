// The product of encoded columns with the weight of the first Dense, with the scales of members between them, as one operation that
// makes no encoded row: cpu/encoded.inl.hpp.

#include <algorithm>

#include "lower.hpp"

namespace stoop::inline v0_1 {
namespace {

// A column costs two rows of the weight, whatever its width, or three of a linear ladder, and a table is made of each weight. So it
// pays only where the columns are encoded by many more.
constexpr Index kLeastWidth = 8;

// The table of a linear ladder has two products more than there are bins, for each member. A thread makes that for its rows of the
// batch, so they must be many more.
constexpr Index kLeastRowsOfEnd = 4;

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
  const auto count = static_cast<Index>(columns.size());
  const bool is_held = !has_scale || (node(2).bias == kNone && node(1).members == 1);
  if (!is_held || node(product).in_features < kLeastWidth * count) return kNone;
  if (std::ranges::all_of(columns, is_marked)) return product;
  const bool are_ladders = graph_.columns->has_linear_ladders() && graph_.columns->number_layers == count;
  return are_ladders && trains() && request_.batch * count >= kLeastRowsOfEnd * table_rows() ? product : kNone;
}

// Rows of the table that a product of linear ladders makes.
Index Lowering::table_rows() const { return graph_.columns->layer_rows + 2 * graph_.columns->number_layers; }

// Starts an operation of that Dense on the places.
Operation Lowering::start_encoded(StepKind kind, int i) const {
  Operation operation = start(kind, i);
  operation.x = state(0).value;
  operation.scale = i == 3 ? offset(node(2).weight) : kNone;
  const bool is_gradient = kind == StepKind::encoded_gradient;
  operation.scratch = is_gradient ? node(i).out_features : node(i).in_features * node(i).out_features;
  if (graph_.columns->has_linear_ladders()) {
    operation.scratch =
        table_rows() * (node(i).out_features + (is_gradient ? 4 : 2) * graph_.columns->layer.embedding_dim);
  }
  return operation;
}

// The gradient of a parameter of node `owner`, a weight with rows of so many elements or a vector, is in a row of a buffer.
void Lowering::add_stored(int owner, int parameter, int buffer, Index row_elements, int row) {
  const ParameterInfo& info = graph_.parameters[index(parameter)].info;
  Operation stored = start(StepKind::stored_gradient, owner);
  stored.sums = buffer;
  stored.work.row = row;
  stored.work.extent = info.rows * info.cols / row_elements;
  stored.work.row_elements = row_elements;
  stored.work.is_weight = row_elements > 1;
  stored.work.is_limited = owner != 1;
  add_parameter_gradient(stored, parameter);
}

void Lowering::add_gradients_of_layers(int buffer) {
  const Index dim = graph_.columns->layer.embedding_dim;
  const auto [linear, weight, bias] = node(1).others;
  if (weight != kNone) add_stored(1, weight, buffer, dim, 0);
  add_stored(1, linear, buffer, dim, 1);
  add_stored(1, bias, buffer, 1, 2);
}

void Lowering::add_encoded_gradient(int i) {
  const Node& product = node(i);
  const Index members = product.members;
  Operation gradient = start_encoded(StepKind::encoded_gradient, i);
  gradient.grad = state(i).grad;
  gradient.columns = kColumnBlock * static_cast<Index>(graph_.columns->columns.size());
  gradient.sums = add_buffer("d_weight", product.in_features * product.out_features, 1);
  const bool of_scale = i == 3 && node(2).trainable;
  const bool of_layers = graph_.columns->has_linear_ladders() && node(1).trainable;
  if (of_scale) gradient.statistics = add_buffer("d_scale", members * product.in_features, 1);
  if (of_layers) {
    const Index rows = std::max(graph_.columns->layer_rows, graph_.columns->number_layers);
    gradient.partials = add_buffer("d_layers", rows * graph_.columns->layer.embedding_dim, 3);
  }
  if (of_scale || of_layers || product.trainable) push_gradient(gradient, i);
  add_stored(i, product.weight, gradient.sums, product.out_features);
  if (of_scale) add_stored(2, node(2).weight, gradient.statistics, 1);
  if (of_layers) add_gradients_of_layers(gradient.partials);
  add_bias_gradient(i);
  for (int before = 0; before < i; ++before) state(before).needs_grad = false;
}

}  // namespace stoop
