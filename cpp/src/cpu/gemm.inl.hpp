// Matrix products, c (m, n) = op(a) @ op(b), with the epilogue applied to each tile while it is in cache.
//
// How to read it: gemm() cuts k into blocks (so that a panel of b stays in cache), n into panels a few vectors wide and
// m into tiles of a few rows. micro_kernel() computes one tile x panel with all its sums in registers: for each p it
// broadcasts one element of a per row and multiplies it with the panel's vectors of b. Copies ("packing") are made of
// what would be read in the wrong order: b in form nt, a in form tn, and b where its rows would evict each other.
//
// Every element of c is bias + a[0]*b[0] + a[1]*b[1] + ... in that order, whatever the cut: its bits depend on neither
// tile nor slice. FLOPs: 2*m*n*k.

constexpr Index kDepth = 256;  // p's per block: a panel of b of 3 vectors is 48 KiB with AVX-512

// One tile: rows x (vectors wide) of c, over `depth` p's.
template <class T>
struct Tile {
  Index depth;
  const T* a;
  Index a_row;  // elements from a row of the tile to the next
  Index a_p;    // elements from one p to the next
  const T* b;
  Index b_p;
  T* c;
  Index ldc;
  int last_lanes;   // of the last vector, kLanes<T> unless it is the ragged edge of c
  bool accumulate;  // go on from what c holds
  const T* bias;    // start from it (null: from zero); ignored with accumulate
  bool relu;        // the epilogue that is done in registers
};

// kWholeB: the last vector of b may be read whole. kUnitA: a_p is 1, else a_row is 1.
template <class T, int kRows, int kVectors, bool kWholeB, bool kUnitA>
void micro_kernel(const Tile<T>& tile) noexcept {
  constexpr int L = kLanes<T>;
  const auto load_edge = [&](const T* p, int v) {
    return v == kVectors - 1 ? load_lanes(p + v * L, tile.last_lanes) : load(p + v * L);
  };
  Vec<T> sum[kRows][kVectors];
  STOOP_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const Vec<T> start = tile.accumulate || tile.bias == nullptr ? Vec<T>{} : load_edge(tile.bias, v);
    STOOP_UNROLL
    for (int r = 0; r < kRows; ++r) sum[r][v] = tile.accumulate ? load_edge(tile.c + r * tile.ldc, v) : start;
  }
  const T* a = tile.a;
  const T* b = tile.b;
  for (Index p = 0; p < tile.depth; ++p) {
    Vec<T> row[kVectors];
    STOOP_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      row[v] = kWholeB || v < kVectors - 1 ? load(b + v * L) : load_partial(b + v * L, tile.last_lanes);
    }
    STOOP_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const T factor = kUnitA ? a[r * tile.a_row] : a[r];
      STOOP_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[r][v] += factor * row[v];
    }
    a += kUnitA ? 1 : tile.a_p;
    b += tile.b_p;
  }
  STOOP_UNROLL
  for (int r = 0; r < kRows; ++r) {
    STOOP_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const Vec<T> result = tile.relu ? maximum<T>(Vec<T>{}, sum[r][v]) : sum[r][v];
      T* c = tile.c + r * tile.ldc + v * L;
      if (v == kVectors - 1) {
        store_lanes(c, result, tile.last_lanes);
      } else {
        store(c, result);
      }
    }
  }
}

// ---- the table of micro-kernels: [rows - 1][vectors - 1] ----
template <class T>
using MicroKernel = void (*)(const Tile<T>&) noexcept;

template <class T>
struct MicroKernels {
  MicroKernel<T> kernel[kGemmRows][kGemmVectors];
};

template <class T, bool kWholeB, bool kUnitA, int... kI>
constexpr MicroKernels<T> make_micro_kernels(std::integer_sequence<int, kI...>) {
  MicroKernels<T> table{};
  ((table.kernel[kI / kGemmVectors][kI % kGemmVectors] =
        micro_kernel<T, kI / kGemmVectors + 1, kI % kGemmVectors + 1, kWholeB, kUnitA>),
   ...);
  return table;
}

