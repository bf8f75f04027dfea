// Everything that is known of each initialiser except its draws, which are in model/initialize.cpp.
#pragma once

#include <iterator>
#include <string_view>

#include <stoop/layers.hpp>

#include "spec.hpp"

namespace stoop {

struct InitializerSpec {
  InitializerKind kind;
  std::string_view name;
  Key value = Key::if_changed;  // of Initializer::value; if_changed: it has none
  Bounds bounds = any_number();
};

inline constexpr const char* kInitializerHint = "give the constant, the standard deviation, the limit or the gain";

inline constexpr InitializerSpec kInitializers[] = {
    {InitializerKind::zeros, "zeros"},
    {InitializerKind::ones, "ones"},
    {InitializerKind::constant, "constant", Key::required},
    {InitializerKind::normal, "normal", Key::required, at_least(0)},
    {InitializerKind::uniform, "uniform", Key::required, at_least(0)},
    {InitializerKind::glorot_uniform, "glorot_uniform"},
    {InitializerKind::glorot_normal, "glorot_normal"},
    {InitializerKind::he_uniform, "he_uniform"},
    {InitializerKind::he_normal, "he_normal"},
    {InitializerKind::lecun_uniform, "lecun_uniform"},
    {InitializerKind::lecun_normal, "lecun_normal"},
    {InitializerKind::orthogonal, "orthogonal", Key::optional, at_least(0)},
};
static_assert([] {
  int i = 0;
  for (const InitializerSpec& spec : kInitializers) {
    if (static_cast<int>(spec.kind) != i++) return false;
  }
  return true;
}());

constexpr const InitializerSpec& spec_of(InitializerKind kind) { return kInitializers[static_cast<int>(kind)]; }

}  // namespace stoop
