// Matrix products, c (m, n) = op(a) @ op(b), with the epilogue applied to each tile while it is in cache. Matrices are
// row-major; the form says how the operands lie:
//   nn  a (m, k), b (k, n)  forward          nt  a (m, k), b (n, k)  input gradient
//   tn  a (k, m), b (k, n)  weight gradient
//
// How to read it: gemm() cuts the rows of c into blocks. run_rows() cuts k into runs, so that a panel of b stays in cache,
// and n into panels a few vectors wide. run_panel() cuts the rows of the block into tiles of a few rows; each tile is a call
// of a micro-kernel (gemm_kernel.inl.hpp), followed by the epilogue (gemm_epilogue.inl.hpp). Operands that would be read in
// the wrong order are copied first ("packing", gemm_pack.inl.hpp): b in form nt, a in form tn, and b where its rows would
// evict each other. Two shapes have functions of their own: run_one_row() computes a single row, and run_turned() computes
// weight gradients of few columns as their transpose.
//
// Every element of c is bias + a[0]*b[0] + a[1]*b[1] + ... in that order, whatever the cut: its bits depend on neither
// tile nor slice. FLOPs: 2*m*n*k.

// Cuts `count` things into runs of at most `most`, as even as possible, and calls run(begin, end).
template <class Run>
inline void for_each_run(Index count, Index most, Run run) {
  const Index runs = (count + most - 1) / most;
  for (Index i = 0; i < runs; ++i) run(i * count / runs, (i + 1) * count / runs);
}

constexpr Index kMostRows = 512;            // of a block, so that its part of a stays in the second-level cache
constexpr Index kPackRows = 2 * kGemmRows;  // fewer rows do not repay a copy of b

template <class T>
constexpr Index kMostTurned = 4 * kLanes<T>;  // columns of a weight gradient that is computed as its transpose

template <class T>
inline bool packs_a(const GemmArgs<T>& g) {
  return g.form == GemmForm::tn && g.n > 4 * kGemmVectors * kLanes<T>;
}

template <class T>
inline bool packs_b(const GemmArgs<T>& g) {
  if (g.form == GemmForm::nt) return true;
  return g.m >= kPackRows && g.k * g.ldb * static_cast<Index>(sizeof(T)) > kGemmPackBytes;
}

