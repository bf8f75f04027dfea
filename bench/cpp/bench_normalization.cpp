// Batch and layer normalisation. Names: batch_norm/<what>/..., layer_norm/<what>/...
#include "bench_memory.hpp"

namespace stoop::bench {
namespace {

enum class BatchNorm { forward, fixed, backward };

// Forward reads the input and writes the output: 2 streams. Backward reads the input and the gradient, which it writes
// in place: 3. Columns are shared among the threads.
void run_batch_norm(benchmark::State& state, const Case& c, BatchNorm what) {
  const bool backward = what == BatchNorm::backward;
  const double limit = 1.7320508075688772;  // of the uniform distribution with variance 1
  const Matrices input(c, -limit, limit);
  Matrices output(c);
  const Array<float> ones(c.cols(), 1.0, 1.0), zeros(c.cols(), 0.0, 0.0);
  Array<float> mean(c.cols(), 0.0, 0.0), variance(c.cols(), 1.0, 1.0), grad_gamma(c.cols()), grad_beta(c.cols());
  const auto& table = active_table<float>();
  const auto kernel = backward ? table.batch_norm_backward : table.batch_norm_forward;
  const Traffic traffic = backward ? Traffic{c.bytes(3), Mix::in_place} : Traffic{c.bytes(2), Mix::copy};
  measure(state, c, traffic, by_columns(c), [&](Index set, Index begin, Index end) {
    BatchNormArgs<float> args{};
    args.rows = c.rows(), args.cols = end - begin;
    args.input = input.at(set, begin), args.output = output.at(set, begin);
    args.ld_input = args.ld_output = c.stride();
    args.gamma = ones.data() + begin, args.beta = zeros.data() + begin;
    args.mean = mean.data() + begin, args.variance = variance.data() + begin;
    args.grad_gamma = grad_gamma.data() + begin, args.grad_beta = grad_beta.data() + begin;
    args.eps = backward ? 0.0f : 1e-5f;
    args.fixed_statistics = what == BatchNorm::fixed;
    kernel(args);
  });
}

enum class LayerNorm { forward, backward, gamma };

// Forward: 2 streams. Backward reads the input and the gradient and writes another: 3. gamma reads the two: 2; its
// columns are shared among the threads, the rows of the others.
void run_layer_norm(benchmark::State& state, const Case& c, LayerNorm what) {
  const Matrices input(c), grad(c);
  Matrices output(c);
  const Array<float> ones(c.cols(), 1.0, 1.0), zeros(c.cols(), 0.0, 0.0);
  Array<float> statistics(2 * c.rows(), 1.0, 1.0), grad_gamma(c.cols());
  const auto& table = active_table<float>();
  const Index ld = c.stride();
  const auto args_of = [&](Index set, Index row, Index column) {
    LayerNormArgs<float> args{};
    args.rows = c.rows(), args.cols = c.cols();
    args.input = input.at(set, row * ld + column), args.ld_input = ld;
    args.grad = grad.at(set, row * ld + column), args.ld_grad = ld;
    args.output = output.at(set, row * ld + column), args.ld_output = ld;
    args.gamma = ones.data() + column, args.beta = zeros.data() + column;
    args.statistics = statistics.data() + 2 * row, args.ld_statistics = 2;
    args.eps = 1e-5f;
    args.grad_gamma = grad_gamma.data() + column;
    return args;
  };
  if (what == LayerNorm::gamma) {
    return measure(state, c, {c.bytes(2), Mix::read}, by_columns(c), [&](Index set, Index begin, Index end) {
      LayerNormArgs<float> args = args_of(set, 0, begin);
      args.cols = end - begin;
      table.layer_norm_gamma(args);
    });
  }
  const bool forward = what == LayerNorm::forward;
  const auto kernel = forward ? table.layer_norm_forward : table.layer_norm_backward;
  const Traffic traffic = forward ? Traffic{c.bytes(2), Mix::copy} : Traffic{c.bytes(3), Mix::triad};
  measure(state, c, traffic, by_rows(c), [&](Index set, Index begin, Index end) {
    LayerNormArgs<float> args = args_of(set, begin, 0);
    args.rows = end - begin;
    kernel(args);
  });
}

}  // namespace

void register_normalization() {
  const auto add_batch_norm = [](const char* name, BatchNorm what) {
    add_cases(name, kSmallMatrix, kLargeMatrix, [what](auto& s, auto& c) { run_batch_norm(s, c, what); });
  };
  const auto add_layer_norm = [](const char* name, LayerNorm what) {
    add_cases(name, kSmallMatrix, kLargeMatrix, [what](auto& s, auto& c) { run_layer_norm(s, c, what); });
  };
  add_batch_norm("batch_norm/forward", BatchNorm::forward);
  add_batch_norm("batch_norm/forward_fixed", BatchNorm::fixed);
  add_batch_norm("batch_norm/backward", BatchNorm::backward);
  add_layer_norm("layer_norm/forward", LayerNorm::forward);
  add_layer_norm("layer_norm/backward", LayerNorm::backward);
  add_layer_norm("layer_norm/gamma", LayerNorm::gamma);
}

}  // namespace stoop::bench
