// Activations, forward and backward, and the elementary functions they are made of.
// Names: activation/<kind>/<direction>/..., elementary/<function>/...
#include "bench_memory.hpp"

namespace stoop::bench {
namespace {

// Reads the input, writes the output: 2 streams.
void run_forward(benchmark::State& state, const Case& c, ActivationKind kind) {
  const Matrices input(c, -3.0, 3.0);
  Matrices output(c);
  const auto kernel = active_table<float>().activation_forward[static_cast<int>(kind)];
  const Index ld = c.stride();
  measure(state, c, {c.bytes(2), Mix::copy}, by_rows(c), [&](Index set, Index begin, Index end) {
    kernel({end - begin, c.cols(), input.at(set, begin * ld), ld, output.at(set, begin * ld), ld, {0.01}});
  });
}

// What f saves at a place where |f'| is 1 or a little less: the gradient, multiplied by it again and again, does not
// become denormal while it is timed, nor grow.
double saved_of_slope_one(ActivationKind kind) {
  switch (kind) {
    case kind_of<Tanh>():
      return 0.0;  // 1 - y^2
    case kind_of<Sigmoid>():
      return -0.6180339887498949;  // y (1 - y) = -1; no sigmoid gives it, none is asked
    case kind_of<GELU>():
    case kind_of<SiLU>():
    case kind_of<Softplus>():
      return 30.0;
    default:
      return 1.0;
  }
}

// Reads what f saved and the gradient, writes the gradient in place: 3 streams; nothing to do for identity.
void run_backward(benchmark::State& state, const Case& c, ActivationKind kind) {
  const double value = saved_of_slope_one(kind);
  const Matrices saved(c, value, value);
  Matrices grad(c);
  const auto kernel = active_table<float>().activation_backward[static_cast<int>(kind)];
  const Index ld = c.stride();
  measure(state, c, {c.bytes(3), Mix::in_place}, by_rows(c), [&](Index set, Index begin, Index end) {
    kernel({end - begin, c.cols(), saved.at(set, begin * ld), ld, grad.at(set, begin * ld), ld, {0.01}});
  });
}

struct NamedFunction {
  const char* name;
  Elementary function;
};
constexpr NamedFunction kFunctions[kElementaryCount] = {
    {"exp", Elementary::exp},         {"log", Elementary::log},   {"log1p", Elementary::log1p},
    {"expm1", Elementary::expm1},     {"tanh", Elementary::tanh}, {"erf", Elementary::erf},
    {"sigmoid", Elementary::sigmoid},
};

// Reads x, writes y: 2 streams.
void run_elementary(benchmark::State& state, const Case& c, Elementary function) {
  const Matrices x(c, 0.1, 3.0);  // where all are defined
  Matrices y(c);
  const auto kernel = active_table<float>().elementary[static_cast<int>(function)];
  measure(state, c, {c.bytes(2), Mix::copy}, {c.cols(), 16},
          [&](Index set, Index begin, Index end) { kernel(end - begin, x.at(set, begin), y.at(set, begin)); });
}

}  // namespace

void register_activation() {
  for (int i = 0; i < kActivationCount; ++i) {
    const auto kind = static_cast<ActivationKind>(i);
    const std::string name = "activation/" + std::string(name_of(kind));
    add_cases(name + "/forward", kSmallMatrix, kLargeMatrix, [kind](auto& s, auto& c) { run_forward(s, c, kind); });
    if (kind == kind_of<Identity>()) continue;
    add_cases(name + "/backward", kSmallMatrix, kLargeMatrix, [kind](auto& s, auto& c) { run_backward(s, c, kind); });
  }
  for (const auto& [name, f] : kFunctions) {
    const Elementary function = f;
    add_cases(std::string("elementary/") + name, {1, kL2Bytes / 8}, {1, 4'000'000},
              [function](auto& s, auto& c) { run_elementary(s, c, function); });
  }
}

}  // namespace stoop::bench
