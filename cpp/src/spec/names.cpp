// Names, and what follows from a kind alone, looked up in the Spec of each alternative.
// A kind is the index of its alternative in its variant.
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include <stoop/error.hpp>
#include <stoop/optimizers.hpp>
#include <stoop/trainer.hpp>

#include "activations.hpp"
#include "fields.hpp"
#include "initializers.hpp"
#include "layers.hpp"
#include "losses.hpp"

namespace stoop {
namespace {

using namespace std::string_view_literals;

constexpr auto kInitializerNames = [] {
  std::array<std::string_view, std::size(kInitializers)> names;
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = kInitializers[i].name;
  return names;
}();
constexpr std::array kLastBatchNames = {"keep"sv, "drop"sv, "merge"sv};
constexpr std::array kPrecisionNames = {"float32"sv, "float64"sv, "bfloat16"sv};
constexpr std::array kOutputNames = {"softmax"sv, "sigmoid"sv, "identity"sv};
constexpr std::array kOptimizerNames = {"sgd"sv,   "adagrad"sv, "rmsprop"sv, "adam"sv,     "adamw"sv,
                                        "nadam"sv, "lion"sv,    "lbfgs"sv,   "newton_cg"sv};

static_assert(kOptimizerNames.size() == kOptimizerCount);

template <class Kind, std::size_t size>
std::string_view name_in(const std::array<std::string_view, size>& names, Kind kind) {
  return names[static_cast<std::size_t>(kind)];
}

// The position of `name`, exactly as written in the table.
template <std::size_t size>
std::size_t find_name(const std::array<std::string_view, size>& names, std::string_view where, std::string_view what,
                      std::string_view name) {
  for (std::size_t i = 0; i < size; ++i) {
    if (names[i] == name) return i;
  }
  throw_unknown_name(where, what, name, names);
}

// The alternative of that index with its default values.
template <class Variant>
Variant make_alternative(std::size_t index) {
  Variant result;
  [&]<std::size_t... i>(std::index_sequence<i...>) {
    ((i == index ? static_cast<void>(result.template emplace<i>()) : void()), ...);
  }(std::make_index_sequence<std::variant_size_v<Variant>>());
  return result;
}

void check(bool valid, std::string_view where, std::string_view name, double value, std::string_view expected,
           std::string_view hint) {
  if (!valid) throw_value_error(where, std::string(name) + " is " + number_text(value), expected, hint);
}

// A factor of a running mean.
void check_factor(std::string_view where, std::string_view name, double value, std::string_view usual) {
  check(value >= 0 && value < 1, where, name, value, "expected 0 <= " + std::string(name) + " < 1", usual);
}

void check_eps(std::string_view where, double value) {
  check(std::isfinite(value) && value > 0, where, "eps", value, "expected a finite number above 0", "1e-8 is usual");
}

void check_weight_decay(std::string_view where, double value) {
  check(std::isfinite(value) && value >= 0, where, "weight_decay", value, "expected a finite number, at least 0",
        "0 turns it off, 0.01 is usual");
}

void check_range(const SGD& sgd) {
  validate(sgd.learning_rate, "SGD");
  check_factor("SGD", "momentum", sgd.momentum, "0.9 is usual");
  check(sgd.dampening >= 0 && sgd.dampening <= 1, "SGD", "dampening", sgd.dampening, "expected 0 <= dampening <= 1",
        "use 0, or the momentum for an exponentially weighted average of the gradients");
  if (!sgd.nesterov) return;
  check(sgd.momentum > 0, "SGD", "nesterov is set and momentum", sgd.momentum, "expected momentum > 0",
        "give a momentum, or leave nesterov out");
  check(sgd.dampening == 0, "SGD", "nesterov is set and dampening", sgd.dampening, "expected dampening == 0",
        "leave out one of the two");
}

void check_range(const AdaGrad& adagrad) {
  validate(adagrad.learning_rate, "AdaGrad");
  check_eps("AdaGrad", adagrad.eps);
}

void check_range(const RMSProp& rmsprop) {
  validate(rmsprop.learning_rate, "RMSProp");
  check_factor("RMSProp", "rho", rmsprop.rho, "0.9 is usual");
  check_factor("RMSProp", "momentum", rmsprop.momentum, "0 turns it off");
  check_eps("RMSProp", rmsprop.eps);
}

template <class AdamLike>
void check_adam_like(const AdamLike& adam, std::string_view where) {
  validate(adam.learning_rate, where);
  check_factor(where, "beta1", adam.beta1, "0.9 is usual");
  check_factor(where, "beta2", adam.beta2, "0.999 is usual");
  check_eps(where, adam.eps);
}

void check_range(const Adam& adam) { check_adam_like(adam, "Adam"); }

void check_range(const AdamW& adamw) {
  check_adam_like(adamw, "AdamW");
  check_weight_decay("AdamW", adamw.weight_decay);
}

void check_range(const Nadam& nadam) {
  check_adam_like(nadam, "Nadam");
  check(std::isfinite(nadam.momentum_decay) && nadam.momentum_decay >= 0, "Nadam", "momentum_decay",
        nadam.momentum_decay, "expected a finite number, at least 0", "0.004 is usual");
}

void check_range(const Lion& lion) {
  validate(lion.learning_rate, "Lion");
  check_factor("Lion", "beta1", lion.beta1, "0.9 is usual");
  check_factor("Lion", "beta2", lion.beta2, "0.99 is usual");
  check_weight_decay("Lion", lion.weight_decay);
}

void check_count(std::string_view where, std::string_view name, int value, std::string_view usual) {
  check(value >= 1, where, name, value, "expected at least 1", usual);
}

void check_range(const LBFGS& lbfgs) {
  validate(lbfgs.learning_rate, "LBFGS");
  check_count("LBFGS", "history_size", lbfgs.history_size, "5 to 20 is usual");
  check_count("LBFGS", "max_evaluations", lbfgs.max_evaluations, "25 is usual");
}

void check_range(const NewtonCG& newton) {
  validate(newton.learning_rate, "NewtonCG");
  check_count("NewtonCG", "cg_iterations", newton.cg_iterations, "50 is usual");
  check_count("NewtonCG", "max_evaluations", newton.max_evaluations, "25 is usual");
  check(std::isfinite(newton.saddle_tolerance) && newton.saddle_tolerance >= 0, "NewtonCG", "saddle_tolerance",
        newton.saddle_tolerance, "expected a finite number, at least 0", "1e-6 is usual");
}

int states_of(const SGD& sgd) { return sgd.momentum != 0 ? 1 : 0; }
int states_of(const AdaGrad&) { return 1; }
int states_of(const RMSProp& rmsprop) { return 1 + (rmsprop.centered ? 1 : 0) + (rmsprop.momentum != 0 ? 1 : 0); }
int states_of(const Adam& adam) { return adam.amsgrad ? 3 : 2; }
int states_of(const AdamW& adamw) { return adamw.amsgrad ? 3 : 2; }
int states_of(const Nadam&) { return 2; }
int states_of(const Lion&) { return 1; }
int states_of(const LBFGS&) { return 0; }  // theirs is not of a fixed size
int states_of(const NewtonCG&) { return 0; }

}  // namespace

std::string_view name_of(ActivationKind kind) { return name_in(kNamesOf<Activation>, kind); }
std::string_view name_of(InitializerKind kind) { return name_in(kInitializerNames, kind); }
std::string_view name_of(LossKind kind) { return name_in(kNamesOf<Loss>, kind); }
std::string_view name_of(OptimizerKind kind) { return name_in(kOptimizerNames, kind); }

std::string_view name_of(Precision precision) { return name_in(kPrecisionNames, precision); }
std::string_view name_of(OutputKind output) { return name_in(kOutputNames, output); }

ActivationKind kind_of(const Activation& activation) { return static_cast<ActivationKind>(activation.index()); }
LossKind kind_of(const Loss& loss) { return static_cast<LossKind>(loss.index()); }
OptimizerKind kind_of(const Optimizer& optimizer) { return static_cast<OptimizerKind>(optimizer.index()); }
bool is_full_batch(OptimizerKind kind) { return kind == OptimizerKind::lbfgs || kind == OptimizerKind::newton_cg; }

Activation activation_from_name(std::string_view name, std::string_view where) {
  return alternative_named<Activation>(name, where, "activation");
}

std::string_view name_of(const Layer& layer) { return kNamesOf<Layer>[layer.index()]; }

Layer layer_from_name(std::string_view name, std::string_view where) {
  return alternative_named<Layer>(name, where, "layer");
}

InitializerKind initializer_kind_from_name(std::string_view name, std::string_view where) {
  return static_cast<InitializerKind>(find_name(kInitializerNames, where, "initializer", name));
}

Loss loss_from_name(std::string_view name, std::string_view where) {
  return alternative_named<Loss>(name, where, "loss");
}

Optimizer optimizer_from_name(std::string_view name, std::string_view where) {
  return make_alternative<Optimizer>(find_name(kOptimizerNames, where, "optimizer", name));
}

Precision precision_from_name(std::string_view name, std::string_view where) {
  return static_cast<Precision>(find_name(kPrecisionNames, where, "precision", name));
}

LastBatch last_batch_from_name(std::string_view name, std::string_view where) {
  return static_cast<LastBatch>(find_name(kLastBatchNames, where, "last_batch", name));
}

OutputKind output_from_name(std::string_view name, std::string_view where) {
  return static_cast<OutputKind>(find_name(kOutputNames, where, "output", name));
}

bool derivative_from_output(ActivationKind kind) {
  return trait_of<Activation>(kind, []<class Op>(TypeOf<Op>) { return Spec<Op>::kSaves == Saves::output; });
}

bool is_relu_like(ActivationKind kind) {
  return trait_of<Activation>(kind, []<class Op>(TypeOf<Op>) { return Spec<Op>::kReluLike; });
}

bool sign_gives_derivative(ActivationKind kind) {
  return trait_of<Activation>(kind, []<class Op>(TypeOf<Op>) { return Spec<Op>::kSignGivesDerivative; });
}

Numbers<Activation> numbers_of(const Activation& activation) { return numbers_in(activation); }

bool Residual::operator==(const Residual& other) const {
  return layers == other.layers && trainable == other.trainable;
}

std::optional<Activation> as_activation(const Layer& layer) {
  return std::visit(
      [](const auto& alternative) -> std::optional<Activation> {
        if constexpr (std::is_convertible_v<decltype(alternative), Activation>) {
          return Activation(alternative);
        } else {
          return std::nullopt;
        }
      },
      layer);
}

bool takes_classes(LossKind kind) {
  return trait_of<Loss>(kind, []<class Op>(TypeOf<Op>) { return Spec<Op>::kTakesClasses; });
}

bool has_accuracy(LossKind kind) {
  return trait_of<Loss>(kind, []<class Op>(TypeOf<Op>) { return Spec<Op>::kHasAccuracy; });
}

OutputKind output_of(LossKind kind) {
  return trait_of<Loss>(kind, []<class Op>(TypeOf<Op>) { return Spec<Op>::kOutput; });
}

TargetValues targets_of(LossKind kind) {
  return trait_of<Loss>(kind, []<class Op>(TypeOf<Op>) { return Spec<Op>::kTargets; });
}

Numbers<Loss> numbers_of(const Loss& loss) { return numbers_in(loss); }

void validate(const Loss& loss) {
  std::visit([](const auto& alternative) { check_fields(alternative); }, loss);
}

const LearningRate& schedule_of(const Optimizer& optimizer) {
  return std::visit([](const auto& alternative) -> const LearningRate& { return alternative.learning_rate; },
                    optimizer);
}

void set_learning_rate(Optimizer& optimizer, LearningRate learning_rate) {
  std::visit([&](auto& alternative) { alternative.learning_rate = std::move(learning_rate); }, optimizer);
}

double learning_rate_of(const Optimizer& optimizer) { return schedule_of(optimizer)(0); }

int state_count(const Optimizer& optimizer) {
  return std::visit([](const auto& alternative) { return states_of(alternative); }, optimizer);
}

void validate(const Optimizer& optimizer) {
  std::visit([](const auto& alternative) { check_range(alternative); }, optimizer);
}

}  // namespace stoop
