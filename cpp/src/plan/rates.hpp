// The numbers an optimizer's kernel needs for update t (counted from 1); see UpdateArgs.
#pragma once

#include <cmath>

#include <stoop/optimizers.hpp>

#include "../ops/ops.hpp"

namespace stoop {

template <class T>
void set_rates(UpdateArgs<T>& args, const Optimizer& optimizer, Index t) {
  if (const SGD* sgd = std::get_if<SGD>(&optimizer)) {
    args.rate[0] = static_cast<T>(sgd->learning_rate);
    args.rate[1] = static_cast<T>(sgd->momentum);
    args.rate[2] = static_cast<T>(1.0 - sgd->dampening);
    args.rate[3] = sgd->nesterov ? T(1) : T(0);
  } else if (const Adam* adam = std::get_if<Adam>(&optimizer)) {
    const double steps = static_cast<double>(t);
    args.rate[0] = static_cast<T>(adam->learning_rate / (1.0 - std::pow(adam->beta1, steps)));
    args.rate[1] = static_cast<T>(adam->beta1);
    args.rate[2] = static_cast<T>(adam->beta2);
    args.rate[3] = static_cast<T>(adam->eps);
    args.rate[4] = static_cast<T>(1.0 / std::sqrt(1.0 - std::pow(adam->beta2, steps)));
    args.rate[5] = static_cast<T>(1.0 - adam->beta1);  // in double: 1 - 0.999f is off by 1e-5
    args.rate[6] = static_cast<T>(1.0 - adam->beta2);
  }
}

}  // namespace stoop
