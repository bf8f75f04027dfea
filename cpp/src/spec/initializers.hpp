// Everything that is known of each initialiser except its draws, which are in model/initialize.cpp.
#pragma once

#include <stoop/layers.hpp>

#include "spec.hpp"

namespace stoop::inline v0_1 {

// Messages open with the name, as Python has no class of each.
struct InitializerSpec {
  static constexpr std::tuple<> kFields{};
};

template <class Op>
constexpr auto with_value(Bounds bounds, Key presence = Key::required) {
  return std::tuple{Field{"value", &Op::value, bounds,
                          "give the constant, the standard deviation, the limit or the gain", Holds::size, presence}};
}

template <>
struct Spec<initializers::Zeros> : InitializerSpec {
  static constexpr const char* kName = "zeros";
  static constexpr const char* kClass = kName;
};

template <>
struct Spec<initializers::Ones> : InitializerSpec {
  static constexpr const char* kName = "ones";
  static constexpr const char* kClass = kName;
};

template <>
struct Spec<initializers::Constant> : InitializerSpec {
  static constexpr const char* kName = "constant";
  static constexpr const char* kClass = kName;
  static constexpr auto kFields = with_value<initializers::Constant>(any_number());
};

template <>
struct Spec<initializers::Normal> : InitializerSpec {
  static constexpr const char* kName = "normal";
  static constexpr const char* kClass = kName;
  static constexpr auto kFields = with_value<initializers::Normal>(at_least(0));
};

template <>
struct Spec<initializers::Uniform> : InitializerSpec {
  static constexpr const char* kName = "uniform";
  static constexpr const char* kClass = kName;
  static constexpr auto kFields = with_value<initializers::Uniform>(at_least(0));
};

template <>
struct Spec<initializers::GlorotUniform> : InitializerSpec {
  static constexpr const char* kName = "glorot_uniform";
  static constexpr const char* kClass = kName;
};

template <>
struct Spec<initializers::GlorotNormal> : InitializerSpec {
  static constexpr const char* kName = "glorot_normal";
  static constexpr const char* kClass = kName;
};

template <>
struct Spec<initializers::HeUniform> : InitializerSpec {
  static constexpr const char* kName = "he_uniform";
  static constexpr const char* kClass = kName;
};

template <>
struct Spec<initializers::HeNormal> : InitializerSpec {
  static constexpr const char* kName = "he_normal";
  static constexpr const char* kClass = kName;
};

template <>
struct Spec<initializers::LecunUniform> : InitializerSpec {
  static constexpr const char* kName = "lecun_uniform";
  static constexpr const char* kClass = kName;
};

template <>
struct Spec<initializers::LecunNormal> : InitializerSpec {
  static constexpr const char* kName = "lecun_normal";
  static constexpr const char* kClass = kName;
};

template <>
struct Spec<initializers::Orthogonal> : InitializerSpec {
  static constexpr const char* kName = "orthogonal";
  static constexpr const char* kClass = kName;
  static constexpr auto kFields = with_value<initializers::Orthogonal>(at_least(0), Key::optional);
};

}  // namespace stoop
