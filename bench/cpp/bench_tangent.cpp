// The kernels of Hessian-vector products. Names: tangent/<kernel>/...
#include <algorithm>
#include <string>
#include <vector>

#include "bench_memory.hpp"

namespace stoop::bench {
namespace {

// Forward reads x and its tangent and writes another: 3 streams. Backward reads x, its tangent and the gradient, and
// changes the gradient's tangent in place: 5.
void run_activation(benchmark::State& state, const Case& c, ActivationKind kind, bool forward) {
  const Matrices x(c), tangent(c), grad(c);
  Matrices output(c);
  const auto kernel = active_table<float>().activation_tangent[static_cast<int>(kind)];
  const Traffic traffic = forward ? Traffic{c.bytes(3), Mix::triad} : Traffic{c.bytes(5), Mix::in_place};
  measure(state, c, traffic, by_rows(c), [&](Index set, Index begin, Index end) {
    const Index at = begin * c.stride();
    ActivationTangentArgs<float> args{};
    args.rows = end - begin, args.cols = c.cols();
    args.x = x.at(set, at), args.input = forward ? tangent.at(set, at) : output.at(set, at);
    args.output = output.at(set, at);
    args.ld_x = args.ld_input = args.ld_output = args.ld_tangent = args.ld_grad = c.stride();
    if (!forward) args.tangent = tangent.at(set, at), args.grad = grad.at(set, at);
    kernel(args);
  });
}

// Streams of the kernel of a loss: the tangent and the gradient, the outputs where the curvature depends on them, and
// the targets where it does on those as well (huber).
double streams_of(LossKind kind) {
  if (kind == kind_of<MeanSquaredError>() || kind == kind_of<MeanAbsoluteError>()) return 2;
  return kind == kind_of<Huber>() ? 4 : 3;
}

void run_loss(benchmark::State& state, const Case& c, LossKind kind) {
  const bool classes = kind == kind_of<SoftmaxCrossEntropy>();
  const Matrices outputs(c), tangent(c), targets(c, 0.0, 1.0);
  Matrices grad(c);
  const std::vector<std::int32_t> labels(static_cast<std::size_t>(c.rows()), 0);
  const auto kernel = active_table<float>().loss_tangent[static_cast<int>(kind)];
  measure(state, c, {c.bytes(streams_of(kind)), Mix::triad}, by_rows(c), [&](Index set, Index begin, Index end) {
    const Index at = begin * c.stride();
    LossTangentArgs<float> args{};
    args.loss.rows = end - begin, args.loss.cols = c.cols();
    args.loss.output = outputs.at(set, at), args.loss.grad = grad.at(set, at);
    if (classes) {
      args.loss.classes = labels.data() + begin;
    } else {
      args.loss.targets = targets.at(set, at);
    }
    args.loss.ld_output = args.loss.ld_grad = args.loss.ld_targets = args.ld_tangent = c.stride();
    args.loss.grad_scale = 1.0f / static_cast<float>(c.rows());
    args.loss.numbers = {kind == kind_of<Huber>() ? 1.0 : 0.0};
    args.tangent = tangent.at(set, at);
    kernel(args);
  });
}

enum class Norm { batch, batch_gradient, layer, layer_gradient, layer_gamma };

// Forward reads x and its tangent and writes one: 3 streams. The gradients read x, its tangent, the gradient and its
// tangent, and write one, batch normalisation in place: 5; that of gamma writes none: 4.
void run_norm(benchmark::State& state, const Case& c, Norm what) {
  const bool batch = what == Norm::batch || what == Norm::batch_gradient;
  const bool forward = what == Norm::batch || what == Norm::layer, gamma = what == Norm::layer_gamma;
  const Matrices x(c), tangent(c), grad(c), grad_tangent(c);
  Matrices output(c);
  const Array<float> ones(c.cols(), 1.0, 1.0), zeros(c.cols(), 0.0, 0.0);
  const Index longest = std::max(c.rows(), c.cols());
  Array<float> statistics(kRowStatistics * longest, 1.0, 1.0), tangents(kRowStatistics * longest, 0.0, 0.0);
  Array<float> grad_gamma(c.cols()), grad_beta(c.cols());
  const auto& table = active_table<float>();
  const auto kernel = what == Norm::batch            ? table.batch_norm_tangent
                      : what == Norm::batch_gradient ? table.batch_norm_gradient_tangent
                      : what == Norm::layer          ? table.layer_norm_tangent
                      : what == Norm::layer_gradient ? table.layer_norm_gradient_tangent
                                                     : table.layer_norm_gamma_tangent;
  const Traffic traffic{c.bytes(forward ? 3 : gamma ? 4 : 5), batch && !forward ? Mix::in_place : Mix::triad};
  const bool columns = batch || gamma;
  measure(state, c, traffic, columns ? by_columns(c) : by_rows(c), [&](Index set, Index begin, Index end) {
    const Index column = columns ? begin : 0, row = columns ? 0 : begin, at = row * c.stride() + column;
    NormTangentArgs<float> args{};
    args.rows = columns ? c.rows() : end - begin, args.cols = columns ? end - begin : c.cols();
    args.x = x.at(set, at), args.tangent = tangent.at(set, at), args.grad = grad.at(set, at);
    args.grad_tangent = grad_tangent.at(set, at), args.output = output.at(set, at);
    args.ld_x = args.ld_tangent = args.ld_grad = args.ld_grad_tangent = args.ld_output = c.stride();
    args.gamma = ones.data() + column, args.gamma_tangent = ones.data() + column;
    args.beta_tangent = zeros.data() + column;
    args.mean = batch ? zeros.data() + column : statistics.data() + kRowStatistics * row;
    args.variance = ones.data() + column;
    args.mean_tangent = tangents.data() + (batch ? column : kRowStatistics * row);
    args.inverse_tangent = tangents.data() + c.cols() + column;
    args.ld_statistics = kRowStatistics;
    args.eps = 1e-5f;
    args.grad_gamma = grad_gamma.data() + column, args.grad_beta = grad_beta.data() + column;
    kernel(args);
  });
}

}  // namespace

void register_tangent() {
  const auto add = [](const char* name, const RunCase& run) { add_cases(name, kSmallMatrix, kLargeMatrix, run); };
  for (const ActivationKind kind : {kind_of<ReLU>(), kind_of<Tanh>(), kind_of<GELU>()}) {
    const std::string name = "tangent/" + std::string(name_of(kind));
    add((name + "_forward").c_str(), [kind](auto& s, auto& c) { run_activation(s, c, kind, true); });
    add((name + "_backward").c_str(), [kind](auto& s, auto& c) { run_activation(s, c, kind, false); });
  }
  for (int i = 0; i < kLossCount; ++i) {
    const auto kind = static_cast<LossKind>(i);
    add(("tangent/" + std::string(name_of(kind))).c_str(), [kind](auto& s, auto& c) { run_loss(s, c, kind); });
  }
  add("tangent/batch_norm", [](auto& s, auto& c) { run_norm(s, c, Norm::batch); });
  add("tangent/batch_norm_gradient", [](auto& s, auto& c) { run_norm(s, c, Norm::batch_gradient); });
  add("tangent/layer_norm", [](auto& s, auto& c) { run_norm(s, c, Norm::layer); });
  add("tangent/layer_norm_gradient", [](auto& s, auto& c) { run_norm(s, c, Norm::layer_gradient); });
  add("tangent/layer_norm_gamma", [](auto& s, auto& c) { run_norm(s, c, Norm::layer_gamma); });
}

}  // namespace stoop::bench
