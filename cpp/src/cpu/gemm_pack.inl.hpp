// Copies operands that a micro-kernel would otherwise read in a bad order.

// Interleaves the low (kHigh = 0) or high halves of two vectors: x0 y0 x1 y1 ...
template <class T, int kHigh, int... kI>
inline Vec<T> interleave(Vec<T> x, Vec<T> y, std::integer_sequence<int, kI...>) {
  constexpr int L = kLanes<T>;
  return __builtin_shufflevector(x, y, (kHigh * L / 2 + kI / 2 + (kI % 2) * L)...);
}

// Transposes kLanes x kLanes elements: log2(kLanes) perfect shuffles of the rows.
template <class T>
inline void transpose_square(const T* source, Index ld, T* target, Index stride) {
  constexpr int L = kLanes<T>;
  constexpr std::make_integer_sequence<int, L> kSequence{};
  Vec<T> rows[L], shuffled[L];
  STOOP_UNROLL
  for (int i = 0; i < L; ++i) {
    rows[i] = load(source + i * ld);
    prefetch(source + (i + L) * ld);  // a line of the square that a later call takes
  }
  STOOP_UNROLL
  for (int width = 1; width < L; width *= 2) {
    STOOP_UNROLL
    for (int i = 0; i < L / 2; ++i) {
      shuffled[2 * i] = interleave<T, 0>(rows[i], rows[i + L / 2], kSequence);
      shuffled[2 * i + 1] = interleave<T, 1>(rows[i], rows[i + L / 2], kSequence);
    }
    STOOP_UNROLL
    for (int i = 0; i < L; ++i) rows[i] = shuffled[i];
  }
  STOOP_UNROLL
  for (int i = 0; i < L; ++i) store(target + i * stride, rows[i]);
}

// Copies b in form nt: source (width, depth) -> packed (depth, stride), with zeros after the edge.
template <class T>
inline void pack_transposed(const T* source, Index ld, Index depth, Index width, Index stride, T* packed) {
  constexpr Index L = kLanes<T>;
  for (Index j = 0; j < stride; j += L) {
    const bool whole = j + L <= width;
    Index p = 0;
    if (whole) {
      for (; p + L <= depth; p += L) transpose_square(source + j * ld + p, ld, packed + p * stride + j, stride);
    }
    for (; p < depth; ++p) {
      for (Index i = 0; i < L; ++i) {
        packed[p * stride + j + i] = j + i < width ? source[(j + i) * ld + p] : T(0);
      }
    }
  }
}

// Copies a in form tn: (depth, m) -> tiles of rows, each (depth, rows of the tile) contiguous. It writes whole vectors: the
// part beyond the end of a row is overwritten by the next row, and less than a vector lies after the last.
template <class T>
inline void pack_columns(const T* a, Index lda, Index depth, Index rows, T* packed) {
  constexpr Index L = kLanes<T>;
  for (Index p = 0; p < depth; ++p) {
    for (Index r = 0; r < rows; r += L) {
      const int lanes = static_cast<int>(rows - r < L ? rows - r : L);
      store(packed + p * rows + r, load_lanes(a + p * lda + r, lanes));
    }
  }
}
