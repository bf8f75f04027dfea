// A rule says everything that a plan has to know about a kind of step. rules.cpp has one for each kind, and ../run/steps.hpp
// runs the kinds on the CPU.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <span>

#include "plan.hpp"

namespace stoop {

class Tangents;

// The way in which a step touches an operand, and how far, within its own share of rows or columns or beyond.
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

// The ways to cut the work of a step.
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

class StepRule {
 public:
  // Adds the operations of a step's tangent.
  using Tangent = void (*)(Tangents& tangents, const Operation& operation);

  // `touched` has every operand of the kind. `form` is set for kinds that are a matrix product.
  constexpr StepRule(const char* its_name, Division divided, Tangent derivative, std::initializer_list<Touch> touched,
                     std::optional<GemmForm> form = {})
      : name(its_name), division(divided), tangent(derivative), product(form) {
    for (const Touch& touch : touched) touches_[count_++] = touch;
  }

  constexpr std::span<const Touch> touches() const { return {touches_.data(), count_}; }

  // Returns whether the step overwrites a buffer that it has read.
  constexpr bool works_in_place() const {
    for (const Touch& touch : touches()) {
      if (touch.use == Use::update) return true;
    }
    return false;
  }

  const char* name;
  Division division;
  Tangent tangent;
  std::optional<GemmForm> product;

 private:
  std::array<Touch, 7> touches_{};
  std::size_t count_ = 0;
};

const StepRule& rule_of(StepKind kind);

inline constexpr std::size_t kStepKinds = static_cast<std::size_t>(StepKind::end);

}  // namespace stoop
