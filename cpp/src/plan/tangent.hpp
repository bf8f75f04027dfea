// The derivative of a plan in a direction: with it, the plan of a gradient gives Hessian-vector products.
// Pearlmutter 1994, "Fast exact multiplication by the Hessian", section 3: forward over reverse.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "lower.hpp"

namespace stoop::inline v0_1 {

// Adds to `lowered`, whose operations compute a gradient without fused activations, a tangent of every buffer that
// depends on the parameters, and the operations that compute it; `parameter_operations` become those of the gradient's
// tangent. Throws std::logic_error for an operation that has no tangent.
void add_tangents(Lowered& lowered, std::vector<Operation>& parameter_operations, const Graph& graph);

// The rules of the kinds add tangents with this. A buffer without a tangent does not depend on the parameters: its tangent is
// zero, and products with it are left out.
class Tangents {
 public:
  Tangents(std::vector<Buffer>& buffers, const Graph& graph)
      : buffers_(buffers), graph_(graph), tangents_(buffers.size(), kNone), inputs_(graph.nodes.size(), kNone) {}

  // Returns the tangent of a buffer, or kNone if it is zero.
  int of(int buffer) const { return buffer == kNone ? kNone : tangents_[index(buffer)]; }

  // Returns the tangent of a buffer that is about to be written.
  int make(int buffer) {
    if (buffer == kNone) return kNone;
    if (tangents_[index(buffer)] == kNone) {
      const int added = add_buffer(buffer, "t_");
      tangents_[index(buffer)] = added;
    }
    return tangents_[index(buffer)];
  }

  Index members_of(int buffer) const { return buffers_[index(buffer)].members; }

  // Returns a buffer for a second term of the same tangent.
  int make_term(int buffer) { return add_buffer(buffer, "u_"); }

  bool is_trained(const Operation& operation) const { return graph_.nodes[index(operation.node)].trainable; }

  // Returns the buffer from which the activation of this node was computed.
  int& activation_input(int node) { return inputs_[index(node)]; }

  void add(const Operation& operation) { operations_.push_back(operation); }

  std::vector<Operation> take() { return std::exchange(operations_, {}); }

 private:
  static std::size_t index(int i) { return static_cast<std::size_t>(i); }

  int add_buffer(int like, const char* prefix) {
    Buffer added = buffers_[index(like)];
    added.name.insert(0, prefix);
    buffers_.push_back(std::move(added));
    tangents_.push_back(kNone);
    return static_cast<int>(buffers_.size()) - 1;
  }

  std::vector<Buffer>& buffers_;
  const Graph& graph_;
  std::vector<Operation> operations_;
  std::vector<int> tangents_;  // by buffer
  std::vector<int> inputs_;    // by node
};

}  // namespace stoop
