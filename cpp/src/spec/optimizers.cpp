// Looks up name, state and ranges of each optimizer in its Spec.
#include "optimizers.hpp"

#include "fields.hpp"

namespace stoop::inline v0_1 {

void Spec<SGD>::check(const SGD& sgd) {
  if (!sgd.nesterov) return;
  if (sgd.momentum == 0) {
    throw_value_error(kClass, "nesterov is set and momentum is 0", "expected momentum > 0",
                      "give a momentum, or leave nesterov out");
  }
  if (sgd.dampening != 0) {
    throw_value_error(kClass, "nesterov is set and dampening is " + number_text(sgd.dampening),
                      "expected dampening == 0", "leave out one of the two");
  }
}

void Spec<Rprop>::check(const Rprop& rprop) {
  if (rprop.min_step_size <= rprop.max_step_size) return;
  throw_value_error(
      kClass,
      "min_step_size is " + number_text(rprop.min_step_size) + " and max_step_size " + number_text(rprop.max_step_size),
      "expected the first to be at most the second", "exchange them");
}

std::string_view name_of(const Optimizer& optimizer) { return kNamesOf<Optimizer>[optimizer.index()]; }

Optimizer optimizer_from_name(std::string_view name, std::string_view where) {
  return alternative_named<Optimizer>(name, where, "optimizer");
}

bool is_full_batch(const Optimizer& optimizer) {
  return std::visit([]<class Op>(const Op&) { return Spec<Op>::kFullBatch; }, optimizer);
}

bool needs_norms(const Optimizer& optimizer) {
  return std::visit([]<class Op>(const Op&) { return Spec<Op>::kNeedsNorms; }, optimizer);
}

int state_count(const Optimizer& optimizer) {
  return std::visit([]<class Op>(const Op& of) { return Spec<Op>::states(of); }, optimizer);
}

const LearningRate& schedule_of(const Optimizer& optimizer) {
  return std::visit([](const auto& of) -> const LearningRate& { return of.learning_rate; }, optimizer);
}

void set_learning_rate(Optimizer& optimizer, LearningRate learning_rate) {
  std::visit([&](auto& of) { of.learning_rate = std::move(learning_rate); }, optimizer);
}

double learning_rate_of(const Optimizer& optimizer) { return schedule_of(optimizer)(0); }

void validate(const Optimizer& optimizer) {
  const auto check = []<class Op>(const Op& of) {
    validate(of.learning_rate, Spec<Op>::kClass);
    check_fields(of);
  };
  std::visit(check, optimizer);
}

}  // namespace stoop
