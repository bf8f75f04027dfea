// The layers of a model as a graph: nodes in the order in which they are computed, with their inputs and their parameters.
// It is built from the configuration alone, and plans are built from it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <stoop/layers.hpp>
#include <stoop/model.hpp>

#include "../base/ranges.hpp"
#include "../spec/layers.hpp"

namespace stoop {

struct Node {
  NodeKind kind = NodeKind::input;
  std::string layer;  // that it is of, for messages: "layer 2 (Dense)"
  int input = kNone;  // node
  int other = kNone;  // the second operand of add
  int consumers = 0;  // number of times that other nodes read it
  Index in_features = 0;
  Index out_features = 0;
  // Positions in Graph::parameters and Graph::buffers.
  int weight = kNone;  // of dense; gamma of the normalisations
  int bias = kNone;    // of dense; beta of the normalisations
  int running_mean = kNone;
  int running_var = kNone;
  Activation activation{};  // of activation, and of a dense whose activation is computed with the product
  double eps = 0.0;
  double momentum = 0.0;
  double rate = 0.0;
  bool trainable = true;
  Factors factors;               // with those of the Residuals that it is in
  std::optional<double> l1, l2;  // of a dense that does not take the trainer's
};

struct GraphParameter {
  ParameterInfo info;
  Initializer initializer{};
};

// The Normalization of a model. It has no node, because it is applied as the rows of the input are gathered. These are
// positions in Graph::buffers.
struct GraphNormalization {
  Normalization layer;
  int shift = kNone;
  int scale = kNone;
  int rest = kNone;
  int missing = kNone;  // where NaN is allowed
};

struct Graph {
  std::vector<Node> nodes;  // the first is the input, the last the output
  std::vector<GraphParameter> parameters;
  std::vector<GraphParameter> buffers;  // statistics: running ones, and those of the input
  std::optional<GraphNormalization> normalization;
  Index num_parameters = 0;
  Index parameter_elements = 0;  // of the block that holds all parameters, padding included
  Index buffer_elements = 0;

  Index output_dim() const { return nodes.back().out_features; }
};

// Builds the graph. Parameters start on multiples of `alignment` elements. Throws ValueError for layers that cannot be
// built.
Graph build_graph(const ModelConfig& config, Index alignment);

// Returns what a NaN in X is to this model.
MissingValues missing_values(const Graph& graph);

// Returns whether the model has a layer of this kind.
bool has_node(const Graph& graph, NodeKind kind);

}  // namespace stoop
