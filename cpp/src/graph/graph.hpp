// The layers of a model as a graph: nodes in the order in which they are computed, with their inputs and their parameters.
// It is built from the configuration alone, and plans are built from it.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include <stoop/layers.hpp>
#include <stoop/model.hpp>

#include "../base/encoded_column.hpp"
#include "../base/ranges.hpp"
#include "../spec/layers.hpp"

namespace stoop::inline v0_1 {

struct Node {
  NodeKind kind = NodeKind::input;
  std::string layer;  // that it is of, for messages: "layer 2 (Dense)"
  int input = kNone;  // node
  int other = kNone;  // the second operand of add
  int consumers = 0;  // number of times that other nodes read it
  Index in_features = 0;
  Index out_features = 0;
  Index members = 1;          // rows of the value for each row of the batch, one after the other
  std::vector<Index> chunks;  // widths of neighbouring columns that say the same; empty: each column stands for itself
  // Positions in Graph::parameters and Graph::buffers.
  int weight = kNone;  // of products; gamma of the normalisations, the scale of member_scale
  int bias = kNone;    // of these, too; beta of the normalisations
  // Columns have three after the table: frequencies or the weights of the scaled numbers, then weight and bias.
  std::array<int, 3> others = {kNone, kNone, kNone};
  int running_mean = kNone;
  int running_var = kNone;
  Activation activation{};  // of activation, and of a dense whose activation is computed with the product
  double eps = 0.0;
  double momentum = 0.0;
  double rate = 0.0;
  bool trainable = true;
  Factors factors;               // with those of the Residuals that it is in
  std::optional<double> l1, l2;  // of a product that does not take the trainer's

  // kNone for those that it does not have.
  std::array<int, 5> parameters() const { return {weight, bias, others[0], others[1], others[2]}; }
  bool has_parameters() const { return weight != kNone || others[2] != kNone; }
};

struct GraphParameter {
  ParameterInfo info;
  Initializer initializer{};
  std::optional<ScaleInit> scale;  // of a scale, instead of the initialiser
  std::vector<Index> chunks;       // of a scale: columns that start with the same number, as in Node
};

// The Normalization of a model, or how the numbers of its Columns are scaled. It has no node, because it is applied as the rows
// of the input are gathered. These are positions in Graph::buffers.
struct GraphNormalization {
  Normalization layer;
  int shift = kNone;
  int scale = kNone;
  int rest = kNone;
  int missing = kNone;  // where NaN is allowed
};

// The Columns of a model. Its buffers are those of `normalization`, and the bins.
struct GraphColumns {
  Columns layer;
  std::vector<EncodedColumn> columns;  // by column of X
  Index table_rows = 0;
  Index number_layers = 0;  // number of columns that have a layer of their own
  Index layer_rows = 0;     // of the weights of all these layers
  int bin_left = kNone;
  int bin_scale = kNone;

  bool has_numbers() const;
  bool has_linear_ladders() const { return layer.encoding == ColumnEncoding::ple_linear && number_layers > 0; }
};

struct Graph {
  std::vector<Node> nodes;  // the first is the input, the last the output
  std::vector<GraphParameter> parameters;
  std::vector<GraphParameter> buffers;  // statistics: running ones, and those of the input
  std::optional<GraphNormalization> normalization;
  std::optional<GraphColumns> columns;  // then `normalization` is there too
  Index num_parameters = 0;
  Index parameter_elements = 0;  // of the block that holds all parameters, padding included
  Index buffer_elements = 0;

  Index output_dim() const { return nodes.back().out_features; }
  Index members() const { return nodes.back().members; }
};

// Builds the graph. Parameters start on multiples of `alignment` elements. Throws ValueError for layers that cannot be
// built.
Graph build_graph(const ModelConfig& config, Index alignment);

// Returns what a NaN in X is to this model.
MissingValues missing_values(const Graph& graph);

// Returns whether the model has a layer of this kind.
bool has_node(const Graph& graph, NodeKind kind);

// Returns whether penalties count a parameter of the node.
bool is_regularized(const Graph& graph, const Node& node);

}  // namespace stoop
