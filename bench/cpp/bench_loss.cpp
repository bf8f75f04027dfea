// Losses: the value alone, and value and gradient in one pass, in the blocks of rows in which a plan asks for them.
// Name: loss/<kind>_<targets>/<value or gradient>/...
#include <algorithm>
#include <vector>

#include "bench_memory.hpp"

namespace stoop::bench {
namespace {

constexpr Index kBlock = 8;  // rows of which a plan keeps one partial sum

struct LossCase {
  LossKind kind;
  bool classes, gradient;
};

// Reads the outputs (and the rows of targets), writes the gradient: 1 to 3 streams.
Traffic traffic_of(const LossCase& loss, const Case& c) {
  const double reads = loss.classes ? 1 : 2;
  if (!loss.gradient) return {c.bytes(reads), Mix::read};
  return {c.bytes(reads + 1), loss.classes ? Mix::copy : Mix::triad};
}

void run_loss(benchmark::State& state, const Case& c, const LossCase& loss) {
  const Matrices output(c, -3.0, 3.0), targets(c, 0.0, 1.0);
  Matrices grad(c);
  std::vector<std::int32_t> classes(static_cast<std::size_t>(c.rows()));
  for (std::size_t i = 0; i < classes.size(); ++i) {
    classes[i] = static_cast<std::int32_t>(i * 7 % static_cast<std::size_t>(c.cols()));
  }
  const auto kernel = active_table<float>().loss[static_cast<int>(loss.kind)];
  const Index ld = c.stride();
  measure(state, c, traffic_of(loss, c), by_rows(c), [&](Index set, Index begin, Index end) {
    double value = 0.0, correct = 0.0;
    LossArgs<float> args{};
    args.cols = c.cols();
    args.ld_output = args.ld_targets = args.ld_grad = ld;
    args.grad_scale = 1.0f / static_cast<float>(c.rows());
    args.numbers = {loss.kind == kind_of<Huber>() ? 1.0 : 0.0};
    args.loss = &value, args.correct = &correct;
    for (Index i = begin; i < end; i += kBlock) {
      args.rows = std::min(kBlock, end - i);
      args.output = output.at(set, i * ld);
      args.classes = loss.classes ? classes.data() + i : nullptr;
      args.targets = loss.classes ? nullptr : targets.at(set, i * ld);
      args.grad = loss.gradient ? grad.at(set, i * ld) : nullptr;
      kernel(args);
      benchmark::DoNotOptimize(value);
    }
  });
}

}  // namespace

void register_loss() {
  for (int i = 0; i < kLossCount; ++i) {
    const auto kind = static_cast<LossKind>(i);
    for (const bool classes : {true, false}) {
      if (classes && !takes_classes(kind)) continue;
      for (const bool gradient : {false, true}) {
        const std::string name = "loss/" + std::string(name_of(kind)) + (classes ? "_classes" : "_rows") +
                                 (gradient ? "/gradient" : "/value");
        const LossCase loss{kind, classes, gradient};
        add_cases(name, kSmallMatrix, {4096, 1000}, [loss](auto& s, auto& c) { run_loss(s, c, loss); });
      }
    }
  }
}

}  // namespace stoop::bench
