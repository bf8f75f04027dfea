// The keys of every configuration type, in the order in which they are written. No JSON here: config_json.cpp gives
// the visitor. A new member of a configuration becomes part of model and checkpoint files by one line below.
#pragma once

#include <type_traits>

#include <stoop/model.hpp>
#include <stoop/trainer.hpp>

namespace stoop {

// Whether a key may be left out, which means the default of the member. `if_false`: it may, and a true one is not
// written; `unwritten`: it may, and it is not written.
enum class Key { required, optional, if_false, unwritten };

// Initialisers that are not complete without Initializer::value.
inline bool needs_value(InitializerKind kind) {
  return kind == InitializerKind::constant || kind == InitializerKind::normal || kind == InitializerKind::uniform;
}
inline bool takes_value(InitializerKind kind) { return needs_value(kind) || kind == InitializerKind::orthogonal; }

// The keys of a schedule beside "type" and "per". Custom has none: it is never read or written.
template <class Schedule, class Visit>
void visit_schedule(Schedule& schedule, const Visit& visit) {
  using namespace schedules;
  using S = std::remove_const_t<Schedule>;
  constexpr bool kHasEnd = std::is_same_v<S, Linear> || std::is_same_v<S, Polynomial> || std::is_same_v<S, Cosine>;
  if constexpr (std::is_same_v<S, Piecewise>) {
    visit("boundaries", schedule.boundaries, Key::required);
    visit("values", schedule.values, Key::required);
  } else if constexpr (std::is_same_v<S, Warmup>) {
    visit("schedule", schedule.schedule, Key::required);
    visit("steps", schedule.steps, Key::required);
  } else if constexpr (std::is_same_v<S, OneCycle>) {
    visit("max_lr", schedule.max_lr, Key::required);
    visit("steps", schedule.steps, Key::required);
    visit("pct_start", schedule.pct_start, Key::optional);
    visit("div_factor", schedule.div_factor, Key::optional);
    visit("final_div_factor", schedule.final_div_factor, Key::optional);
  } else if constexpr (!std::is_same_v<S, Custom>) {
    visit("lr", schedule.lr, Key::required);
    if constexpr (kHasEnd) visit("end", schedule.end, std::is_same_v<S, Cosine> ? Key::optional : Key::required);
    if constexpr (kHasEnd) visit("steps", schedule.steps, Key::required);
    if constexpr (std::is_same_v<S, Polynomial>) visit("power", schedule.power, Key::optional);
    if constexpr (std::is_same_v<S, Step>) visit("factor", schedule.factor, Key::optional);
    if constexpr (std::is_same_v<S, Exponential> || std::is_same_v<S, InverseTime>) {
      visit("decay", schedule.decay, Key::required);
    }
    if constexpr (std::is_same_v<S, Step>) visit("every", schedule.every, Key::required);
    if constexpr (std::is_same_v<S, Exponential>) visit("every", schedule.every, Key::optional);
    if constexpr (std::is_same_v<S, Power>) visit("exponent", schedule.exponent, Key::required);
  }
}

// The keys of a layer beside "type".
template <class LayerType, class Visit>
void visit_layer(LayerType& object, const Visit& visit) {
  using T = std::remove_const_t<LayerType>;
  if constexpr (std::is_same_v<T, LeakyReLU>) {
    visit("negative_slope", object.negative_slope, Key::optional);
    visit("trainable", object.trainable, Key::if_false);
  } else if constexpr (std::is_same_v<T, ELU>) {
    visit("alpha", object.alpha, Key::optional);
    visit("trainable", object.trainable, Key::if_false);
  } else if constexpr (std::is_same_v<T, BatchNorm>) {
    visit("momentum", object.momentum, Key::optional);
    visit("eps", object.eps, Key::optional);
    visit("trainable", object.trainable, Key::optional);
  } else if constexpr (std::is_same_v<T, LayerNorm>) {
    visit("eps", object.eps, Key::optional);
    visit("trainable", object.trainable, Key::optional);
  } else if constexpr (std::is_same_v<T, Dropout>) {
    visit("rate", object.rate, Key::required);
    visit("trainable", object.trainable, Key::if_false);
  } else if constexpr (std::is_same_v<T, Residual>) {
    visit("layers", object.layers, Key::required);
    visit("trainable", object.trainable, Key::if_false);
  } else if constexpr (std::is_same_v<T, Dense>) {
    visit("units", object.units, Key::required);
    visit("activation", object.activation, Key::optional);
    visit("use_bias", object.use_bias, Key::optional);
    visit("kernel_init", object.kernel_init, Key::optional);
    visit("bias_init", object.bias_init, Key::optional);
    visit("trainable", object.trainable, Key::optional);
    visit("l1", object.l1, Key::optional);
    visit("l2", object.l2, Key::optional);
  } else {  // an activation without a number
    static_assert(std::is_constructible_v<Activation, T>, "list the keys of this layer here");
    visit("trainable", object.trainable, Key::if_false);
  }
}

// The same of an optimizer.
template <class OptimizerType, class Visit>
void visit_optimizer(OptimizerType& object, const Visit& visit) {
  using T = std::remove_const_t<OptimizerType>;
  visit("learning_rate", object.learning_rate, Key::optional);
  if constexpr (std::is_same_v<T, SGD>) {
    visit("momentum", object.momentum, Key::optional);
    visit("nesterov", object.nesterov, Key::optional);
    visit("dampening", object.dampening, Key::optional);
  } else if constexpr (std::is_same_v<T, AdaGrad>) {
    visit("eps", object.eps, Key::optional);
  } else if constexpr (std::is_same_v<T, RMSProp>) {
    visit("rho", object.rho, Key::optional);
    visit("eps", object.eps, Key::optional);
    visit("momentum", object.momentum, Key::optional);
    visit("centered", object.centered, Key::optional);
  } else if constexpr (std::is_same_v<T, Adam> || std::is_same_v<T, AdamW> || std::is_same_v<T, Nadam>) {
    visit("beta1", object.beta1, Key::optional);
    visit("beta2", object.beta2, Key::optional);
    visit("eps", object.eps, Key::optional);
    if constexpr (std::is_same_v<T, Nadam>) {
      visit("momentum_decay", object.momentum_decay, Key::optional);
    } else {
      visit("amsgrad", object.amsgrad, Key::optional);
    }
    if constexpr (std::is_same_v<T, AdamW>) visit("weight_decay", object.weight_decay, Key::optional);
  } else if constexpr (std::is_same_v<T, Lion>) {
    visit("beta1", object.beta1, Key::optional);
    visit("beta2", object.beta2, Key::optional);
    visit("weight_decay", object.weight_decay, Key::optional);
  } else if constexpr (std::is_same_v<T, LBFGS>) {
    visit("history_size", object.history_size, Key::optional);
    visit("max_evaluations", object.max_evaluations, Key::optional);
  } else if constexpr (std::is_same_v<T, NewtonCG>) {
    visit("cg_iterations", object.cg_iterations, Key::optional);
    visit("max_evaluations", object.max_evaluations, Key::optional);
    visit("saddle_tolerance", object.saddle_tolerance, Key::optional);
  } else {
    static_assert(std::is_void_v<T>, "list the keys of this optimizer here");
  }
}

// Calls visit(key, member, Key) for every key an object has beside "type".
template <class Object, class Visit>
void visit_fields(Object& object, const Visit& visit) {
  using T = std::remove_const_t<Object>;
  if constexpr (schedules::HasPer<T>) {
    visit_schedule(object, visit);
    visit("per", object.per, Key::optional);
  } else if constexpr (std::is_constructible_v<Layer, T>) {
    visit_layer(object, visit);
  } else if constexpr (std::is_constructible_v<Optimizer, T>) {
    visit_optimizer(object, visit);
  } else if constexpr (std::is_same_v<T, Initializer>) {
    if (takes_value(object.kind)) {
      visit("value", object.value, needs_value(object.kind) ? Key::required : Key::optional);
    }
  } else if constexpr (std::is_same_v<T, SoftmaxCrossEntropy>) {
    visit("label_smoothing", object.label_smoothing, Key::optional);
  } else if constexpr (std::is_same_v<T, Huber>) {
    visit("delta", object.delta, Key::optional);
  } else if constexpr (std::is_same_v<T, ModelConfig>) {
    visit("input_dim", object.input_dim, Key::required);
    visit("seed", object.seed, Key::optional);
    visit("layers", object.layers, Key::required);
    // Left out where they change nothing: older versions read such files.
    visit("input_scale", object.input_scale, object.input_scale == 1.0 ? Key::unwritten : Key::optional);
    visit("input_shift", object.input_shift, object.input_shift == 0.0 ? Key::unwritten : Key::optional);
    visit("output", object.output, object.output ? Key::optional : Key::unwritten);
    visit("classes", object.classes, object.classes ? Key::optional : Key::unwritten);
  } else if constexpr (std::is_same_v<T, ClassNames>) {
    visit("dtype", object.dtype, Key::optional);
    visit("names", object.names, Key::required);
  } else if constexpr (std::is_same_v<T, TrainerConfig>) {
    visit("loss", object.loss, Key::optional);
    visit("optimizer", object.optimizer, Key::optional);
    visit("l1", object.l1, Key::optional);
    visit("l2", object.l2, Key::optional);
    visit("clip_norm", object.clip_norm, Key::optional);
    visit("clip_value", object.clip_value, Key::optional);
    visit("max_norm", object.max_norm, Key::optional);
    visit("accumulate", object.accumulate, Key::optional);
    visit("ema", object.ema, Key::optional);
    visit("precision", object.precision, Key::optional);
    visit("num_threads", object.num_threads, Key::optional);
    visit("seed", object.seed, Key::optional);
  } else {
    static_assert(std::is_empty_v<T>, "list the keys of this type here");
  }
}

}  // namespace stoop
