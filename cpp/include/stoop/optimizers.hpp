// Optimizers as plain data; g is the gradient with the l2 term already in it, t counts updates from 1.
#pragma once

#include <string_view>
#include <variant>

namespace stoop {

// v = momentum*v + (1-dampening)*g;  w -= lr*v, with nesterov w -= lr*(g + momentum*v).
// momentum: Polyak 1964; nesterov: Nesterov 1983, in the form of Bengio et al. 2013, eq. 7.
struct SGD {
  double learning_rate = 0.01;
  double momentum = 0.0;
  bool nesterov = false;
  double dampening = 0.0;
};

// Kingma & Ba 2015, algorithm 1: m and v are running means of g and g^2,
// w -= lr * m/(1-beta1^t) / (sqrt(v/(1-beta2^t)) + eps).
struct Adam {
  double learning_rate = 0.001;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
};

using Optimizer = std::variant<SGD, Adam>;

// The same order as the alternatives of Optimizer.
enum class OptimizerKind { sgd, adam };
inline constexpr int kOptimizerCount = static_cast<int>(std::variant_size_v<Optimizer>);

std::string_view name_of(OptimizerKind kind);
OptimizerKind kind_of(const Optimizer& optimizer);
double learning_rate_of(const Optimizer& optimizer);
int state_count(const Optimizer& optimizer);  // arrays of parameter size it keeps: SGD 0 or 1, Adam 2
Optimizer optimizer_from_name(std::string_view name, std::string_view where = "optimizer");

// Throws ValueError for a rate, momentum or beta outside its range.
void validate(const Optimizer& optimizer);

}  // namespace stoop