template <class T>
constexpr Index whole_vectors(Index count) {
  return (count + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

// Returns whether a weight gradient is computed as its transpose. That pays off if its columns leave lanes empty that its
// rows fill, or if a is deep, since a tile of c reads only a piece of each of its rows. The transposition costs as much as
// 24 more p's.
template <class T>
inline bool is_turned(const GemmArgs<T>& g) {
  if (g.form != GemmForm::tn || g.n > kMostTurned<T> || g.bias != nullptr || needs_finish(g, false)) return false;
  return 8 * (g.k + 24) * whole_vectors<T>(g.m) * g.n <= 9 * g.k * whole_vectors<T>(g.n) * g.m;
}

template <class T>
Index gemm_scratch_elements(Index m, Index n, Index k) {
  const Index depth = k < kGemmDepth ? k : kGemmDepth;
  const Index rows = m < kMostRows ? m : kMostRows;
  const Index turned = n > kMostTurned<T> ? 0 : whole_vectors<T>(n) * whole_vectors<T>(rows);
  return turned + depth * (kGemmVectors * kLanes<T> + rows) + kLanes<T>;
}

// One panel of c in one block of k: columns [j, j + cols), p's [p0, p1).
struct Panel {
  Index p0, p1;
  Index j, cols;
};

// While tile number `i` of this panel is computed, vector i of the next panel is fetched. After the last panel the first one
// of the next run of k follows. In form nt the packing does this.
template <class T>
inline void fetch_ahead(const GemmArgs<T>& g, const Panel& panel, Index i, Tile<T>& tile) {
  const bool last_panel = panel.j + panel.cols == g.n;
  const Index j = (last_panel ? 0 : panel.j + panel.cols) + i * kLanes<T>;
  const Index p0 = last_panel ? panel.p1 : panel.p0;
  const bool any = g.form != GemmForm::nt && i < kGemmVectors && j < g.n && p0 < g.k;
  tile.ahead = any ? g.b + p0 * g.ldb + j : tile.c;
  tile.ahead_p = any ? g.ldb : 0;
}

// The values that all tiles of a panel share.
template <class T>
inline Tile<T> tile_of_panel(const GemmArgs<T>& g, const Panel& panel, T* packed_b) {
  const Index vectors = (panel.cols + kLanes<T> - 1) / kLanes<T>;
  Tile<T> tile{};
  tile.depth = panel.p1 - panel.p0;
  tile.a_p = tile.a_row = g.lda;
  tile.b = g.form == GemmForm::nt ? g.b + panel.j * g.ldb + panel.p0 : g.b + panel.p0 * g.ldb + panel.j;
  tile.b_p = g.ldb;
  tile.copy = packed_b;
  tile.ldc = g.ldc;
  tile.last_lanes = static_cast<int>(panel.cols - (vectors - 1) * kLanes<T>);
  tile.accumulate = panel.p0 != 0;
  tile.bias = g.bias == nullptr ? nullptr : g.bias + panel.j;
  tile.relu = panel.p1 == g.k && g.epilogue == Epilogue::activate && g.activation == kind_of<ReLU>();
  return tile;
}

// The tiles after this read the copy of b.
template <class T>
inline BSource read_copy(Tile<T>& tile, Index vectors) {
  tile.b = tile.copy;
  tile.b_p = vectors * kLanes<T>;
  return BSource::whole;
}

// Computes all tiles of one panel.
template <class T>
inline void run_panel(const GemmArgs<T>& g, const Panel& panel, const T* packed_a, T* packed_b) {
  const Index vectors = (panel.cols + kLanes<T> - 1) / kLanes<T>;
  const bool last = panel.p1 == g.k, transposed_a = g.form == GemmForm::tn;
  Tile<T> tile = tile_of_panel(g, panel, packed_b);
  BSource source = tile.last_lanes == kLanes<T> ? BSource::whole : BSource::ragged;
  if (g.form == GemmForm::nt) {
    pack_transposed(tile.b, g.ldb, tile.depth, panel.cols, vectors * kLanes<T>, packed_b);
    source = read_copy(tile, vectors);
  } else if (packs_b(g)) {
    source = BSource::copied;
  }
  const MicroKernels<T>* kernels = &micro_kernels<T>(source, !transposed_a);
  Index number = 0;
  for_each_run(g.m, kGemmRows, [&](Index i, Index end) {
    const Index rows = end - i;
    if (packed_a != nullptr) {
      tile.a = packed_a + i * tile.depth;
      tile.a_p = rows;
    } else {
      tile.a = transposed_a ? g.a + panel.p0 * g.lda + i : g.a + i * g.lda + panel.p0;
    }
    tile.c = g.c + i * g.ldc + panel.j;
    fetch_ahead(g, panel, number++, tile);
    kernels->kernel[rows - 1][vectors - 1](tile);
    if (last && needs_finish(g, tile.relu)) finish_tile(g, i, rows, panel.j, panel.cols, tile.relu);
    if (source == BSource::copied) {
      source = read_copy(tile, vectors);
      kernels = &micro_kernels<T>(source, !transposed_a);
    }
  });
  if (last && g.sums != nullptr) finish_panel(g, panel.j, panel.cols);
}

// Multiplies a row with b, which is not copied. Where b has several tiles, blocks of k are short, so that b is read from its
// beginning to its end all the same.
template <class T>
inline void run_one_row(const GemmArgs<T>& g) {
  constexpr Index L = kLanes<T>, kDepth = 32;
  const Index vectors = (g.n + L - 1) / L;
  Tile<T> tile{};
  tile.a_row = tile.a_p = 1;
  tile.b_p = g.ldb;
  tile.ldc = g.ldc;
  for_each_run(g.k, vectors > kRowVectors || g.k < kDepth ? kDepth : g.k, [&](Index p0, Index p1) {
    const bool last = p1 == g.k;
    tile.depth = p1 - p0;
    tile.a = g.a + p0;
    tile.accumulate = p0 != 0;
    tile.relu = last && g.epilogue == Epilogue::activate && g.activation == kind_of<ReLU>();
    for_each_run(vectors, kRowVectors, [&](Index first, Index end) {
      const Index j = first * L, stop = end * L < g.n ? end * L : g.n;
      tile.b = g.b + p0 * g.ldb + j;
      tile.ahead = tile.c = g.c + j;
      tile.bias = g.bias == nullptr ? nullptr : g.bias + j;
      tile.last_lanes = static_cast<int>(stop - (end - 1) * L);
      const RowKernels<T>& kernels =
          tile.last_lanes == L ? kRowKernels<T, BSource::whole> : kRowKernels<T, BSource::ragged>;
      kernels.kernel[end - first - 1](tile);
      if (last && needs_finish(g, tile.relu)) finish_tile(g, 0, 1, j, stop - j, tile.relu);
      if (last && g.sums != nullptr) finish_panel(g, j, stop - j);
    });
  });
}

// Computes one block of rows with all columns.
template <class T>
inline void run_rows(const GemmArgs<T>& g) {
  constexpr Index L = kLanes<T>;
  const Index vectors = (g.n + L - 1) / L;
  T* packed_b = g.scratch;
  for_each_run(g.k, kGemmDepth, [&](Index p0, Index p1) {
    const T* packed_a = nullptr;
    if (packs_a(g)) {
      T* target = packed_b + (p1 - p0) * kGemmVectors * L;
      for_each_run(g.m, kGemmRows, [&](Index i, Index end) {
        pack_columns(g.a + p0 * g.lda + i, g.lda, p1 - p0, end - i, target + i * (p1 - p0));
      });
      packed_a = target;
    }
    for_each_run(vectors, kGemmVectors, [&](Index first, Index end) {
      const Index j = first * L, stop = end * L < g.n ? end * L : g.n;
      run_panel(g, {p0, p1, j, stop - j}, packed_a, packed_b);
    });
  });
}

// Computes the transpose, op(b)^T op(a)^T, which has the rows of c in its lanes. Both products are of form tn.
template <class T>
inline void run_turned(const GemmArgs<T>& g) {
  constexpr Index L = kLanes<T>;
  const Index stride = whole_vectors<T>(g.m);
  GemmArgs<T> turned = g;
  turned.m = g.n, turned.n = g.m;
  turned.a = g.b, turned.lda = g.ldb;
  turned.b = g.a, turned.ldb = g.lda;
  turned.c = g.scratch, turned.ldc = stride;
  turned.scratch = g.scratch + whole_vectors<T>(g.n) * stride;
  run_rows(turned);
  alignas(64) T square[L * L];
  for (Index i = 0; i < g.m; i += L) {
    const Index rows = g.m - i < L ? g.m - i : L;
    for (Index j = 0; j < g.n; j += L) {
      transpose_square(turned.c + j * stride + i, stride, square, L);
      const int lanes = static_cast<int>(g.n - j < L ? g.n - j : L);
      for (Index r = 0; r < rows; ++r) store_lanes(g.c + (i + r) * g.ldc + j, load(square + r * L), lanes);
    }
  }
}

template <class T>
void gemm(const GemmArgs<T>& g) noexcept {
  if (g.m == 1 && g.form == GemmForm::nn) return run_one_row(g);
  for_each_run(g.m, kMostRows, [&](Index i, Index end) {
    EpilogueParts<T> parts;
    const GemmArgs<T> rows = rows_of(g, i, end - i, parts);
    is_turned(rows) ? run_turned(rows) : run_rows(rows);
  });
}
