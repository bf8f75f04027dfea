// The innermost part of a product: one tile of rows x (vectors wide) of c, all its sums in registers.
//
// For each p the kernel broadcasts one element of a per row and multiplies it with the panel's vectors of b. Because the
// multiply-adds leave room for it, three other things are done meanwhile: the first tile of a panel may write the copy of b
// that the tiles after it read, the operand of the next panel is prefetched, and so are the rows of c that the next tile
// adds to.

template <class T>
struct Tile {
  Index depth;  // p's
  const T* a;
  Index a_row;  // elements from a row of the tile to the next
  Index a_p;    // elements from one p to the next
  const T* b;
  Index b_p;
  T* copy;  // BSource::copied: the panel's vectors are written here, whole, one p after the other
  T* c;
  Index ldc;
  int last_lanes;   // lanes of the last vector: kLanes<T>, or fewer at the edge of c
  bool accumulate;  // go on from what c holds
  const T* bias;    // start from it (null: from zero); ignored with accumulate
  bool relu;        // the epilogue that is done in registers
  const T* ahead;   // fetched into cache, a line for each p, `ahead_p` elements apart
  Index ahead_p;
};

enum class BSource {
  whole,   // the last vector of b may be read whole
  ragged,  // only its last_lanes
  copied,  // the same, and all vectors are copied
};

// Sets the first values of the tile's sums: those of c, the bias, or zero.
template <class T, int kRows, int kVectors>
[[gnu::always_inline]] inline void start_sums(const Tile<T>& tile, Vec<T> (&sum)[kRows][kVectors]) {
  constexpr int L = kLanes<T>;
  const bool whole = tile.last_lanes == L;
  const auto load_row = [&](const T* p, Vec<T>(&row)[kVectors]) {
    STOOP_UNROLL
    for (int v = 0; v < kVectors - 1; ++v) row[v] = load(p + v * L);
    const T* last = p + (kVectors - 1) * L;
    row[kVectors - 1] = whole ? load(last) : load_partial(last, tile.last_lanes);
  };
  if (tile.accumulate) {
    STOOP_UNROLL
    for (int r = 0; r < kRows; ++r) {
      load_row(tile.c + r * tile.ldc, sum[r]);
      STOOP_UNROLL
      for (int v = 0; v < kVectors; ++v) prefetch(tile.c + (r + kRows) * tile.ldc + v * L);
    }
    return;
  }
  Vec<T> start[kVectors] = {};
  if (tile.bias != nullptr) load_row(tile.bias, start);
  STOOP_UNROLL
  for (int r = 0; r < kRows; ++r) {
    STOOP_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[r][v] = start[v];
  }
}

template <class T, int kRows, int kVectors>
[[gnu::always_inline]] inline void store_sums(const Tile<T>& tile, Vec<T> (&sum)[kRows][kVectors]) {
  constexpr int L = kLanes<T>;
  if (tile.relu) {
    STOOP_UNROLL
    for (int r = 0; r < kRows; ++r) {
      STOOP_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[r][v] = maximum<T>(Vec<T>{}, sum[r][v]);
    }
  }
  const bool whole = tile.last_lanes == L;
  STOOP_UNROLL
  for (int r = 0; r < kRows; ++r) {
    T* c = tile.c + r * tile.ldc;
    STOOP_UNROLL
    for (int v = 0; v < kVectors - 1; ++v) store(c + v * L, sum[r][v]);
    T* last = c + (kVectors - 1) * L;
    if (whole) {
      store(last, sum[r][kVectors - 1]);
    } else {
      store_partial(last, sum[r][kVectors - 1], tile.last_lanes);
    }
  }
}

// kUnitA: a_p is 1, else a_row is 1.
template <class T, int kRows, int kVectors, BSource kB, bool kUnitA>
void micro_kernel(const Tile<T>& given) noexcept {
  constexpr int L = kLanes<T>;
  const Tile<T> tile = given;  // a copy of its own, which the stores to c cannot change
  Vec<T> sum[kRows][kVectors];
  start_sums(tile, sum);
  const T* a = tile.a;
  const T* b = tile.b;
  const T* ahead = tile.ahead;
  [[maybe_unused]] T* copy = tile.copy;
  for (Index p = 0; p < tile.depth; ++p) {
    prefetch(ahead);
    Vec<T> row[kVectors];
    STOOP_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const bool whole = kB == BSource::whole || v < kVectors - 1;
      row[v] = whole ? load(b + v * L) : load_partial(b + v * L, tile.last_lanes);
      if constexpr (kB == BSource::copied) store(copy + v * L, row[v]);
    }
    STOOP_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const T factor = kUnitA ? a[r * tile.a_row] : a[r];
      STOOP_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[r][v] += factor * row[v];
    }
    a += kUnitA ? 1 : tile.a_p;
    b += tile.b_p;
    ahead += tile.ahead_p;
    if constexpr (kB == BSource::copied) copy += kVectors * L;
  }
  store_sums(tile, sum);
}

// ---- the table of micro-kernels: [rows - 1][vectors - 1] ----
template <class T>
using MicroKernel = void (*)(const Tile<T>&) noexcept;

template <class T>
struct MicroKernels {
  MicroKernel<T> kernel[kGemmRows][kGemmVectors];
};

template <class T, BSource kB, bool kUnitA, int... kI>
constexpr MicroKernels<T> make_micro_kernels(std::integer_sequence<int, kI...>) {
  MicroKernels<T> table{};
  ((table.kernel[kI / kGemmVectors][kI % kGemmVectors] =
        micro_kernel<T, kI / kGemmVectors + 1, kI % kGemmVectors + 1, kB, kUnitA>),
   ...);
  return table;
}

template <class T, BSource kB, bool kUnitA>
constexpr MicroKernels<T> kMicroKernels =
    make_micro_kernels<T, kB, kUnitA>(std::make_integer_sequence<int, kGemmRows * kGemmVectors>{});

// The product of a single row and a matrix is bound by reading the matrix. Tiles as wide as the registers hold read long
// pieces of its rows, which prefetchers follow. [vectors - 1]
constexpr int kRowVectors = kGemmRows * kGemmVectors;

template <class T>
struct RowKernels {
  MicroKernel<T> kernel[kRowVectors];
};

template <class T, BSource kB, int... kI>
constexpr RowKernels<T> make_row_kernels(std::integer_sequence<int, kI...>) {
  return {{micro_kernel<T, 1, kI + 1, kB, true>...}};
}

template <class T, BSource kB>
constexpr RowKernels<T> kRowKernels = make_row_kernels<T, kB>(std::make_integer_sequence<int, kRowVectors>{});

template <class T, bool kUnitA>
inline const MicroKernels<T>& micro_kernels(BSource b) {
  if (b == BSource::whole) return kMicroKernels<T, BSource::whole, kUnitA>;
  if (b == BSource::ragged) return kMicroKernels<T, BSource::ragged, kUnitA>;
  return kMicroKernels<T, BSource::copied, kUnitA>;
}

template <class T>
inline const MicroKernels<T>& micro_kernels(BSource b, bool unit_a) {
  return unit_a ? micro_kernels<T, true>(b) : micro_kernels<T, false>(b);
}
