// Deals the work of a plan to the shares of a team. The plan says what a block is; this says who gets which. So it decides
// how evenly the shares are loaded, and no bit of the result.
//
// Blocks of parameters are dealt by parameter, so that all steps on a block of one, from the gradient to the update, belong
// to one share. There are two ways, and the one whose longest share is estimated to be shorter is taken:
//   - each parameter is dealt evenly. Blocks that are left over go to other shares than those of the parameter before.
//   - the parameters are one line of blocks, cut into pieces of equal work. A share has few parameters then, so it reads the
//     gradients of few layers, which other cores have written. Its work is even to half a block only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "steps_context.hpp"

namespace stoop::inline v0_1 {

class Deal {
 public:
  explicit Deal(const Plan& plan);

  // Deals to so many shares from now on. How it deals is remembered: only the first call for a number of shares allocates.
  void deal_to(int shares);

  int shares() const { return shares_; }

  // Returns a share's part of a step that is cut by rows or columns.
  Slice slice_of(const Step& step, Index rows, int share) const {
    if (step.cut == Cut::rows) {
      const Index block = rows_of_block(rows);
      const Range blocks = stoop::share(block_count(rows, block), share, shares_);
      return {blocks.begin * block, std::min(blocks.end * block, rows), 0, step.columns};
    }
    const Range blocks = stoop::share(block_count(step.columns, kColumnBlock), share, shares_);
    return {0, rows, blocks.begin * kColumnBlock, std::min(blocks.end * kColumnBlock, step.columns)};
  }

  // Returns a share's blocks of the step at this position in the plan, which is cut by parameters.
  Range blocks_of(std::size_t place, int share) const {
    const std::size_t parameter = parameter_of_[place];
    if (shares_ == 1) return {0, parameters_[parameter].blocks};
    const Index* const begin = begins_of(parameter) + share;
    return {begin[0], begin[1]};
  }

  Index rows_of_block(Index rows) const { return grouped_ ? statistics_group(rows) : kRowBlock; }

 private:
  // Work and reading are counted in operations of a product.
  struct Parameter {
    Index blocks = 0;
    double block_work = 0.0;
    double gradient = 0.0;     // reading all of it, which a share with any block does
    double block_input = 0.0;  // reading the columns of the input that belong to a block
  };

  using Places = std::map<Index, std::size_t>;  // in `parameters_`, by offset
  void add(std::size_t place, const Plan& plan, Places& places);
  void deal_evenly();
  void deal_in_line();
  double longest_share() const;
  const Index* begins_of(std::size_t parameter) const {
    return dealt_[which_].data() + parameter * static_cast<std::size_t>(shares_ + 1);
  }
  Index* begins_of(std::size_t parameter) { return const_cast<Index*>(std::as_const(*this).begins_of(parameter)); }

  const bool grouped_;
  int shares_ = 1;
  std::vector<Parameter> parameters_;
  std::vector<std::size_t> parameter_of_;  // by step
  std::vector<std::size_t> by_work_;       // parameters, those with the most work in a block first
  // For a number of shares, which each of these has in `dealt_to_`: by parameter, the first block of each share, then the
  // number of blocks. A team of one needs none.
  std::vector<std::vector<Index>> dealt_;
  std::vector<int> dealt_to_;
  std::size_t which_ = 0;
};

}  // namespace stoop
