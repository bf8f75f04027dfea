// Benchmarks of kernels bound by memory: every case runs from the L2 cache on one thread, and from memory on one and on
// two. Name: <kernel>/<rows>x<columns>/<L2 or memory>/threads:<n>. From memory, a case goes through several sets of its
// arrays in turn, so that no call finds in a cache what an earlier one left there.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "bench_support.hpp"

namespace stoop::bench {

struct Shape {
  Index rows, cols;
};

struct Case {
  Shape shape;
  bool from_memory;
  int threads;

  Index rows() const { return shape.rows; }
  Index cols() const { return shape.cols; }
  Index stride() const;  // from row to row, padded as a plan pads it
  Index elements() const { return shape.rows * stride(); }
  Index sets() const;
  double bytes(double streams) const { return streams * sizeof(float) * static_cast<double>(shape.rows * shape.cols); }
};

// An array of (rows, cols) for each set.
class Matrices {
 public:
  explicit Matrices(const Case& c, double low = -1.0, double high = 1.0)
      : elements_(c.elements()), data_(elements_ * c.sets(), low, high) {}
  float* at(Index set, Index offset = 0) { return data_.data() + set * elements_ + offset; }
  const float* at(Index set, Index offset = 0) const { return data_.data() + set * elements_ + offset; }

 private:
  Index elements_;
  Array<float> data_;
};

// How a kernel's work is shared among threads: [0, extent) in multiples of `grain`, as a plan does.
struct Cut {
  Index extent, grain;
};
inline Cut by_rows(const Case& c) { return {c.rows(), 8}; }
inline Cut by_columns(const Case& c) { return {c.cols(), 16}; }

// The fewest bytes that a call on all of [0, extent) reads and writes.
struct Traffic {
  double bytes;
  Mix mix;
};

// Times body(set, begin, end), which works on a slice, by turns with the loop of its mix, and sets the counters: GB/s of
// the fastest call, of the fastest loop, and their ratio.
using SliceBody = std::function<void(Index set, Index begin, Index end)>;
void measure(benchmark::State& state, const Case& c, Traffic traffic, Cut cut, const SliceBody& body);

// One benchmark for each setting.
using RunCase = std::function<void(benchmark::State&, const Case&)>;
void add_cases(const std::string& name, Shape l2, Shape memory, const RunCase& run);

inline constexpr Shape kSmallMatrix{128, 128};  // with three arrays kL2Bytes
inline constexpr Shape kLargeMatrix{4096, 1024};

}  // namespace stoop::bench
