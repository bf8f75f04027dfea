// Batch and layer normalisation. Names: batch_norm/<what>/..., layer_norm/<what>/...
#include "bench_memory.hpp"

namespace stoop::bench {
namespace {

using BatchNormKernel = void (*)(const BatchNormArgs<float>&) noexcept;

// Rows are shared among the threads, as a plan does; a product takes the sums (moments, sums) in its epilogue where it
// makes the rows, panel by panel.
void run_batch_norm(benchmark::State& state, const Case& c, BatchNormKernel kernel, Traffic traffic, bool fixed) {
  const double limit = 1.7320508075688772;  // of the uniform distribution with variance 1
  const Matrices input(c, -limit, limit);
  Matrices output(c);
  const Array<float> ones(c.cols(), 1.0, 1.0), zeros(c.cols(), 0.0, 0.0);
  Array<float> mean(c.cols(), 0.0, 0.0), variance(c.cols(), 1.0, 1.0), grad_gamma(c.cols()), grad_beta(c.cols());
  Array<float> partials(most_statistics_groups(c.rows()) * kMomentSums * c.cols(), 0.0, 0.0);
  measure(state, c, traffic, {c.rows(), statistics_group(c.rows())}, [&](Index set, Index begin, Index end) {
    BatchNormArgs<float> args{};
    args.rows = end - begin, args.cols = c.cols();
    args.first_row = begin, args.batch_rows = c.rows();
    args.input = input.at(set, begin * c.stride()), args.output = output.at(set, begin * c.stride());
    args.ld_input = args.ld_output = c.stride();
    args.gamma = ones.data(), args.beta = zeros.data();
    if (begin == 0 || fixed || traffic.mix != Mix::copy) args.mean = mean.data(), args.variance = variance.data();
    args.partials = partials.data(), args.ld_partials = c.cols();
    if (begin == 0) args.grad_gamma = grad_gamma.data(), args.grad_beta = grad_beta.data();
    args.eps = 1e-5f;
    args.fixed_statistics = fixed;
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
  Array<float> statistics(kRowStatistics * c.rows(), 1.0, 1.0), grad_gamma(c.cols());
  for (Index row = 0; row < c.rows(); ++row) statistics.data()[kRowStatistics * row + 2] = 0.0f;
  const auto& table = active_table<float>();
  const Index ld = c.stride();
  const auto args_of = [&](Index set, Index row, Index column) {
    LayerNormArgs<float> args{};
    args.rows = c.rows(), args.cols = c.cols();
    args.input = input.at(set, row * ld + column), args.ld_input = ld;
    args.grad = grad.at(set, row * ld + column), args.ld_grad = ld;
    args.output = output.at(set, row * ld + column), args.ld_output = ld;
    args.gamma = ones.data() + column, args.beta = zeros.data() + column;
    args.statistics = statistics.data() + kRowStatistics * row, args.ld_statistics = kRowStatistics;
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
  // `streams`: of (rows, cols), what the kernel cannot do without.
  const auto add_batch_norm = [](const char* name, BatchNormKernel kernel, double streams, Mix mix,
                                 bool fixed = false) {
    add_cases(name, kSmallMatrix, kLargeMatrix,
              [=](auto& s, auto& c) { run_batch_norm(s, c, kernel, {c.bytes(streams), mix}, fixed); });
  };
  const auto add_layer_norm = [](const char* name, LayerNorm what) {
    add_cases(name, kSmallMatrix, kLargeMatrix, [what](auto& s, auto& c) { run_layer_norm(s, c, what); });
  };
  const auto& table = active_table<float>();
  add_batch_norm("batch_norm/moments", table.batch_norm_moments, 1, Mix::read);
  add_batch_norm("batch_norm/forward", table.batch_norm_forward, 2, Mix::copy);
  add_batch_norm("batch_norm/forward_fixed", table.batch_norm_forward, 2, Mix::copy, true);
  add_batch_norm("batch_norm/sums", table.batch_norm_sums, 2, Mix::read);
  add_batch_norm("batch_norm/backward", table.batch_norm_backward, 3, Mix::in_place);
  add_layer_norm("layer_norm/forward", LayerNorm::forward);
  add_layer_norm("layer_norm/backward", LayerNorm::backward);
  add_layer_norm("layer_norm/gamma", LayerNorm::gamma);
}

}  // namespace stoop::bench
