// The arguments of the kernels that gather rows of X and augment them, a part of ops.hpp.
#pragma once

#include <stdint.h>

#include <stoop/types.hpp>

#include "../base/input_map.hpp"

namespace stoop::inline v0_1 {

// output row i = map(input row index[i]); if index is null, it is input row i. A map that changes nothing copies the row.
template <class T>
struct GatherArgs {
  Index rows, cols;
  const void* input;  // of the type whose kernel is called
  Index ld_input;     // elements
  const int32_t* index;
  T* output;  // (rows, mapped_width(map, cols))
  Index ld_output;
  InputMap<T> map;
};

// output = grad * the derivative of a map with columns, whose values are `value`: scale, or with a clip
// scale * (1 - (value / clip)^2)^(3/2). output may be grad.
template <class T>
struct MapGradientArgs {
  Index rows, cols;
  const T* grad;
  Index ld_grad;
  const T* value;  // where there is a clip
  Index ld_value;
  T* output;
  Index ld_output;
  const T* scale;  // (cols)
  T clip;          // 0: none
};

// ---- augmentation, of one sample each ----

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
  constexpr Index kVector = 16;  // elements of the longest vector, which is read past the end
  return rows * (cols + 2 * reach) + rows * cols + kVector;
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
