// Everything that depends on a trainer's configuration alone: its checks, the regularisation terms, the learning rates.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <stoop/trainer.hpp>

#include "../graph/graph.hpp"

namespace stoop::inline v0_1 {

// Throws ValueError for a number outside its range, and for settings that an optimizer of the full batch cannot follow.
void check_config(const TrainerConfig& config, const Graph& graph);

// Refuses what cannot be had with tables that are updated lazily. `is_shared`: several processes or shards make an update.
void check_lazy(const TrainerConfig& config, const Graph& graph, bool is_shared);

// Returns whether updates go by those rows of a table whose gradient is not zero.
bool updates_lazily(const TrainerConfig& config, const Graph& graph);

// Refuses a model whose second derivatives no plan computes.
void check_curvature(std::string_view where, const Graph& graph);

// Throws ValueError if a Trainer<T> cannot compute with this precision. It does not check the CPU.
template <class T>
void check_precision(Precision precision);

// Returns for each element of Model::parameter_block() whether training changes it.
std::vector<bool> trained_elements(const Graph& graph);

// Returns whether updates need all gradients first.
bool needs_all_gradients(const TrainerConfig& config);

// The penalties of a weight: its own, or those of the trainer times the factor of the layer.
struct Penalties {
  double l1 = 0.0, l2 = 0.0;
  bool any() const { return l1 != 0.0 || l2 != 0.0; }
};
Penalties penalties_of(const TrainerConfig& config, const Node& node);

// The weights whose penalty is computed.
enum class Weights { all, frozen };

// Returns the l1 and l2 terms of the loss for these parameters, which are laid out as Model::parameter_block().
template <class T>
double penalty_of(const TrainerConfig& config, const Graph& graph, const T* parameters, Weights which);

// Throws ValueError for a rate that is negative or not finite; rates[i] is that of update `first` + i.
void check_rates(std::span<const double> rates, Index first);

// Returns the most likely reason of a loss that is not finite, from the parameters before it and the time it happened.
template <class T>
std::string cause_of_overflow(const TrainerConfig& config, const Graph& graph, const T* parameters,
                              double learning_rate, Index steps);

// Says what is wrong with an update whose rate times the norm of the gradient is `length`, and why.
template <class T>
std::string long_step(double length);
std::string cause_of_long_step(double learning_rate);

// Says what is wrong with a gradient of this norm, if the optimizer squares it, and why, after this number of updates.
template <class T>
std::string steep_gradient(const Optimizer& optimizer, double norm);
std::string cause_of_steep_gradient(double learning_rate, Index steps);

}  // namespace stoop
