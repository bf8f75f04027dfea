// How evenly a plan loads the shares of a team, counted from the plan: no clock, and no thread. It asks the same Deal as a
// walk, so it stays true if cuts change.
#pragma once

#include <algorithm>
#include <cstddef>
#include <set>
#include <vector>

#include "plan/costs.hpp"
#include "run/deal.hpp"

namespace stoop::bench {

// What a core computes and moves in a second, for a first estimate.
struct CoreRates {
  double flops = 2e11;
  double bytes = 5e10;
};

// The steps between two barriers.
struct PhaseLoad {
  std::vector<std::size_t> steps;  // positions in the plan
  std::vector<double> seconds;     // of work, by share
  std::vector<double> foreign;     // bytes that a share takes from other cores, by share

  double longest() const { return *std::max_element(seconds.begin(), seconds.end()); }
  double mean() const {
    double sum = 0.0;
    for (const double each : seconds) sum += each;
    return sum / static_cast<double>(seconds.size());
  }
  Index idle() const { return std::count(seconds.begin(), seconds.end(), 0.0); }
};

// Returns which part of a step, from 0 to 1, belongs to a share.
inline double part_of(const Plan& plan, std::size_t place, const Deal& deal, Index rows, int share) {
  const Step& step = plan.steps[place];
  if (step.cut == Cut::everyone) return 1.0;
  if (step.cut == Cut::parameter) {
    const Range blocks = deal.blocks_of(place, share);
    const Index end = std::min(blocks.end * step.block, step.work.extent);
    return static_cast<double>(std::max<Index>(end - blocks.begin * step.block, 0)) /
           static_cast<double>(step.work.extent);
  }
  const Slice slice = deal.slice_of(step, rows, share);
  const auto ratio = [](Index part, Index all) { return static_cast<double>(part) / static_cast<double>(all); };
  return step.cut == Cut::rows ? ratio(slice.rows(), rows) : ratio(slice.columns(), step.columns);
}

class TeamLoad {
 public:
  TeamLoad(const Plan& plan, const Deal& deal, const CostTerms& terms, const CoreRates& rates)
      : plan_(plan), deal_(deal), terms_(terms), rates_(rates) {
    for (std::size_t i = 0; i < plan.steps.size(); ++i) {
      const Step& step = plan.steps[i];
      if (step.taken) continue;
      if (phases_.empty() || step.barrier) begin_phase();
      add(i, step);
    }
  }

  const std::vector<PhaseLoad>& phases() const { return phases_; }

 private:
  void begin_phase() {
    const auto shares = static_cast<std::size_t>(deal_.shares());
    phases_.push_back({{}, std::vector<double>(shares), std::vector<double>(shares)});
  }

  void add(std::size_t place, const Step& step) {
    PhaseLoad& phase = phases_.back();
    phase.steps.push_back(place);
    const StepCost cost = cost_of(plan_, step, terms_);
    const double seconds = cost.flops / rates_.flops + cost.bytes / rates_.bytes;
    const double others = 1.0 - 1.0 / static_cast<double>(deal_.shares());
    const double whole = others * bytes_read_whole(step),
                 own = others * bytes_read_by_part(step) + bytes_taken_back(step);
    for (int share = 0; share < deal_.shares(); ++share) {
      const double part = part_of(plan_, place, deal_, terms_.rows, share);
      if (part == 0.0) continue;
      phase.seconds[static_cast<std::size_t>(share)] += part * seconds;
      phase.foreign[static_cast<std::size_t>(share)] += whole + part * own;
    }
  }

  double bytes_of(int buffer) const {
    const Buffer& b = plan_.buffers[static_cast<std::size_t>(buffer)];
    return static_cast<double>((b.rows > 0 ? b.rows : terms_.rows) * b.width * b.element_size);
  }

  // The bytes that every share with a part of the step reads. The second time they are in its own cache.
  double bytes_read_whole(const Step& step) {
    double bytes = 0.0;
    const auto once = [&](Index key, double size) {
      if (seen_.insert(key).second) bytes += size;
    };
    const bool product = rule_of(step.kind).product.has_value();
    if (product && step.cut == Cut::rows) once(-1 - step.parameter, weight_bytes(step));
    const Extent beyond = step.cut == Cut::rows ? Extent::whole_columns : Extent::whole_rows;
    for (const Touch& touch : rule_of(step.kind).touches()) {
      const int buffer = step.*touch.operand;
      const bool reads = buffer != kNone && touch.use == Use::read;
      const bool all_of_gradient = step.kind == StepKind::weight_gradient && touch.operand == &Operands::grad;
      if (reads && (all_of_gradient || (step.cut != Cut::parameter && touch.extent == beyond)))
        once(buffer, bytes_of(buffer));
    }
    return bytes;
  }

  // The bytes of which a share reads its part.
  double bytes_read_by_part(const Step& step) const {
    double bytes = 0.0;
    if (step.cut == Cut::columns && rule_of(step.kind).product) bytes += weight_bytes(step);
    if (step.kind == StepKind::weight_gradient) bytes += bytes_of(step.x);
    return bytes;
  }

  // The bytes of which a share writes its part, after others have read it: values, gradients and parameters.
  double bytes_taken_back(const Step& step) const {
    if (deal_.shares() == 1) return 0.0;
    double bytes = 0.0;
    for (const Touch& touch : rule_of(step.kind).touches()) {
      const int buffer = step.*touch.operand;
      if (buffer != kNone && touch.use == Use::write) bytes += bytes_of(buffer);
    }
    const bool updates = step.cut == Cut::parameter && step.work.after == After::update;
    if (updates) bytes += static_cast<double>(step.work.extent * step.work.row_elements * terms_.element_size);
    return bytes;
  }

  double weight_bytes(const Step& step) const {
    return static_cast<double>(step.in_features * step.out_features * terms_.element_size);
  }

  const Plan& plan_;
  const Deal& deal_;
  const CostTerms terms_;
  const CoreRates rates_;
  std::set<Index> seen_;  // buffers, and parameters as negative numbers
  std::vector<PhaseLoad> phases_;
};

}  // namespace stoop::bench
