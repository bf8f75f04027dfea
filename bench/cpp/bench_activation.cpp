// Activations, forward and backward, and losses (value and gradient in one pass).
// Name: activation/<kind>/<direction>/<rows>x<cols>, loss/<kind>/<rows>x<cols>. Small sizes stay in the L2 cache.
#include "bench_support.hpp"

namespace stoop::bench {
namespace {

struct Shape {
  Index rows, cols;
  bool from_memory;  // larger than the caches
};

std::string text_of(Shape shape) { return std::to_string(shape.rows) + "x" + std::to_string(shape.cols); }

// Reads the input, writes the output: 2 streams.
void run_forward(benchmark::State& state, ActivationKind kind, Shape shape) {
  const Index n = shape.rows * shape.cols;
  const Array<float> input(n, -3.0, 3.0);
  Array<float> output(n);
  const ActivationArgs<float> args{shape.rows, shape.cols, input.data(), shape.cols, output.data(), shape.cols, 0.01f};
  const auto kernel = active_table<float>().activation_forward[static_cast<int>(kind)];
  const double seconds = time_kernel(state, [&] { kernel(args); });
  set_memory_counters(state, seconds, 2.0 * sizeof(float) * static_cast<double>(n), shape.from_memory);
}

// An output at which |f'| = 1: the gradient, multiplied by f' again and again, neither grows nor becomes denormal.
double output_of_slope_one(ActivationKind kind) {
  if (kind == ActivationKind::tanh) return 0.0;  // 1 - y^2
  if (kind == ActivationKind::sigmoid)
    return -0.6180339887498949;  // y (1 - y) = -1; no sigmoid gives it, none is asked
  return 1.0;
}

// Reads the output of f and the gradient, writes the gradient in place: 3 streams; nothing to do for identity.
void run_backward(benchmark::State& state, ActivationKind kind, Shape shape) {
  const Index n = shape.rows * shape.cols;
  const double value = output_of_slope_one(kind);
  const Array<float> output(n, value, value);
  Array<float> grad(n);
  const ActivationArgs<float> args{shape.rows, shape.cols, output.data(), shape.cols, grad.data(), shape.cols, 0.01f};
  const auto kernel = active_table<float>().activation_backward[static_cast<int>(kind)];
  const double seconds = time_kernel(state, [&] { kernel(args); });
  set_memory_counters(state, seconds, 3.0 * sizeof(float) * static_cast<double>(n), shape.from_memory);
}

// Softmax cross-entropy reads the outputs and writes the gradient: 2 streams; mse reads targets as well: 3.
void run_loss(benchmark::State& state, LossKind kind, Shape shape) {
  const Index n = shape.rows * shape.cols;
  const bool with_classes = takes_classes(kind);
  const Array<float> output(n, -3.0, 3.0), targets(with_classes ? 0 : n);
  std::vector<std::int32_t> classes(static_cast<std::size_t>(shape.rows));
  for (Index i = 0; i < shape.rows; ++i)
    classes[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i % shape.cols);
  Array<float> grad(n);
  double loss = 0.0, correct = 0.0;
  LossArgs<float> args{};
  args.rows = shape.rows, args.cols = shape.cols;
  args.output = output.data(), args.ld_output = shape.cols;
  args.classes = classes.data();
  args.targets = targets.data(), args.ld_targets = shape.cols;
  args.grad = grad.data(), args.ld_grad = shape.cols;
  args.grad_scale = 1.0f / static_cast<float>(shape.rows);
  args.loss = &loss, args.correct = &correct;
  const auto kernel = active_table<float>().loss[static_cast<int>(kind)];
  const double seconds = time_kernel(state, [&] { kernel(args); });
  benchmark::DoNotOptimize(loss);
  const double streams = with_classes ? 2.0 : 3.0;
  set_memory_counters(state, seconds, streams * sizeof(float) * static_cast<double>(n), shape.from_memory);
}

}  // namespace

void register_activation() {
  for (const Shape shape : {Shape{128, 512, false}, Shape{8192, 4096, true}}) {
    for (int i = 0; i < kActivationCount; ++i) {
      const auto kind = static_cast<ActivationKind>(i);
      const std::string name = "activation/" + std::string(name_of(kind));
      const std::string size = "/" + text_of(shape);
      benchmark::RegisterBenchmark((name + "/forward" + size).c_str(), run_forward, kind, shape)
          ->Unit(benchmark::kMicrosecond);
      if (kind == ActivationKind::identity) continue;
      benchmark::RegisterBenchmark((name + "/backward" + size).c_str(), run_backward, kind, shape)
          ->Unit(benchmark::kMicrosecond);
    }
  }
  for (const Shape shape : {Shape{128, 10, false}, Shape{128, 512, false}, Shape{32768, 1000, true}}) {
    for (int i = 0; i < kLossCount; ++i) {
      const auto kind = static_cast<LossKind>(i);
      const std::string name = "loss/" + std::string(name_of(kind)) + "/" + text_of(shape);
      benchmark::RegisterBenchmark(name.c_str(), run_loss, kind, shape)->Unit(benchmark::kMicrosecond);
    }
  }
}

}  // namespace stoop::bench
