// Tests that go through all alternatives of a variant follow from the variant itself: what is added is covered without an
// edit, or does not compile until it has what the test needs of it.
#pragma once

#include <vector>

#include "spec/spec.hpp"

namespace stoop {

// An object of each alternative, with its defaults, in order.
template <class Variant>
std::vector<Variant> each_alternative() {
  std::vector<Variant> all;
  for_each_alternative<Variant>([&]<class Op>(TypeOf<Op>) { all.emplace_back(Op{}); });
  return all;
}

}  // namespace stoop
