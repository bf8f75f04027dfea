// What Dense and MemberDense have in common, and the checks of the latter.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include <stoop/error.hpp>
#include <stoop/layers.hpp>

#include "../spec/fields.hpp"
#include "../spec/initializers.hpp"
#include "../spec/layers.hpp"

namespace stoop::inline v0_1 {

// Checks what a Dense and a MemberDense are made of.
template <class Op>
void check_product(const Op& dense, const std::string& path) {
  const auto check = [&](const auto& part) { check_fields(part, "layer " + path + " has "); };
  std::visit(check, dense.activation);
  std::visit(check, dense.bias_init);
  if (dense.kernel_init) std::visit(check, *dense.kernel_init);
}

template <class Op>
bool has_bias(const Op& dense, const std::vector<Layer>& layers, std::size_t i) {
  const bool before_batch_norm = kind_of(dense.activation) == kind_of<Identity>() && i + 1 < layers.size() &&
                                 std::holds_alternative<BatchNorm>(layers[i + 1]);
  return dense.use_bias.value_or(!before_batch_norm);
}

// he_normal keeps the variance through a ReLU, glorot_uniform through tanh. Layers between them do not matter.
template <class Op>
Initializer default_kernel_init(const Op& dense, const std::vector<Layer>& layers, std::size_t i) {
  ActivationKind following = kind_of(dense.activation);
  for (std::size_t j = i + 1; j < layers.size() && following == kind_of<Identity>(); ++j) {
    if (const auto activation = as_activation(layers[j])) {
      following = kind_of(*activation);
    } else if (std::holds_alternative<Dense>(layers[j]) || std::holds_alternative<MemberDense>(layers[j]) ||
               std::holds_alternative<Residual>(layers[j])) {
      break;
    }
  }
  if (is_relu_like(following)) return initializers::HeNormal{};
  return initializers::GlorotUniform{};
}

// Returns the members that the layer makes or finds.
inline Index check_members(const MemberDense& dense, const std::string& path, Index members, bool has_members) {
  const std::string layer = "layer " + path;
  if (dense.scale_init && !dense.shared) {
    throw_value_error("MemberDense", layer + " has a scale_init without shared", "expected shared=True with it",
                      "leave it out: only a shared weight has scales");
  }
  if (dense.members && members > 1) {
    throw_value_error("MemberDense", layer + " has members=" + std::to_string(*dense.members),
                      "expected none where the value has " + std::to_string(members) + " members already",
                      "leave it out");
  }
  if (!dense.members && !has_members) {
    throw_value_error("MemberDense", layer + " finds a value without members", "expected Members before it",
                      "put stoop.Members(k) before the shared layers, or give members=");
  }
  return dense.members.value_or(members);
}

}  // namespace stoop
