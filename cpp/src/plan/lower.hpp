// Lowering: from the graph of the layers to the operations that compute what a plan is for, and the buffers between
// them. Nothing here depends on how a device divides the work; schedule.cpp decides that for the CPU.
//
// lower_layers.cpp adds the operations of each layer's value and gradient, lower_parameters.cpp those of the parameters and
// lower_pieces.cpp those of an update in pieces; lower.cpp calls them in this order.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "plan.hpp"

namespace stoop::inline v0_1 {

// The operations give the result when they are done one after the other.
struct Lowered {
  std::vector<Buffer> buffers;  // without strides and places
  std::vector<Operation> operations;
  int input_buffer = kNone;
  int output_buffer = kNone;
  int target_buffer = kNone;
  int slots_buffer = kNone;  // see PlannedColumns
  bool batch_statistics = false;
};

Lowered lower(const PlanRequest& request);

inline bool trains(PlanKind kind) { return kind != PlanKind::inference && kind != PlanKind::evaluation; }

inline std::string numbered(const char* prefix, int number) {
  return std::string(prefix).append(std::to_string(number));
}

// Returns whether the derivative of an activation follows from the sign of its output. A batch normalisation computes such
// an activation with its own output and finds that sign again. A dropout may overwrite the output: a value that it keeps has
// the same sign, and a value that it drops has a gradient of zero, whatever the derivative.
inline bool has_sign_of_input(const Activation& activation) { return sign_gives_derivative(kind_of(activation)); }

class Lowering {
 public:
  explicit Lowering(const PlanRequest& request)
      : request_(request), graph_(*request.graph), nodes_(graph_.nodes.size()) {}

  Lowered run();

 private:
  // The notes about a node of the graph.
  struct NodeState {
    int value = kNone;  // buffers: the output,
    int saved = kNone;  // the values from which the derivative of the activation is computed,
    int statistics = kNone;
    int mask = kNone;
    int grad = kNone;      // and the gradient with respect to the output
    Activation fused{};    // the operation of this node, a product or a batch normalisation, computes it as well
    bool skipped = false;  // the node does nothing here: its value is that of its input
    bool needs_grad = false;
    bool trains = false;  // the gradient of a parameter follows from that of this node
  };

  // ---- lower_layers.cpp: one of each for every kind of node ----

  template <NodeKind kind>
  void forward(int i) = delete;
  template <NodeKind kind>
  void backward(int i) = delete;
  void forward();
  void backward();
  int forward_moments(int i);

  void combine();
  void combine_gradient();

  // ---- lower_parameters.cpp ----

  void add_weight_gradient(int i);
  void add_bias_gradient(int i);
  void add_vector_gradient(Operation operation, int parameter);
  void add_parameter_gradient(Operation operation, int parameter);
  void follow_statistics();
  void append_parameter_operations();
  void finish_gradients();
  void update_parameters(StepKind kind);
  void limit_norms();

  // ---- lower_columns.cpp ----

  int add_number_gradient(int i);
  void add_number_weight_gradient(const Operation& layers, int parameter, bool of_numbers);
  void add_table_gradient(int i);

  // ---- lower_encoded.cpp ----

  int find_encoded_product() const;
  Operation start_encoded(StepKind kind, int i) const;
  void add_encoded_gradient(int i);
  Index table_rows() const;
  void add_stored(int owner, int parameter, int buffer, Index row_elements, int row = 0);
  void add_gradients_of_layers(int buffer);

  // ---- lower_pieces.cpp ----

  void pieces();
  void give_outputs();
  void gather_gradient();
  void give_input_gradient();
  void apply();
  void cut_parameters();

  // ---- the request and the graph ----

  bool trains() const { return stoop::trains(request_.kind); }
  bool updates() const {
    return request_.kind == PlanKind::training || request_.kind == PlanKind::checked ||
           request_.kind == PlanKind::apply;
  }
  bool wants_input_gradient() const { return request_.kind == PlanKind::pieces; }
  bool combines() const { return graph_.members() > 1 && (request_.combines || !trains()); }
  // Whether the derivative of a smooth clip is taken from what it gave to the first layer.
  bool keeps_input() const {
    return wants_input_gradient() && graph_.normalization && graph_.normalization->layer.clip && !graph_.columns;
  }
  bool uses_batch_statistics() const { return trains() && request_.batch_statistics; }

  static std::size_t index(int i) { return static_cast<std::size_t>(i); }
  int node_count() const { return static_cast<int>(graph_.nodes.size()); }
  const Node& node(int i) const { return graph_.nodes[index(i)]; }
  NodeState& state(int i) { return nodes_[index(i)]; }
  const NodeState& state(int i) const { return nodes_[index(i)]; }
  int input_value(int i) const { return state(node(i).input).value; }
  Index offset(int parameter) const {
    return parameter == kNone ? kNone : graph_.parameters[index(parameter)].info.offset;
  }

  // ---- lower.cpp: what layers share ----

  int following_activation(int i) const;
  int fusable_activation(int i) const;
  void skip(int i);
  Operation start_elementwise(StepKind kind, int i, bool own_buffer = true);
  bool is_kept(int i) const;
  void loss();
  void push_gradient(Operation operation, int i);
  void activation_gradient(int i, const Activation& activation);
  void pass(int buffer, int to);
  int copy_gradient(int from, int to, StepKind kind, int out);

  int add_buffer(std::string name, Index width, Index rows = 0);
  int add_value(const char* prefix, int i, Index members);
  // A buffer with a row for each row of the value of node i.
  int add_value(const char* prefix, int i) { return add_value(prefix, i, node(i).members); }
  int add_mask(int i);
  int add_partials(const char* name, int i, Index sums);
  Operation start(StepKind kind, int i) const;
  Operation start_batch_norm(StepKind kind, int i) const;
  static void set_activation(Operation& operation, const Activation& activation);
  void push(const Operation& operation) { lowered_.operations.push_back(operation); }

  const PlanRequest& request_;
  const Graph& graph_;
  std::vector<NodeState> nodes_;
  Lowered lowered_;
  std::vector<Operation> parameter_operations_;
  int encoded_product_ = kNone;  // the Dense that is computed without encoded rows
};

// Those of lower_columns.cpp.
template <>
void Lowering::forward<NodeKind::columns>(int i);
template <>
void Lowering::backward<NodeKind::columns>(int i);
// These are in lower_members.cpp.
template <>
void Lowering::forward<NodeKind::member_scale>(int i);
template <>
void Lowering::backward<NodeKind::member_scale>(int i);
template <>
void Lowering::forward<NodeKind::member_dense>(int i);
template <>
void Lowering::backward<NodeKind::member_dense>(int i);

}  // namespace stoop
