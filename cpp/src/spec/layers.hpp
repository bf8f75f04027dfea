// Everything that is known of each layer that is not an activation.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "activations.hpp"
#include "spec.hpp"

namespace stoop::inline v0_1 {

// What layers become in the graph of a model. `end` is not a kind, but how many there are.
enum class NodeKind {
  input,
  columns,
  dense,
  activation,
  batch_norm,
  layer_norm,
  dropout,
  add,
  member_scale,
  member_dense,
  end
};

template <NodeKind kind>
using NodeOf = std::integral_constant<NodeKind, kind>;

// Calls visit(NodeOf<kind>()) for a kind.
template <class Visit>
void visit_node(NodeKind kind, const Visit& visit) {
  [&]<std::size_t... kinds>(std::index_sequence<kinds...>) {
    ((kind == NodeKind{kinds} ? visit(NodeOf<NodeKind{kinds}>()) : void()), ...);
  }(std::make_index_sequence<static_cast<std::size_t>(NodeKind::end)>());
}

inline constexpr const char* kPenaltyHint = "leave it out to take the trainer's, 0 turns it off";

template <>
struct Spec<Dense> {
  static constexpr const char* kName = "dense";
  static constexpr const char* kClass = "Dense";
  static constexpr std::tuple kFields{
      Field{"units", &Dense::units, between(1, 0x1p31), "give the number of outputs of the layer", Holds::anything,
            Key::required},
      plain("activation", &Dense::activation),
      plain("use_bias", &Dense::use_bias),
      plain("kernel_init", &Dense::kernel_init),
      plain("bias_init", &Dense::bias_init),
      plain("trainable", &Dense::trainable),
      Field{"l1", &Dense::l1, at_least(0), kPenaltyHint, Holds::not_zero},
      Field{"l2", &Dense::l2, at_least(0), kPenaltyHint, Holds::not_zero},
  };
};

// The eps of a normalisation is added to a variance. If the variance is 0, only eps prevents 0/0.
template <>
struct Spec<BatchNorm> {
  static constexpr const char* kName = "batch_norm";
  static constexpr const char* kClass = "BatchNorm";
  static constexpr Key kTrainable = Key::optional;
  static constexpr std::tuple kFields{
      Field{"momentum", &BatchNorm::momentum, between(0, 1), "0.9 is usual", Holds::below_one},
      Field{"eps", &BatchNorm::eps, above(0), "1e-5 is usual", Holds::size},
  };
};

// A normalisation with a gamma and a beta for each column, and nothing else to remember, names the kind of its node.
template <>
struct Spec<LayerNorm> {
  static constexpr NodeKind kNode = NodeKind::layer_norm;
  static constexpr const char* kName = "layer_norm";
  static constexpr const char* kClass = "LayerNorm";
  static constexpr Key kTrainable = Key::optional;
  static constexpr std::tuple kFields{Field{"eps", &LayerNorm::eps, above(0), "1e-5 is usual", Holds::size}};
};

template <>
struct Spec<Dropout> {
  static constexpr const char* kName = "dropout";
  static constexpr const char* kClass = "Dropout";
  static constexpr Key kTrainable = Key::if_changed;
  static constexpr std::tuple kFields{Field{"rate", &Dropout::rate, from_up_to(0, 1),
                                            "rate is the fraction dropped, 0.2 to 0.5 is usual", Holds::anything,
                                            Key::required}};
};

template <>
struct Choices<NormalizationKind> {
  static constexpr const char* kNames[] = {"standard", "robust", "minmax"};
  static constexpr const char* kWhat = "kind of normalization";
};

template <>
struct Choices<MissingValues> {
  static constexpr const char* kNames[] = {"error", "mean"};
  static constexpr const char* kWhat = "treatment of missing values";
};

template <>
struct Spec<Normalization> {
  static constexpr const char* kName = "normalization";
  static constexpr const char* kClass = "Normalization";
  static constexpr Key kTrainable = Key::if_changed;
  static constexpr std::tuple kFields{
      choice("kind", &Normalization::kind, "\"standard\" is usual", Key::optional),
      Field{"clip", &Normalization::clip, between(1e-6, 1e6), "3 is usual, leave it out for no clip", Holds::size},
      choice("missing", &Normalization::missing, "\"error\" refuses NaN", Key::if_changed),
  };
};

template <>
struct Choices<ColumnEncoding> {
  static constexpr const char* kNames[] = {"ple", "periodic", "none", "ple_linear"};
  static constexpr const char* kWhat = "encoding of numbers";
};

template <>
struct Spec<Columns> {
  static constexpr const char* kName = "columns";
  static constexpr const char* kClass = "Columns";
  static constexpr Key kTrainable = Key::if_changed;
  static constexpr std::tuple kFields{
      plain("categories", &Columns::categories),
      choice("encoding", &Columns::encoding, "\"ple\" is usual", Key::optional),
      plain("bins", &Columns::bins),
      Field{"frequencies", &Columns::frequencies, between(1, 0x1p20), "48 is usual"},
      Field{"frequency_scale", &Columns::frequency_scale, above(0), "0.01 to 1 is usual", Holds::size},
      Field{"embedding_dim", &Columns::embedding_dim, between(1, 0x1p20), "8 is usual"},
      Field{"one_hot", &Columns::one_hot, between(0, 0x1p20), "9 is usual"},
      choice("kind", &Columns::kind, "\"robust\" is usual", Key::optional),
      Field{"clip", &Columns::clip, between(1e-6, 1e6), "3 is usual, null for no clip", Holds::size},
      plain("lazy", &Columns::lazy, Key::if_changed),
  };
};

template <>
struct Spec<Residual> {
  static constexpr const char* kName = "residual";
  static constexpr const char* kClass = "Residual";
  static constexpr Key kTrainable = Key::if_changed;
  static constexpr std::tuple kFields{plain("layers", &Residual::layers, Key::required)};
};

template <>
struct Choices<ScaleInit> {
  static constexpr const char* kNames[] = {"random_signs", "normal", "ones"};
  static constexpr const char* kWhat = "start of a scale";
};

template <>
struct Spec<Members> {
  static constexpr const char* kName = "members";
  static constexpr const char* kClass = "Members";
  static constexpr Key kTrainable = Key::optional;
  static constexpr std::tuple kFields{
      Field{"k", &Members::k, between(1, kMostMembers), "16 or 32 are usual", Holds::anything, Key::required},
      plain("init", &Members::init),
      plain("bias", &Members::bias),
  };
};

template <>
struct Spec<MemberDense> {
  static constexpr const char* kName = "member_dense";
  static constexpr const char* kClass = "MemberDense";
  static constexpr std::tuple kFields{
      Field{"units", &MemberDense::units, between(1, 0x1p31), "give the number of outputs of each member",
            Holds::anything, Key::required},
      plain("activation", &MemberDense::activation),
      plain("shared", &MemberDense::shared),
      Field{"members", &MemberDense::members, between(1, kMostMembers), "leave it out after Members"},
      plain("use_bias", &MemberDense::use_bias),
      plain("kernel_init", &MemberDense::kernel_init),
      plain("bias_init", &MemberDense::bias_init),
      plain("scale_init", &MemberDense::scale_init),
      plain("trainable", &MemberDense::trainable),
      Field{"l1", &MemberDense::l1, at_least(0), kPenaltyHint, Holds::not_zero},
      Field{"l2", &MemberDense::l2, at_least(0), kPenaltyHint, Holds::not_zero},
  };
};

template <>
struct Spec<FeatureScale> {
  static constexpr const char* kName = "feature_scale";
  static constexpr const char* kClass = "FeatureScale";
  static constexpr Key kTrainable = Key::optional;
  static constexpr std::tuple<> kFields{};
};

}  // namespace stoop
