// The steps of the parameters: gradient, update, running statistics, limits. Collected on the way back, they stand
// behind all other steps. Decides the blocks of a parameter, which are the same for any number of threads and rows.

#include <algorithm>
#include <iterator>
#include <utility>

#include "builder.hpp"

namespace stoop {
namespace {

// Rows of a weight per block: about 16 blocks, so that several threads share evenly, whole micro-kernel tiles, and no
// more than half a megabyte, so that the update finds its gradient in cache.
Index weight_block(Index in_features, Index out_features) {
  constexpr Index kBlocks = 16, kMostElements = 1 << 17;
  const Index tile = in_features >= 32 ? 8 : 4;
  const Index even = round_up(block_count(in_features, kBlocks), tile);
  const Index most = std::max(tile, kMostElements / out_features / tile * tile);
  return std::min({even, most, in_features});
}

// A product of few rows reads its other operand for them alone: small blocks of a thread share one product, as long as
// the gradient stays in the second-level cache.
constexpr Index kGroupElements = 1 << 15;

}  // namespace

void PlanBuilder::add_weight_steps(int i) {
  if (!node(i).trainable) return;
  Step step = start_step(StepKind::weight_gradient, Cut::parameter, i);
  step.input = planned(i).grad;
  step.gate = planned(node(i).input).value;
  step.extent = node(i).in_features;
  step.block = weight_block(node(i).in_features, node(i).out_features);
  step.row_elements = node(i).out_features;
  plan_.flops += product_flops(node(i));
  add_parameter_step(step, node(i).weight);
  if (node(i).bias != kNone) add_vector_step(StepKind::bias_gradient, i, node(i).bias, kNone, 0);
}

// A parameter with one element per column.
void PlanBuilder::add_vector_step(StepKind kind, int i, int parameter, int sums, int row) {
  constexpr Index kBlock = 64;
  if (!node(i).trainable) return;
  Step step = start_step(kind, Cut::parameter, i);
  step.input = planned(i).grad;
  step.gate = planned(node(i).input).value;
  step.statistics = planned(i).statistics;
  step.sums = sums;
  step.row = row;
  step.extent = node(i).out_features;
  step.block = std::min(kBlock, step.extent);
  add_parameter_step(step, parameter);
}

void PlanBuilder::add_parameter_step(Step step, int parameter) {
  step.cut = Cut::parameter;
  step.after = request_.kind == PlanKind::training ? After::update : After::regularize;
  step.parameter = offset(parameter);
  step.regularized = graph_.parameters[index(parameter)].info.regularized;
  step.l1 = node(step.node).l1;
  step.l2 = node(step.node).l2;
  step.first_sum = plan_.sum_slots;
  plan_.sum_slots += block_count(step.extent, step.block);
  const Index elements = step.block * step.row_elements;
  step.group = std::clamp(kGroupElements / elements, Index{1}, block_count(step.extent, step.block));
  plan_.block_elements = std::max(plan_.block_elements, step.group * elements);
  parameter_steps_.push_back(step);
}

// Of every batch normalisation, though the way back may not come so far: it ends where nothing before is trained.
void PlanBuilder::follow_statistics() {
  for (int i = 0; i < node_count(); ++i) {
    if (node(i).kind != NodeKind::batch_norm || planned(i).statistics == kNone) continue;
    Step step = start_step(StepKind::update_statistics, Cut::parameter, i);
    step.statistics = planned(i).statistics;
    if (request_.update_statistics) step.momentum = 0.0;  // of the whole batch: they are exact
    step.running_mean = graph_.buffers[index(node(i).running_mean)].info.offset;
    step.running_var = graph_.buffers[index(node(i).running_var)].info.offset;
    step.extent = step.block = node(i).out_features;
    parameter_steps_.push_back(step);
  }
}

// Behind the check of the loss: all values and gradients are there.
void PlanBuilder::append_parameter_steps() {
  Step check = start_step(StepKind::check_loss, Cut::everyone, kNone);
  check.barrier = true;
  plan_.steps.push_back(check);
  plan_.steps.insert(plan_.steps.end(), parameter_steps_.begin(), parameter_steps_.end());
}

// Checked training: the norm of all gradients is known before the first update.
void PlanBuilder::finish_gradients() {
  const auto is_statistics = [](const Step& step) { return step.kind == StepKind::update_statistics; };
  std::vector<Step> updates;
  std::copy_if(plan_.steps.begin(), plan_.steps.end(), std::back_inserter(updates), is_statistics);
  std::erase_if(plan_.steps, is_statistics);
  for (const Step& step : parameter_steps_) {
    if (is_statistics(step)) continue;
    updates.push_back(step);
    updates.back().kind = StepKind::update_parameter;
    updates.back().after = After::update;
  }
  Step check = start_step(StepKind::check_gradient, Cut::everyone, kNone);
  check.barrier = true;
  plan_.steps.push_back(check);
  plan_.steps.insert(plan_.steps.end(), updates.begin(), updates.end());
}

// A column of a weight spreads over its blocks, so all must be updated before any is looked at.
void PlanBuilder::limit_norms() {
  bool barrier = true;
  for (const Step& step : parameter_steps_) {
    if (step.kind != StepKind::weight_gradient) continue;
    Step limit = start_step(StepKind::limit_norm, Cut::columns, step.node);
    limit.barrier = std::exchange(barrier, false);
    plan_.steps.push_back(limit);
  }
}

}  // namespace stoop
