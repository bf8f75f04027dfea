#include "deal.hpp"

#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

namespace stoop::inline v0_1 {
namespace {

// In the time in which a core makes so many operations of a product, it updates an element of a parameter, adds an element
// to a column sum, or takes an element from another core.
constexpr double kUpdate = 16.0, kColumnSum = 16.0, kTakeOver = 50.0;

// The line is taken only if it is so much better, since it moves blocks from one core to another when the team changes.
constexpr double kBetter = 0.97;

}  // namespace

Deal::Deal(const Plan& plan) : grouped_(plan.grouped), parameter_of_(plan.steps.size()) {
  Places places;
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    if (plan.steps[i].cut == Cut::parameter) add(i, plan, places);
  }
  by_work_.resize(parameters_.size());
  std::iota(by_work_.begin(), by_work_.end(), std::size_t{0});
  std::stable_sort(by_work_.begin(), by_work_.end(),
                   [&](std::size_t a, std::size_t b) { return parameters_[a].block_work > parameters_[b].block_work; });
}

// Two steps may work on the same blocks between two barriers, so the steps of a parameter are dealt as one.
void Deal::add(std::size_t place, const Plan& plan, Places& places) {
  const Step& step = plan.steps[place];
  // Running statistics are a block of their own, though their step names the parameter of their layer.
  const bool is_parameter = step.parameter != kNone && step.kind != StepKind::update_statistics;
  const auto known = is_parameter ? places.find(step.parameter) : places.end();
  const std::size_t which = known == places.end() ? parameters_.size() : known->second;
  const Index blocks = block_count(step.work.extent, step.block);
  if (known == places.end()) {
    parameters_.push_back({blocks});
    if (is_parameter) places.emplace(step.parameter, which);
  } else if (parameters_[which].blocks != blocks) {  // some of its blocks would be left out
    throw std::logic_error(std::string("the step '") + rule_of(step.kind).name + "' cuts its parameter in another way");
  }
  parameter_of_[place] = which;
  Parameter& parameter = parameters_[which];
  // A row of a batch touches one row of a table at most.
  const Index touched = step.work.is_lazy ? std::min(step.block, plan.batch) : step.block;
  const auto elements = static_cast<double>(touched * step.work.row_elements);
  const auto rows = static_cast<double>(plan.batch * (tells_members_apart(step.kind) ? 1 : step.members));
  parameter.block_work += kUpdate * elements;
  if (step.work.is_table) return;
  if (rule_of(step.kind).product) {
    parameter.block_work += 2.0 * rows * elements;
    parameter.block_input += kTakeOver * rows * static_cast<double>(step.block);
  } else if (step.grad != kNone) {
    parameter.block_work += kColumnSum * rows * elements;
    return;
  }
  if (step.grad != kNone) parameter.gradient += kTakeOver * rows * static_cast<double>(step.work.row_elements);
}

void Deal::deal_to(int shares) {
  shares_ = shares;
  if (shares == 1) return;
  which_ = static_cast<std::size_t>(std::find(dealt_to_.begin(), dealt_to_.end(), shares) - dealt_to_.begin());
  if (which_ < dealt_to_.size()) return;
  dealt_.emplace_back(parameters_.size() * static_cast<std::size_t>(shares + 1));
  dealt_to_.push_back(shares);
  deal_in_line();
  const double in_line = longest_share();
  deal_evenly();
  if (in_line < kBetter * longest_share()) deal_in_line();
}

// The last share gets the first block that is left over, because share 0 has more to do.
void Deal::deal_evenly() {
  int next = shares_ - 1;
  for (const std::size_t which : by_work_) {
    Index* const begins = begins_of(which);
    const Index blocks = parameters_[which].blocks, each = blocks / shares_;
    const int left = static_cast<int>(blocks % shares_);
    const auto gets_more = [&](int share) { return (next - share + shares_) % shares_ < left; };
    begins[0] = 0;
    for (int share = 0; share < shares_; ++share) begins[share + 1] = begins[share] + each + (gets_more(share) ? 1 : 0);
    next = (next - left + shares_) % shares_;
  }
}

void Deal::deal_in_line() {
  double all = 0.0, before = 0.0;
  for (const Parameter& each : parameters_) all += static_cast<double>(each.blocks) * each.block_work;
  for (std::size_t which = 0; which < parameters_.size(); ++which) {
    const Parameter& parameter = parameters_[which];
    Index* const begins = begins_of(which);
    for (int share = 0; share <= shares_; ++share) {
      const double work = all * share / shares_ - before;
      begins[share] = std::clamp<Index>(std::llround(work / parameter.block_work), 0, parameter.blocks);
    }
    begins[shares_] = parameter.blocks;
    before += static_cast<double>(parameter.blocks) * parameter.block_work;
  }
}

double Deal::longest_share() const {
  const double others = 1.0 - 1.0 / shares_;
  double longest = 0.0;
  for (int share = 0; share < shares_; ++share) {
    double work = 0.0;
    for (std::size_t which = 0; which < parameters_.size(); ++which) {
      const Parameter& parameter = parameters_[which];
      const Index* const begin = begins_of(which) + share;
      const auto blocks = static_cast<double>(begin[1] - begin[0]);
      work += blocks * (parameter.block_work + others * parameter.block_input);
      if (blocks > 0.0) work += others * parameter.gradient;
    }
    longest = std::max(longest, work);
  }
  return longest;
}

}  // namespace stoop
