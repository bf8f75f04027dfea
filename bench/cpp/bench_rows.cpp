// Kernels that move rows or add them up: gather, add, copy, running averages, column sums, dropout.
// Names: gather/..., add/..., copy/..., average/..., column_sum/..., dropout/<direction>/...
#include <vector>

#include "bench_memory.hpp"

namespace stoop::bench {
namespace {

// A permutation of the rows, of which there are a power of two: then the factor makes one.
std::vector<std::int32_t> permutation(const Case& c) {
  const auto rows = static_cast<std::uint32_t>(c.rows());
  std::vector<std::int32_t> order(rows);
  for (std::uint32_t i = 0; i < rows; ++i) order[i] = static_cast<std::int32_t>(i * 2654435761u % rows);
  return order;
}

// The same from bytes that are scaled: reads a quarter of what it writes.
void run_gather_bytes(benchmark::State& state, const Case& c) {
  const Index ld = c.stride();
  const std::vector<std::uint8_t> input(static_cast<std::size_t>(c.sets() * c.rows() * ld), 7);
  Matrices output(c);
  const std::vector<std::int32_t> order = permutation(c);
  const auto kernel = active_table<float>().gather[static_cast<int>(InputType::uint8)];
  measure(state, c, {c.bytes(1) * 1.25, Mix::copy}, by_rows(c), [&](Index set, Index begin, Index end) {
    kernel({end - begin, c.cols(), input.data() + set * c.rows() * ld, ld, order.data() + begin,
            output.at(set, begin * ld), ld, 1.0f / 255.0f, 0.0f});
  });
}

// Reads rows in a random order, writes them in sequence: 2 streams.
void run_gather(benchmark::State& state, const Case& c) {
  const Matrices input(c);
  Matrices output(c);
  const std::vector<std::int32_t> order = permutation(c);
  const auto kernel = active_table<float>().gather[static_cast<int>(InputType::float32)];
  const Index ld = c.stride();
  measure(state, c, {c.bytes(2), Mix::copy}, by_rows(c), [&](Index set, Index begin, Index end) {
    kernel({end - begin, c.cols(), input.at(set), ld, order.data() + begin, output.at(set, begin * ld), ld, 1, 0});
  });
}

// Reads both and writes one of them: 3 streams; copying: 2.
void run_add(benchmark::State& state, const Case& c, bool copy) {
  const Matrices input(c);
  Matrices output(c);
  const auto kernel = active_table<float>().add;
  const Traffic traffic = copy ? Traffic{c.bytes(2), Mix::copy} : Traffic{c.bytes(3), Mix::in_place};
  const Index ld = c.stride();
  measure(state, c, traffic, by_rows(c), [&](Index set, Index begin, Index end) {
    kernel({end - begin, c.cols(), input.at(set, begin * ld), ld, output.at(set, begin * ld), ld, copy});
  });
}

// 3 streams.
void run_average(benchmark::State& state, const Case& c) {
  Matrices running(c);
  const Matrices batch(c);
  const auto kernel = active_table<float>().average;
  measure(state, c, {c.bytes(3), Mix::in_place}, {c.cols(), 16}, [&](Index set, Index begin, Index end) {
    kernel({end - begin, running.at(set, begin), batch.at(set, begin), 0.9f});
  });
}

// 1 stream.
void run_column_sum(benchmark::State& state, const Case& c) {
  const Matrices a(c);
  Array<float> sum(c.cols());
  const auto kernel = active_table<float>().column_sum;
  measure(state, c, {c.bytes(1), Mix::read}, by_columns(c), [&](Index set, Index begin, Index end) {
    kernel({c.rows(), end - begin, a.at(set, begin), c.stride(), sum.data() + begin});
  });
}

// Forward reads the input, writes the output and a bit an element; backward reads the bits and the gradient, which it
// writes in place: 2 streams and an eighth of a byte an element. Nothing is dropped backward: gradients stay finite.
void run_dropout(benchmark::State& state, const Case& c, bool forward) {
  const Matrices input(c);
  Matrices output(c);
  const Index ld_mask = (c.cols() + 511) / 512 * 64;
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(c.rows() * ld_mask), 0xFF);
  const auto& table = active_table<float>();
  const auto kernel = forward ? table.dropout_forward : table.dropout_backward;
  const double bytes = c.bytes(2) + static_cast<double>(c.rows() * c.cols()) / 8;
  const Index ld = c.stride();
  measure(state, c, {bytes, forward ? Mix::copy : Mix::in_place}, by_rows(c), [&](Index set, Index begin, Index end) {
    DropoutArgs<float> args{};
    args.rows = end - begin, args.cols = c.cols();
    args.input = forward ? input.at(set, begin * ld) : nullptr, args.ld_input = ld;
    args.output = output.at(set, begin * ld), args.ld_output = ld;
    args.mask = mask.data() + begin * ld_mask, args.ld_mask = ld_mask;
    args.row = begin;
    args.rate = forward ? 0.2 : 0.0;
    kernel(args);
  });
}

}  // namespace

void register_rows() {
  add_cases("gather", kSmallMatrix, kLargeMatrix, run_gather);
  add_cases("gather_bytes", kSmallMatrix, kLargeMatrix, run_gather_bytes);
  add_cases("add", kSmallMatrix, kLargeMatrix, [](auto& s, auto& c) { run_add(s, c, false); });
  add_cases("copy", kSmallMatrix, kLargeMatrix, [](auto& s, auto& c) { run_add(s, c, true); });
  add_cases("average", {1, kL2Bytes / 8}, {1, 25'000'000}, run_average);
  add_cases("column_sum", {384, 128}, kLargeMatrix, run_column_sum);
  for (const bool forward : {true, false}) {
    add_cases(forward ? "dropout/forward" : "dropout/backward", kSmallMatrix, kLargeMatrix,
              [forward](auto& s, auto& c) { run_dropout(s, c, forward); });
  }
}

}  // namespace stoop::bench