template <class T, bool kWholeB, bool kUnitA>
constexpr MicroKernels<T> kMicroKernels =
    make_micro_kernels<T, kWholeB, kUnitA>(std::make_integer_sequence<int, kGemmRows * kGemmVectors>{});

template <class T>
inline const MicroKernels<T>& micro_kernels(bool whole_b, bool unit_a) {
  if (whole_b) return unit_a ? kMicroKernels<T, true, true> : kMicroKernels<T, true, false>;
  return unit_a ? kMicroKernels<T, false, true> : kMicroKernels<T, false, false>;
}

// ---- packing ----
// Rows p of b (depth, width) -> contiguous rows of `stride` elements, zeros behind the ragged edge.
template <class T>
inline void pack_rows(const T* b, Index ldb, Index depth, Index width, Index stride, T* packed) {
  for (Index p = 0; p < depth; ++p) {
    for (Index j = 0; j < stride; j += kLanes<T>) {
      const Index left = width - j;
      store(packed + p * stride + j,
            load_lanes(b + p * ldb + j, left < kLanes<T> ? static_cast<int>(left) : kLanes<T>));
    }
  }
}

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
  for (int i = 0; i < L; ++i) rows[i] = load(source + i * ld);
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

// source (width, depth) -> packed (depth, stride), zeros behind the ragged edge.
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

// a in form tn, (depth, m) -> tiles of rows, each (depth, rows of the tile) contiguous.
template <class T>
inline void pack_columns(const T* a, Index lda, Index depth, Index rows, T* packed) {
  for (Index p = 0; p < depth; ++p) {
    for (Index r = 0; r < rows; ++r) packed[p * rows + r] = a[p * lda + r];
  }
}

// ---- cutting ----
// `count` things in runs of at most `most`, as even as can be; run(begin, end).
template <class Run>
inline void for_each_run(Index count, Index most, Run run) {
  const Index runs = (count + most - 1) / most;
  for (Index i = 0; i < runs; ++i) run(i * count / runs, (i + 1) * count / runs);
}

constexpr Index kPackBytes = 1 << 18;  // b blocks above this size are packed when enough rows share the copy
constexpr Index kPackRows = 4 * kGemmRows;

template <class T>
inline bool packs_a(const GemmArgs<T>& g) {
  return g.form == GemmForm::tn && g.n > 4 * kGemmVectors * kLanes<T>;
}

template <class T>
inline bool packs_b(const GemmArgs<T>& g) {
  if (g.form == GemmForm::nt) return true;
  return g.m >= kPackRows && g.k * g.ldb * static_cast<Index>(sizeof(T)) > kPackBytes;
}

template <class T>
Index gemm_scratch_elements(Index m, Index n, Index k) {
  (void)n;
  const Index depth = k < kDepth ? k : kDepth;
  return kDepth * kGemmVectors * kLanes<T> + depth * m;
}

template <class T>
void gemm_epilogue(const GemmArgs<T>& g) noexcept;

// The part of the epilogue that was not done in registers, on rows x cols of c from (i, j) on.
template <class T>
inline void finish_tile(const GemmArgs<T>& g, Index i, Index rows, Index j, Index cols) {
  const int kind = static_cast<int>(g.activation);
  T* c = g.c + i * g.ldc + j;
  if (g.epilogue == Epilogue::activate) {
    kActivationForward<T>[kind]({rows, cols, c, g.ldc, c, g.ldc, g.activation_parameter});
  } else {
    kActivationBackward<T>[kind]({rows, cols, g.gate + i * g.ld_gate + j, g.ld_gate, c, g.ldc, g.activation_parameter});
  }
}

template <class T>
inline bool needs_finish(const GemmArgs<T>& g) {
  if (g.epilogue == Epilogue::none || g.activation == ActivationKind::identity) return false;
  return g.epilogue == Epilogue::gate || g.activation != ActivationKind::relu;
}

