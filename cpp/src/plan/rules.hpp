// What a plan has to know of a kind of step, whatever its kind: a row of the table that rules.cpp makes of the rules in
// step_rules.hpp.
#pragma once

#include <optional>
#include <span>

#include "plan.hpp"

namespace stoop {

class Tangents;

// How a step touches an operand, within its own share of rows or columns or beyond it.
enum class Use { read, write, update };  // update: read, then overwritten
enum class Extent {
  own,            // the rows or columns of the share
  whole_rows,     // all columns of the rows
  whole_columns,  // all rows of the columns
};

struct Touch {
  int Operands::* operand;
  Use use;
  Extent extent;
};

// How the work of a step may be cut.
struct Division {
  enum How {
    rows,
    columns,    // what follows element by element is cut as `operand` is
    product,    // rows or columns, by the size of the weight
    like,       // as `operand` was when it was last written
    parameter,  // blocks of a parameter
    everyone,   // not at all
  };
  How how;
  int Operands::* operand = nullptr;
};

struct StepRule {
  const char* name;
  std::span<const Touch> touches;  // every operand that the kind has, the first that it reads first
  Division division;
  std::optional<GemmForm> product;                                  // of kinds that are a matrix product
  void (*tangent)(Tangents& tangents, const Operation& operation);  // adds the operations of its tangent
};

const StepRule& rule_of(StepKind kind);

// Whether a step overwrites a buffer that it has read.
inline bool works_in_place(const StepRule& rule) {
  for (const Touch& touch : rule.touches) {
    if (touch.use == Use::update) return true;
  }
  return false;
}

inline constexpr std::size_t kStepKinds = static_cast<std::size_t>(StepKind::end);

}  // namespace stoop
