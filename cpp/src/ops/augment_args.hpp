// The arguments of the kernels that augment one sample, a part of ops.hpp.
#pragma once

#include <stdint.h>

#include <stoop/types.hpp>

namespace stoop {

// The random numbers of a sample: word (i % 64) / 16 of Philox4x32-10 at the counter {i/64*16 + i%16, position, epoch, stream}
// is that of element i.
struct SampleStream {
  uint64_t seed;
  uint32_t position, epoch, stream;
};

// output pixel i = the image at (row, column) = map * (row and column of i from the centre, 1) + displacement, linear between
// four pixels. Around the image lies a border of one pixel, and a place beyond that is moved to it.
template <class T>
struct WarpArgs {
  Index rows, cols, channels;
  const T* input;         // (rows + 2, cols + 2, channels)
  const T* grid;          // (2, rows * cols): row and column of each pixel from the centre
  T map[6];               // row, then column; they count from the corner of the border
  const T* displacement;  // (2, rows * cols): down and across, or null
  T* output;              // (rows, cols, channels)
};

// output = scale * a Gaussian filter of numbers that are uniform in [-1, 1), element r * cols + c of the stream, and zero beyond
// the image. Rows are smoothed first, then columns.
template <class T>
struct DisplacementArgs {
  Index rows, cols, reach;
  const T* weights;  // (2 * reach + 1)
  T scale;
  SampleStream stream;
  T* scratch;  // displacement_scratch(rows, cols, reach) elements
  T* output;   // (rows, cols)
};

constexpr Index displacement_scratch(Index rows, Index cols, Index reach) {
  return rows * (cols + 2 * reach) + rows * cols;
}

// values += deviation * Gaussian numbers (Box & Muller 1958).
template <class T>
struct NoiseArgs {
  Index n;
  T* values;  // (n)
  T deviation;
  SampleStream stream;
};

}  // namespace stoop
