// The loss of a batch in training, by blocks of rows, with its gradient or the tangent of the gradient.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "batches.hpp"
#include "steps_context.hpp"

namespace stoop::inline v0_1 {

// The inputs and results of the loss of a batch.
template <class T>
struct LossMemory {
  explicit LossMemory(Index rows)
      : classes(static_cast<std::size_t>(rows)),
        weights(classes.size()),
        losses(static_cast<std::size_t>(block_count(rows, kRowBlock))),
        correct(losses.size()) {}

  std::vector<std::int32_t> classes;
  std::vector<double> weights;          // in units of Batch::weight_unit
  std::vector<T> element_weights;       // the same; memory for them is made when a run has some
  std::vector<double> losses, correct;  // per row block

  void reserve(const SampleRows<T>& data) {
    if (data.element_weights.data == nullptr) return;
    element_weights.resize(
        std::max(element_weights.size(), classes.size() * static_cast<std::size_t>(data.element_weights.cols)));
  }
};

template <class T>
class BatchLoss {
 public:
  BatchLoss(const Plan& plan, const OpTable<T>& ops, const TrainingRun<T>& run, LossMemory<T>& memory)
      : plan_(plan), ops_(ops), run_(run), memory_(memory) {}

  // The loss of the rows [begin, end) is taken by blocks of rows, so that the partial sums are the same for any team.
  void compute(const StepContext<T>& context, const Step& step, const Batch& batch, Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const auto place = static_cast<std::size_t>(i);
      const Index from = run_.data.sample(batch.start + i);
      if (plan_.class_targets) {
        memory_.classes[place] = read_label(run_.data.classes, from, step.out_features, bad_label_);
      }
      if (run_.data.weights != nullptr) memory_.weights[place] = run_.data.weights[from] / batch.weight_unit;
      if (run_.data.element_weights.data != nullptr) gather_element_weights(i, from, static_cast<T>(batch.weight_unit));
    }
    for (Index i = begin; i < end; i += kRowBlock) {
      LossArgs<T> args = args_of(context, step, batch, i, std::min(kRowBlock, end - i));
      ops_.loss[static_cast<int>(plan_.loss)](args);
      if (step.members > 1) add_members(context, step, args);
    }
  }

  void compute_tangent(const StepContext<T>& context, const Step& step, const Batch& batch, const Slice& slice) {
    LossArgs<T> args = args_of(context, step, batch, slice.row, slice.rows());
    const Index ld = context.stride(step.x_tangent);
    const T* tangent = context.at(step.x_tangent, slice.row * step.members);
    for (Index member = 0; member < step.members; ++member, tangent += ld) {
      ops_.loss_tangent[static_cast<int>(plan_.loss)]({args, tangent, ld * step.members});
      to_next_member(context, step, args);
    }
  }

  // In units of Batch::weight_unit.
  double sum(Index rows) const { return sum_of(memory_.losses, rows); }
  double correct(Index rows) const { return sum_of(memory_.correct, rows); }
  // The first label that was no class when it was read, packed; kNone: there is none.
  Index bad_label() const { return bad_label_.load(std::memory_order_relaxed); }

 private:
  // Each member has outputs of its own for the same targets. The loss is the mean of theirs, and so is what is right.
  void add_members(const StepContext<T>& context, const Step& step, LossArgs<T>& args) const {
    double loss = *args.loss, correct = *args.correct;
    for (Index member = 1; member < step.members; ++member) {
      to_next_member(context, step, args);
      ops_.loss[static_cast<int>(plan_.loss)](args);
      loss += *args.loss;
      correct += *args.correct;
    }
    *args.loss = loss / static_cast<double>(step.members);
    *args.correct = correct / static_cast<double>(step.members);
  }

  static void to_next_member(const StepContext<T>& context, const Step& step, LossArgs<T>& args) {
    args.output += context.stride(step.x);
    if (args.grad != nullptr) args.grad += context.stride(step.out);
  }

  double sum_of(const std::vector<double>& blocks, Index rows) const {
    return run_.groups == 1 ? sum_of(blocks, 0, rows) : sum_of_groups(blocks, {0, run_.groups});
  }

  static double sum_of(const std::vector<double>& blocks, Index begin, Index end) {
    double sum = 0.0;
    for (Index b = begin / kRowBlock; b < block_count(end, kRowBlock); ++b) sum += blocks[static_cast<std::size_t>(b)];
    return sum;
  }

  double sum_of_groups(const std::vector<double>& blocks, const Range& groups) const {
    const Index middle = (groups.begin + groups.end) / 2;
    if (middle == groups.begin) return sum_of(blocks, run_.group_rows[groups.begin], run_.group_rows[groups.end]);
    return sum_of_groups(blocks, {groups.begin, middle}) + sum_of_groups(blocks, {middle, groups.end});
  }

  void gather_element_weights(Index i, Index from, T unit) {
    const MatrixView<const T>& weights = run_.data.element_weights;
    for (Index j = 0; j < weights.cols; ++j) {
      memory_.element_weights[static_cast<std::size_t>(i * weights.cols + j)] =
          weights.data[from * weights.cols + j] / unit;
    }
  }

  // Returns the arguments of the kernel for the rows from `i` on, of the first member.
  LossArgs<T> args_of(const StepContext<T>& context, const Step& step, const Batch& batch, Index i, Index rows) {
    LossArgs<T> args{};
    args.rows = rows;
    args.cols = step.out_features;
    args.output = context.at(step.x, i * step.members);
    args.ld_output = context.stride(step.x) * step.members;
    if (plan_.class_targets) {
      args.classes = memory_.classes.data() + i;
    } else {
      args.targets = context.at(plan_.target_buffer, i);
      args.ld_targets = context.stride(plan_.target_buffer);
    }
    if (run_.data.weights != nullptr) args.weights = memory_.weights.data() + i;
    if (run_.data.element_weights.data != nullptr) {
      args.ld_element_weights = run_.data.element_weights.cols;
      args.element_weights = memory_.element_weights.data() + i * args.ld_element_weights;
    }
    if (step.out != kNone) {
      args.grad = context.at(step.out, i * step.members);
      args.ld_grad = context.stride(step.out) * step.members;
    }
    // A batch without weight changes nothing.
    const double weight = batch.weight * static_cast<double>(step.members);
    args.grad_scale = weight > 0.0 ? static_cast<T>(batch.weight_unit / weight) : T(0);
    args.numbers = run_.loss_numbers;
    args.loss = &memory_.losses[static_cast<std::size_t>(i / kRowBlock)];
    args.correct = &memory_.correct[static_cast<std::size_t>(i / kRowBlock)];
    return args;
  }

  const Plan& plan_;
  const OpTable<T>& ops_;
  const TrainingRun<T>& run_;
  LossMemory<T>& memory_;
  std::atomic<Index> bad_label_{kNone};
};

}  // namespace stoop
