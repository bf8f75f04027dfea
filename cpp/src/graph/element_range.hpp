// Refuses options whose number would change its meaning in the element type of a model. Training flushes denormal numbers to
// zero, so that in float32 a limit of 1e-40 would be no limit. A factor just below 1 would become 1, and a large number
// infinite. All of these are refused here, in the same words.
#pragma once

#include <string>
#include <string_view>

#include <stoop/optimizers.hpp>
#include <stoop/trainer.hpp>
#include <stoop/types.hpp>

#include "../spec/spec.hpp"
#include "graph.hpp"

namespace stoop::inline v0_1 {

class ElementRange {
 public:
  explicit ElementRange(Index element_size);

  // As in "[where] name=value with float32, where it is 0; expected ...; hint."
  struct Option {
    std::string_view where;
    std::string name;
    double value;
    std::string_view hint;
  };

  // Throws ValueError where the element type makes of the value what `holds` forbids: one of the following.
  void refuse(Holds holds, const Option& option) const;
  // Throw ValueError where the element type makes of the value
  void refuse_vanishing(const Option& option) const;         // 0, which it is not
  void refuse_unheld(const Option& option) const;            // 0, which it is not, or infinity
  void refuse_vanishing_square(const Option& option) const;  // infinity, or of its square 0
  void refuse_one(const Option& option) const;               // 1, which it is below

 private:
  [[noreturn]] void refuse(const Option& option, std::string_view becomes, const std::string& expected) const;

  const char* type_;
  double least_, most_, below_one_;
};

// Throw ValueError for what the element type does not hold: numbers of layers and of their first values,
void check_numbers(const ElementRange& range, const ModelConfig& config, const Graph& graph);
// of an optimizer,
void check_numbers(const ElementRange& range, const Optimizer& optimizer, std::string_view where);
// and of a trainer, its optimizer's and its loss's among them.
void check_numbers(const ElementRange& range, const TrainerConfig& config);
// The same for the products of a trainer's numbers with the factors of layers.
void check_factors(const ElementRange& range, const TrainerConfig& config, const Graph& graph);

}  // namespace stoop
