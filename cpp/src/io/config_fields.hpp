// The keys of every configuration type, in the order in which they are written. No JSON here: config_json.cpp gives
// the visitor. A new member of a configuration becomes part of model and checkpoint files by one line below.
#pragma once

#include <type_traits>

#include <stoop/model.hpp>
#include <stoop/trainer.hpp>

namespace stoop {

// Whether a key may be left out, which means the default of the member.
enum class Key { required, optional };

// Initialisers that are not complete without Initializer::value.
inline bool takes_value(InitializerKind kind) {
  return kind == InitializerKind::constant || kind == InitializerKind::normal || kind == InitializerKind::uniform;
}

// Calls visit(key, member, Key) for every key an object has beside "type".
template <class Object, class Visit>
void visit_fields(Object& object, const Visit& visit) {
  using T = std::remove_const_t<Object>;
  if constexpr (std::is_same_v<T, LeakyReLU>) {
    visit("negative_slope", object.negative_slope, Key::optional);
  } else if constexpr (std::is_same_v<T, ELU>) {
    visit("alpha", object.alpha, Key::optional);
  } else if constexpr (std::is_same_v<T, BatchNorm>) {
    visit("momentum", object.momentum, Key::optional);
    visit("eps", object.eps, Key::optional);
    visit("trainable", object.trainable, Key::optional);
  } else if constexpr (std::is_same_v<T, LayerNorm>) {
    visit("eps", object.eps, Key::optional);
    visit("trainable", object.trainable, Key::optional);
  } else if constexpr (std::is_same_v<T, Dropout>) {
    visit("rate", object.rate, Key::required);
  } else if constexpr (std::is_same_v<T, Residual>) {
    visit("layers", object.layers, Key::required);
  } else if constexpr (std::is_same_v<T, Initializer>) {
    if (takes_value(object.kind)) visit("value", object.value, Key::required);
  } else if constexpr (std::is_same_v<T, Dense>) {
    visit("units", object.units, Key::required);
    visit("activation", object.activation, Key::optional);
    visit("use_bias", object.use_bias, Key::optional);
    visit("kernel_init", object.kernel_init, Key::optional);
    visit("bias_init", object.bias_init, Key::optional);
    visit("trainable", object.trainable, Key::optional);
  } else if constexpr (std::is_same_v<T, SoftmaxCrossEntropy>) {
    visit("label_smoothing", object.label_smoothing, Key::optional);
  } else if constexpr (std::is_same_v<T, Huber>) {
    visit("delta", object.delta, Key::optional);
  } else if constexpr (std::is_same_v<T, SGD>) {
    visit("learning_rate", object.learning_rate, Key::optional);
    visit("momentum", object.momentum, Key::optional);
    visit("nesterov", object.nesterov, Key::optional);
    visit("dampening", object.dampening, Key::optional);
  } else if constexpr (std::is_same_v<T, Adam>) {
    visit("learning_rate", object.learning_rate, Key::optional);
    visit("beta1", object.beta1, Key::optional);
    visit("beta2", object.beta2, Key::optional);
    visit("eps", object.eps, Key::optional);
  } else if constexpr (std::is_same_v<T, ModelConfig>) {
    visit("input_dim", object.input_dim, Key::required);
    visit("seed", object.seed, Key::optional);
    visit("layers", object.layers, Key::required);
  } else if constexpr (std::is_same_v<T, TrainerConfig>) {
    visit("loss", object.loss, Key::optional);
    visit("optimizer", object.optimizer, Key::optional);
    visit("l2", object.l2, Key::optional);
    visit("num_threads", object.num_threads, Key::optional);
    visit("seed", object.seed, Key::optional);
  } else {
    static_assert(std::is_empty_v<T>, "list the keys of this type here");
  }
}

}  // namespace stoop
