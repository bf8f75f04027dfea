// What follows from a trainer's configuration alone: its checks, the regularisation terms, the learning rates.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <stoop/trainer.hpp>

#include "../graph/graph.hpp"

namespace stoop {

// Throws ValueError for a number outside its range, and for what an optimizer of the full batch cannot do.
void check_config(const TrainerConfig& config, const Graph& graph);

// Throws ValueError where a Trainer<T> cannot compute so; whether the CPU can is not looked at.
template <class T>
void check_precision(Precision precision);

// By element of Model::parameter_block(): whether training changes it.
std::vector<bool> trained_elements(const Graph& graph);

// Whether updates need all gradients first.
bool needs_all_gradients(const TrainerConfig& config);

// Which weights a penalty is wanted of.
enum class Weights { all, frozen };

// The l1 and l2 terms of the loss for these parameters, laid out as Model::parameter_block().
template <class T>
double penalty_of(const TrainerConfig& config, const Graph& graph, const T* parameters, Weights which);

// Throws ValueError for a rate that is negative or not finite; rates[i] is that of update `first` + i.
void check_rates(std::span<const double> rates, Index first);

// The most likely reason of a loss that is not finite, from the parameters before it and when it happened.
template <class T>
std::string cause_of_overflow(const TrainerConfig& config, const Graph& graph, const T* parameters,
                              double learning_rate, Index steps);

// What is wrong with an update whose rate times the norm of the gradient is `length`, and why.
template <class T>
std::string long_step(double length);
std::string cause_of_long_step(double learning_rate);

// What is wrong with a gradient of this norm, if the optimizer squares it, and why, after so many updates.
template <class T>
std::string steep_gradient(const Optimizer& optimizer, double norm);
std::string cause_of_steep_gradient(double learning_rate, Index steps);

}  // namespace stoop
