// What is done to parameters: an update by every optimizer, regularisation, the limit on column norms.
// Names: optimizer/<rule>/<parameters>/..., regularize/<what>/..., limit_norm/<what>/...
#include "bench_memory.hpp"
#include "run/rates.hpp"

namespace stoop::bench {
namespace {

constexpr Index kInMemory = 25'000'000;

struct Rule {
  const char* name;
  Optimizer settings;
};

// Every optimizer of single updates with its defaults, and those whose kernel has several ways.
const std::vector<Rule> kRules = [] {
  std::vector<Rule> rules = {
      {"sgd_momentum", SGD{.momentum = 0.9}},
      {"sgd_nesterov", SGD{.momentum = 0.9, .nesterov = true}},
      {"rmsprop_momentum", RMSProp{.momentum = 0.9}},
      {"rmsprop_centered", RMSProp{.centered = true}},
      {"rmsprop_centered_momentum", RMSProp{.momentum = 0.9, .centered = true}},
      {"adam_amsgrad", Adam{.amsgrad = true}},
  };
  for_each_alternative<Optimizer>([&]<class Op>(TypeOf<Op>) {
    if (!Spec<Op>::kFullBatch) rules.push_back({Spec<Op>::kName, Op{}});
  });
  return rules;
}();

// Reads weight, gradient and state, writes weight and state: 3 streams, and 2 for each array of state. The second pass of an
// optimizer that needs norms finds a block in cache.
void run_update(benchmark::State& state, const Case& c, const Optimizer& settings) {
  Matrices weight(c);
  const Matrices grad(c);
  std::vector<Matrices> states;
  for (int i = 0; i < state_count(settings); ++i) states.emplace_back(c, 0.0, 1e-3);
  const auto kernel = active_table<float>().update[settings.index()];
  const Traffic traffic{c.bytes(3.0 + 2.0 * state_count(settings)), Mix::in_place};
  measure(state, c, traffic, {c.cols(), 16}, [&](Index set, Index begin, Index end) {
    double weight_sum = 0.0, grad_sum = 0.0, norms[2] = {};
    UpdateArgs<float> args{};
    AnyRates rates;
    set_rates(args, rates, settings, 1e-6, 1000);
    args.n = end - begin;
    args.weight = weight.at(set, begin), args.grad = grad.at(set, begin);
    for (std::size_t i = 0; i < states.size(); ++i) args.state[i] = states[i].at(set, begin);
    args.l2 = 1e-4f;
    args.weight_sum_of_squares = &weight_sum, args.grad_sum_of_squares = &grad_sum;
    args.block_norms = norms, args.trust_ratio = 1.0;
    kernel(args);
    if (needs_norms(settings)) active_table<float>().apply[settings.index()](args);
    benchmark::DoNotOptimize(weight_sum + grad_sum);
  });
}

// Reads weight and gradient, writes the gradient: 3 streams.
void run_regularize(benchmark::State& state, const Case& c, bool everything) {
  const Matrices weight(c);
  Matrices grad(c);
  const auto kernel = active_table<float>().regularize;
  measure(state, c, {c.bytes(3), Mix::in_place}, {c.cols(), 16}, [&](Index set, Index begin, Index end) {
    double squares = 0.0, magnitudes = 0.0, grad_squares = 0.0;
    kernel({end - begin, weight.at(set, begin), grad.at(set, begin), everything ? 1e-6f : 0.0f, 1e-6f,
            everything ? 1.0f : 0.0f, &squares, &magnitudes, &grad_squares, nullptr});
    benchmark::DoNotOptimize(squares + magnitudes + grad_squares);
  });
}

// Reads the weight, and writes it where a norm is above the limit: 1 or 2 streams. Every norm is above a negative
// limit, in each call again; the weights then change their signs.
void run_limit_norm(benchmark::State& state, const Case& c, bool above) {
  Matrices weight(c);
  const auto kernel = active_table<float>().limit_norm;
  const Traffic traffic{c.bytes(above ? 2 : 1), above ? Mix::in_place : Mix::read};
  measure(state, c, traffic, by_columns(c), [&](Index set, Index begin, Index end) {
    kernel({c.rows(), end - begin, weight.at(set, begin), c.stride(), above ? -1.0 : 1e9});
  });
}

}  // namespace

void register_optimizer() {
  for (const Rule& rule : kRules) {
    const Index in_cache = kL2Bytes / 4 / (2 + state_count(rule.settings)) / 16 * 16;
    add_cases(std::string("optimizer/") + rule.name, {1, in_cache}, {1, kInMemory},
              [settings = rule.settings](auto& s, auto& c) { run_update(s, c, settings); });
  }
  for (const bool everything : {false, true}) {
    add_cases(everything ? "regularize/l1_l2_clip" : "regularize/l2", {1, kL2Bytes / 8}, {1, kInMemory},
              [everything](auto& s, auto& c) { run_regularize(s, c, everything); });
  }
  for (const bool above : {false, true}) {
    add_cases(above ? "limit_norm/above" : "limit_norm/within", {384, 128}, kLargeMatrix,
              [above](auto& s, auto& c) { run_limit_norm(s, c, above); });
  }
}

}  // namespace stoop::bench
