// One norm over the gradients of several trainers, which an update of all of them is limited by: Pascanu, Mikolov & Bengio
// 2013, algorithm 1.

#include <algorithm>
#include <cmath>

#include <stoop/error.hpp>

#include "../run/squared_gradient.hpp"
#include "trainer_core.hpp"

namespace stoop::inline v0_1 {

template <class T>
double Trainer<T>::gradient_norm() const {
  Pieces<T>& pieces = impl_->pieces;
  if (pieces.is_empty && !pieces.is_shown) return 0.0;
  double unused = 0.0, squares = 0.0, norm = 0.0;
  const std::span<T> gradient = pieces.gradient.elements();
  impl_->device.ops.regularize({static_cast<Index>(gradient.size()), impl_->state.parameters.data(), gradient.data(),
                                T(0), T(0), T(0), &unused, &unused, &squares, &norm});  // which then adds nothing
  return norm_of_blocks({&squares, 1}, {&norm, 1});
}

template <class T>
void Trainer<T>::scale_gradient(double factor) {
  for (T& element : impl_->pieces.gradient.elements()) {
    element = static_cast<T>(static_cast<double>(element) * factor);
  }
}

double clip_grad_norm(std::span<const AnyTrainer> trainers, double max_norm) {
  constexpr const char* kWhere = "clip_grad_norm";
  if (!(max_norm > 0.0) || !std::isfinite(max_norm)) {
    throw_value_error(kWhere, "max_norm is " + number_text(max_norm), "expected a finite number above 0",
                      "1 and 0.5 are usual");
  }
  for (std::size_t i = 0; i < trainers.size(); ++i) {
    if (std::ranges::count(trainers, trainers[i]) == 1) continue;
    throw_value_error(kWhere, "a trainer is given twice", "expected each once", "check the list of trainers");
  }
  double total = 0.0;
  for (const AnyTrainer& any : trainers) {
    std::visit(
        [&](const auto* trainer) {
          const double norm = trainer->gradient_norm();
          if (!std::isfinite(norm)) {
            throw NonFiniteLossError(trainer->steps(), trainer->epoch(), "look at the gradient of the outputs", kWhere,
                                     "the gradient of a trainer is not finite");
          }
          total = std::hypot(total, norm);
        },
        any);
  }
  if (total <= max_norm) return total;
  for (const AnyTrainer& any : trainers) {
    std::visit([&](auto* trainer) { trainer->scale_gradient(max_norm / total); }, any);
  }
  return total;
}

template double Trainer<float>::gradient_norm() const;
template double Trainer<double>::gradient_norm() const;
template void Trainer<float>::scale_gradient(double);
template void Trainer<double>::scale_gradient(double);

}  // namespace stoop