// All tiles of one panel of c, columns [j, j + cols), over the p's [p0, p1).
template <class T>
inline void run_panel(const GemmArgs<T>& g, Index p0, Index p1, Index j, Index cols, const T* packed_a, T* packed_b) {
  const int vectors = static_cast<int>((cols + kLanes<T> - 1) / kLanes<T>);
  const bool first = p0 == 0, last = p1 == g.k;
  Tile<T> tile{};
  tile.depth = p1 - p0;
  tile.ldc = g.ldc;
  tile.last_lanes = static_cast<int>(cols) - (vectors - 1) * kLanes<T>;
  tile.accumulate = !first;
  tile.bias = g.bias == nullptr ? nullptr : g.bias + j;
  tile.relu = last && g.epilogue == Epilogue::activate && g.activation == ActivationKind::relu;
  const bool pack = packs_b(g);
  tile.b = pack ? packed_b : g.b + p0 * g.ldb + j;
  tile.b_p = pack ? vectors * kLanes<T> : g.ldb;
  if (g.form == GemmForm::nt) {
    pack_transposed(g.b + j * g.ldb + p0, g.ldb, tile.depth, cols, tile.b_p, packed_b);
  } else if (pack) {
    pack_rows(tile.b = g.b + p0 * g.ldb + j, g.ldb, tile.depth, cols, tile.b_p, packed_b);
    tile.b = packed_b;
  }
  const bool transposed_a = g.form == GemmForm::tn;
  const MicroKernels<T>& kernels = micro_kernels<T>(pack || tile.last_lanes == kLanes<T>, !transposed_a);
  for_each_run(g.m, kGemmRows, [&](Index i, Index end) {
    const Index rows = end - i;
    if (packed_a != nullptr) {
      tile.a = packed_a + i * tile.depth;
      tile.a_p = rows;
    } else {
      tile.a = transposed_a ? g.a + p0 * g.lda + i : g.a + i * g.lda + p0;
      tile.a_row = g.lda;
      tile.a_p = g.lda;
    }
    tile.c = g.c + i * g.ldc + j;
    kernels.kernel[rows - 1][vectors - 1](tile);
    if (last && needs_finish(g)) finish_tile(g, i, rows, j, cols);
  });
}

template <class T>
void gemm(const GemmArgs<T>& g) noexcept {
  constexpr Index L = kLanes<T>;
  T* packed_b = g.scratch;
  const Index vectors = (g.n + L - 1) / L;
  for (Index p0 = 0; p0 < g.k; p0 += kDepth) {
    const Index p1 = p0 + kDepth < g.k ? p0 + kDepth : g.k;
    const T* packed_a = nullptr;
    if (packs_a(g)) {
      T* target = g.scratch + kDepth * kGemmVectors * L;
      for_each_run(g.m, kGemmRows, [&](Index i, Index end) {
        pack_columns(g.a + p0 * g.lda + i, g.lda, p1 - p0, end - i, target + i * (p1 - p0));
      });
      packed_a = target;
    }
    for_each_run(vectors, kGemmVectors, [&](Index first, Index end) {
      const Index j = first * L, stop = end * L < g.n ? end * L : g.n;
      run_panel(g, p0, p1, j, stop - j, packed_a, packed_b);
    });
  }
}

// The whole epilogue on a product that another provider has left in c.
template <class T>
void gemm_epilogue(const GemmArgs<T>& g) noexcept {
  if (g.bias != nullptr) {
    for (Index i = 0; i < g.m; ++i) {
      T* c = g.c + i * g.ldc;
      for_each_vector<T>(g.n, [&](Index j, int lanes) {
        store_lanes(c + j, load_lanes(c + j, lanes) + load_lanes(g.bias + j, lanes), lanes);
      });
    }
  }
  if (g.epilogue != Epilogue::none && g.activation != ActivationKind::identity) finish_tile(g, 0, g.m, 0, g.n);
}
