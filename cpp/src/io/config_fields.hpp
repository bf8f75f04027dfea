// The keys of every configuration type, in the order in which they are written: those that its Spec lists, or those below.
// There is no JSON here; config_json.cpp gives the visitor.
#pragma once

#include <type_traits>

#include <stoop/model.hpp>
#include <stoop/trainer_config.hpp>

#include "../spec/initializers.hpp"
#include "../spec/layers.hpp"
#include "../spec/losses.hpp"
#include "../spec/optimizers.hpp"
#include "../spec/schedules.hpp"
#include "arguments.hpp"
#include "config_json.hpp"

namespace stoop::inline v0_1 {

constexpr bool kRequired = true, kOptional = false;

template <class T>
concept HasSpec = requires { Spec<T>::kFields; };

// Returns whether a field is written. A field that is written only if it differs from its default may be missing.
template <class Op, class Member>
bool is_written(const Op& op, const Field<Op, Member>& field) {
  if constexpr (std::is_scalar_v<Member>) {
    const Op defaults{};
    return field.presence != Key::if_changed || op.*field.member != defaults.*field.member;
  }
  return true;
}

// Calls visit(key, member, is_required, is_written) for every key an object has beside "type".
template <class Object, class Visit>
void visit_fields(Object& object, const Visit& visit) {
  using T = std::remove_const_t<Object>;
  if constexpr (HasSpec<T>) {
    for_each_field<T>([&](const auto& field) {
      visit(field.key, object.*field.member, field.presence == Key::required, is_written(object, field));
    });
  } else if constexpr (std::is_same_v<T, ModelConfig>) {
    visit("input_dim", object.input_dim, kRequired);
    visit("seed", object.seed, kOptional);
    visit("layers", object.layers, kRequired);
    // Keys that change nothing are left out, so that older versions can read such files.
    visit("input_scale", object.input_scale, kOptional, object.input_scale != 1.0);
    visit("input_shift", object.input_shift, kOptional, object.input_shift != 0.0);
    visit("output", object.output, kOptional, object.output.has_value());
    visit("classes", object.classes, kOptional, object.classes.has_value());
    visit("metadata", object.metadata, kOptional, !object.metadata.empty());
  } else if constexpr (std::is_same_v<T, ClassNames>) {
    visit("dtype", object.dtype, kOptional);
    visit("names", object.names, kRequired);
  } else if constexpr (std::is_same_v<T, TrainerConfig>) {
    visit("loss", object.loss, kOptional);
    visit("optimizer", object.optimizer, kOptional);
    visit("l1", object.l1, kOptional);
    visit("l2", object.l2, kOptional);
    visit("clip_norm", object.clip_norm, kOptional);
    visit("clip_value", object.clip_value, kOptional);
    visit("max_norm", object.max_norm, kOptional);
    visit("accumulate", object.accumulate, kOptional);
    visit("ema", object.ema, kOptional);
    visit("precision", object.precision, kOptional);
    visit("num_threads", object.num_threads, kOptional);
    visit("seed", object.seed, kOptional);
  } else if constexpr (std::is_same_v<T, CheckpointInfo>) {
    visit("version", object.version, kRequired);
    visit("library", object.library, kRequired);
    visit("trainer", object.trainer, kRequired);
    visit("has_custom_rate", object.has_custom_rate, kRequired);
    visit("optimizer_arrays", object.optimizer_arrays, kRequired);
    visit("swapped", object.swapped, kRequired);
    visit("epoch", object.epoch, kRequired);
    visit("steps", object.steps, kRequired);
    visit("place", object.place, kRequired);
    visit("fit", object.fit, kRequired);
    visit("history", object.history, kRequired);
  } else if constexpr (std::is_same_v<T, EpochPlace>) {
    visit("row", object.row, kRequired);
    visit("updates", object.updates, kRequired);
    visit("loss_sum", object.loss_sum, kRequired);
    visit("weight_sum", object.weight_sum, kRequired);
    visit("correct", object.correct, kRequired);
    visit("grad_norm_sum", object.grad_norm_sum, kRequired);
    visit("largest_norm", object.largest_norm, kRequired);
  } else if constexpr (std::is_same_v<T, FitRecord>) {
    visit("first_epoch", object.first_epoch, kRequired);
    visit("epochs", object.epochs, kRequired);
    visit("samples", object.samples, kRequired);
    visit("batch_size", object.batch_size, kRequired);
    visit("shuffle", object.shuffle, kRequired);
    visit("last_batch", object.last_batch, kRequired);
    visit("data", object.data, kRequired);
    visit("augment", object.augment, kOptional, object.augment != 0);
  } else if constexpr (std::is_same_v<T, History>) {
    visit("epochs", object.epochs, kRequired);
    visit("loss", object.loss, kRequired);
    visit("accuracy", object.accuracy, kRequired);
    visit("val_loss", object.val_loss, kRequired);
    visit("val_accuracy", object.val_accuracy, kRequired);
    visit("learning_rate", object.learning_rate, kRequired);
    visit("grad_norm", object.grad_norm, kRequired);
    visit("samples_per_second", object.samples_per_second, kRequired);
  } else if constexpr (std::is_same_v<T, ModelArguments>) {
    visit_fields(object.config, visit);
    visit("dtype", object.dtype, kOptional);
  } else if constexpr (std::is_same_v<T, TrainerArguments>) {
    visit_fields(object.config, visit);
    visit("rollback", object.rollback, kOptional);
  } else if constexpr (std::is_same_v<T, FitArguments>) {
    visit("epochs", object.epochs, kOptional);
    visit("batch_size", object.batch_size, kOptional);
    visit("validation_split", object.validation_split, kOptional);
    visit("validation_freq", object.validation_freq, kOptional);
    visit("shuffle", object.shuffle, kOptional);
    visit("last_batch", object.last_batch, kOptional);
    visit("max_time", object.max_time, kOptional);
    visit("resume", object.resume, kOptional);
    visit("overfit_batches", object.overfit_batches, kOptional);
  } else {
    static_assert(std::is_empty_v<T>, "list the keys of this type here");
  }
}

}  // namespace stoop
